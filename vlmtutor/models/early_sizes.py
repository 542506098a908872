"""How large a picture is that one cannot ask after opening it.

Pillow decodes an ICO as soon as it opens it, and takes memory for a WebP or
warns of a large GIF on the screen before it tells the size.
"""

from __future__ import annotations

import io
import struct

from PIL import Image

_ICO = b"\0\0\1\0"
_PNG = b"\x89PNG\r\n\x1a\n"
_ENTRY = struct.Struct("<4B2H2I")  # sides, colours, 0, planes, bits, length, place


def unpacked(data: bytes) -> bytes:
    """Of an ICO its largest picture: a PNG, or an ICO of one bitmap.

    The sides in its directory are bytes, whatever the PNG has.  Other files
    come as they are.
    """
    if not data.startswith(_ICO):
        return data
    end = _ENTRY.size * int.from_bytes(data[4:6], "little") + 6
    entries = sorted(_ENTRY.iter_unpack(data[6:end]), key=_worth, reverse=True)
    *sides, length, place = entries[0]
    body = data[place:]
    if body.startswith(_PNG):
        return body
    return _ICO + b"\1\0" + _ENTRY.pack(*sides, length, 6 + _ENTRY.size) + body


def _worth(entry: tuple[int, ...]) -> tuple[int, int]:
    """The larger is the better one, then that of more colours."""
    width, height, *_, bits, _, _ = entry
    return (width or 256) * (height or 256), bits  # 256 does not fit a byte


def early_size(data: bytes) -> tuple[int, int]:
    """Width and height of what ``unpacked`` gives; (0, 0) if opening tells."""
    if data.startswith(_ICO):
        # With the mask, which lies below it and is decoded as well.
        return Image.OPEN["DIB"][0](io.BytesIO(data[6 + _ENTRY.size :]), "").size
    if data.startswith(b"GIF8"):
        return _gif_size(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp_size(data)
    return 0, 0


def _gif_size(data: bytes) -> tuple[int, int]:
    """The canvas, or more where the first frame reaches beyond it."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + (3 << (flags & 7) + 1 if flags & 128 else 0)  # after the palette
    while data[at] == ord("!"):  # an extension: blocks, the last one empty
        at += 2
        while data[at]:
            at += 1 + data[at]
        at += 1
    if data[at] == ord(","):
        left, top, *sides = struct.unpack_from("<4H", data, at + 1)
        width, height = max(width, left + sides[0]), max(height, top + sides[1])
    return width, height


def _webp_size(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":  # animated, or with a profile or transparency
        sides = struct.unpack("<I", data[24:27] + b"\0")
        sides += struct.unpack("<I", data[27:30] + b"\0")
        return sides[0] + 1, sides[1] + 1
    if kind == b"VP8L":  # lossless: 14 bits a side
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF
