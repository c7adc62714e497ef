"""Copy an Android x86_64 library so that glibc loads it: without symbol versions, calls that differ renamed.

    python patch_bionic.py SOURCE TARGET

For tests alone; what the calls are renamed to stands in `bionic_shim.c`.
"""

import struct
import sys
from pathlib import Path

RENAMED = {b"dlsym", b"fflush", b"fprintf", b"fputc", b"fwrite", b"memalign", b"sysconf", b"vfprintf"}
VERSION_TAGS = {0x6FFFFFF0, 0x6FFFFFFC, 0x6FFFFFFD, 0x6FFFFFFE, 0x6FFFFFFF}
UNKNOWN_TAG = 0x6FFF0000
DYNAMIC, DYNSYM = 6, 11


def patch(library: bytes) -> bytes:
    """The library with the last letter of foreign names replaced by X, so that `bionic_shim.c` answers them."""
    content = bytearray(library)
    (table,) = struct.unpack_from("<Q", content, 0x28)
    size, count = struct.unpack_from("<HH", content, 0x3A)
    sections = [struct.unpack_from("<IIQQQQIIQQ", content, table + i * size) for i in range(count)]
    symbols = next(s for s in sections if s[1] == DYNSYM)
    dynamic = next(s for s in sections if s[1] == DYNAMIC)
    names = sections[symbols[6]][4]
    for at in range(dynamic[4], dynamic[4] + dynamic[5], 16):
        if struct.unpack_from("<Q", content, at)[0] in VERSION_TAGS:
            struct.pack_into("<Q", content, at, UNKNOWN_TAG)
    # Names may share their ends, so a letter may be replaced only if every name that ends there is foreign and renamed.
    by_end: dict[int, list[bool]] = {}
    for at in range(symbols[4], symbols[4] + symbols[5], 24):
        name, _, _, section = struct.unpack_from("<IBBH", content, at)
        start = names + name
        end = content.index(0, start)
        by_end.setdefault(end, []).append(bytes(content[start:end]) in RENAMED and section == 0)
    for end, foreign in by_end.items():
        if any(foreign):
            if not all(foreign):
                raise ValueError(f"the name that ends at {end} is shared")
            content[end - 1 : end] = b"X"
    return bytes(content)


if __name__ == "__main__":
    Path(sys.argv[2]).write_bytes(patch(Path(sys.argv[1]).read_bytes()))
