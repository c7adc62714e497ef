"""PNG files for tests."""

import struct
import zlib


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises so many pixels and has none."""
    content = b"\x89PNG\r\n\x1a\n"
    for kind, body in [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(b""))]:
        content += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return content
