#!/usr/bin/env bash
# host/build.sh JNI OUT: an AAR's x86_64 library, made loadable by a desktop JVM. For tests alone; never packaged.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd) jni=$1 out=$2
mkdir -p "$out"
cc -O2 -Wall -fPIC -shared -Wl,-soname,libc.so -o "$out/libc.so" "$here/bionic_shim.c"
for name in m dl log; do
    echo | cc -x c -shared -Wl,--no-as-needed -Wl,-soname,lib$name.so -o "$out/lib$name.so" - -lm
done
python3 "$here/patch_bionic.py" "$jni/x86_64/libtensorflowlite_jni.so" "$out/libtensorflowlite_jni.so"
