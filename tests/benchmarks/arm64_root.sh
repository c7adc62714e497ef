#!/bin/sh
# Builds an arm64 user land with Python and LiteRT that runs under qemu: real ARM kernels without a phone.
#
#     tests/benchmarks/arm64_root.sh FOLDER [PYTHON]
#
# Needs apt-get (Debian 12), dpkg-deb, and PYTHON (default: python3) with pip; no root. The packages of the runtime
# get the versions that PYTHON has. Run programs in it with
# `qemu-aarch64-static -cpu cortex-a76 -L FOLDER FOLDER/usr/bin/python3.11`.
set -eu

root=$1
host_python=${2:-python3}
version=3.11
packages="libc6 libstdc++6 libgcc-s1 zlib1g python$version-minimal libpython$version-minimal libpython$version-stdlib
    libexpat1 libffi8 libssl3 libbz2-1.0 liblzma5 libsqlite3-0 libuuid1 dash busybox-static"

mkdir -p "$root"
root=$(cd "$root" && pwd)
[ -f "$root/complete" ] && exit 0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial" "$work/deb"
: > "$work/status"
apt() {
    apt-get -qq -o Dir::State="$work/state" -o Dir::State::status="$work/status" -o Dir::Cache="$work/cache" \
        -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User=root "$@"
}
apt update
# shellcheck disable=SC2086 # a list of words
(cd "$work/deb" && apt download $packages)
for package in "$work"/deb/*.deb; do
    dpkg-deb -x "$package" "$root"
done

installed() {
    "$host_python" -c "from importlib.metadata import version; print('$1==' + version('$1'))"
}
"$host_python" -m pip install --quiet --no-deps --only-binary=:all: --python-version "$version" \
    --platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64 --platform manylinux_2_27_aarch64 \
    --platform manylinux_2_28_aarch64 --target "$root/opt/packages" \
    "$(installed ai-edge-litert)" "$(installed numpy)" "$(installed flatbuffers)" typing-extensions backports.strenum

# The runtimes read these to choose kernels, and crash without them.
mkdir -p "$root/proc" "$root/sys/devices/system/cpu"
for core in 0 1; do
    printf 'processor\t: %s\nBogoMIPS\t: 50.00\n' "$core"
    printf 'Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp\n'
    printf 'CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x4\nCPU part\t: 0xd0b\nCPU revision\t: 1\n\n'
done > "$root/proc/cpuinfo"
echo 0-1 > "$root/sys/devices/system/cpu/possible"
echo 0-1 > "$root/sys/devices/system/cpu/present"
touch "$root/complete"
