#!/usr/bin/env bash
# scripts/check_tools.sh [MORE...]: whether the programs that the build needs are there.
set -euo pipefail
for tool in java javac mvn aapt2 zipalign apksigner python3 "$@"; do
    command -v "$tool" >/dev/null || {
        echo "$tool is missing: apt-get install openjdk-17-jdk-headless maven aapt zipalign apksigner gcc" >&2
        exit 1
    }
done
