#!/usr/bin/env bash
# scripts/resources.sh APP OUT ANDROID_JAR VERSION MIN_SDK TARGET_SDK: resources, manifest and assets -> OUT/base.apk, with
# R.java, keep rules, and what Robolectric reads.
set -euo pipefail
app=$1 out=$2 android=$3 version=$4 min=$5 target=$6
root=$(cd "$app/../.." && pwd)
demo=$root/maskconver_mobile/demo
IFS=. read -r major minor patch <<<"$version"

mkdir -p "$out/generated" "$out/test-config/com/android/tools"
rm -rf "$out/assets" && mkdir -p "$out/assets"
cp "$demo"/*.tflite "$out/assets/demo.tflite"
cp "$demo"/*.jpg "$out/assets/demo.jpg"
cp "$root/LICENSE" "$out/assets/apache-2.0.txt"
# Studio's build takes the package from build.gradle.kts and refuses it here.
sed 's#<manifest #&package="org.maskconver.mobile" #' "$app/src/main/AndroidManifest.xml" >"$out/AndroidManifest.xml"

aapt2 compile --dir "$app/src/main/res" -o "$out/resources.zip"
aapt2 link -o "$out/base.apk" -I "$android" --warn-manifest-validation --manifest "$out/AndroidManifest.xml" \
    --min-sdk-version "$min" --target-sdk-version "$target" --version-name "$version" \
    --version-code $((major * 10000 + minor * 100 + patch)) --java "$out/generated" --proguard "$out/resources.pro" \
    -A "$out/assets" -0 tflite "$out/resources.zip" 2>&1 | { grep -vE "Unknown chunk|uses-native-library" || true; }
test -s "$out/base.apk"

cat >"$out/test-config/com/android/tools/test_config.properties" <<END
android_merged_manifest=$out/AndroidManifest.xml
android_resource_apk=$out/base.apk
android_merged_assets=$out/assets
android_custom_package=org.maskconver.mobile
END
