"""Add code and libraries to an APK of resources, every entry with the same date and in the same order.

    python pack.py BASE OUTPUT DEX_FOLDER JNI_FOLDER ABI...

The manifest comes first, as tools expect.
"""

import sys
import zipfile
from pathlib import Path

DATE = (1980, 1, 1, 0, 0, 0)


def pack(base: Path, output: Path, dex: Path, jni: Path, abis: list[str]) -> None:
    """Write `output`; native libraries are stored, so that they can be mapped into memory from the APK."""
    with zipfile.ZipFile(base) as old, zipfile.ZipFile(output, "w") as new:
        for entry in sorted(old.infolist(), key=lambda e: (e.filename != "AndroidManifest.xml", e.filename)):
            _add(new, entry.filename, old.read(entry), entry.compress_type)
        for file in sorted(dex.glob("*.dex")):
            _add(new, file.name, file.read_bytes(), zipfile.ZIP_DEFLATED)
        for abi in abis:
            files = sorted((jni / abi).glob("*.so"))
            if not files:
                raise SystemExit(f"{abi}: no libraries for it in {jni}; use arm64-v8a, armeabi-v7a, x86 or x86_64")
            for file in files:
                _add(new, f"lib/{abi}/{file.name}", file.read_bytes(), zipfile.ZIP_STORED)


def _add(archive: zipfile.ZipFile, name: str, content: bytes, how: int) -> None:
    entry = zipfile.ZipInfo(name, DATE)
    entry.compress_type = how
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, content)


if __name__ == "__main__":
    pack(*map(Path, sys.argv[1:5]), sys.argv[5:])
