#!/usr/bin/env bash
# scripts/package.sh [ABI...]: what Maven compiled -> target/maskconver-mobile.apk, aligned and signed with a debug key of this
# machine. Two builds of the same sources differ in the signature alone.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$PWD/target app=$PWD/app/target runtime=$PWD/runtime/target
abis=${*:-arm64-v8a}
min=$(sed -n 's#.*<sdk.min>\(.*\)</sdk.min>.*#\1#p' pom.xml)
jdk=$(dirname "$(dirname "$(readlink -f "$(command -v javac)")")")

rm -rf "$app/dex" && mkdir -p "$app/dex" "$out"
jar --create --file "$app/app.jar" -C "$app/classes" .
jar --create --file "$app/library.jar" -C library/target/classes .
jar --create --file "$app/runtime.jar" -C "$runtime/classes" .
java -XX:+UseSerialGC -cp "$app/tools/r8.jar" com.android.tools.r8.R8 --release --min-api "$min" \
    --lib "$app/tools/android-all.jar" --lib "$jdk" --pg-conf app/proguard-rules.pro --pg-conf "$app/resources.pro" \
    --output "$app/dex" "$app/app.jar" "$app/library.jar" "$app/runtime.jar" "$app/tools/kotlin-stdlib.jar" "$app/tools/annotations.jar"

python3 scripts/pack.py "$app/base.apk" "$app/unaligned.apk" "$app/dex" "$runtime/jni" $abis
zipalign -f -p 4 "$app/unaligned.apk" "$app/aligned.apk"

key=${ANDROID_DEBUG_KEY:-$out/debug.p12}
[ -f "$key" ] || keytool -genkeypair -keystore "$key" -storetype PKCS12 -storepass android -alias androiddebugkey \
    -keyalg RSA -keysize 2048 -validity 10000 -dname "CN=Android Debug,O=Android,C=US" 2>/dev/null
apksigner sign --ks "$key" --ks-pass pass:android --min-sdk-version "$min" --v1-signing-enabled false \
    --v2-signing-enabled true --v3-signing-enabled true --out "$app/signed.apk" "$app/aligned.apk"
rm -f "$app/signed.apk.idsig"

apksigner verify "$app/signed.apk"
zipalign -c -p 4 "$app/signed.apk"
size=$(stat -c %s "$app/signed.apk")
limit=$((13 << 20))
if [ "$abis" = arm64-v8a ] && [ "$size" -gt "$limit" ]; then
    echo "the APK has $size bytes, more than $limit" >&2
    exit 1
fi
mv "$app/signed.apk" "$out/maskconver-mobile.apk"
echo "android_demo/target/maskconver-mobile.apk: $size bytes, $abis"
