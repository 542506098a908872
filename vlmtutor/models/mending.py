"""Files that viewers show and Pillow refuses: the same picture, readable.

What is mended does not touch the pixels: a side chunk of a PNG or JPEG that is
too long, too short or damaged, the last bytes of a JPEG, the last frames of a
WebP or AVIF.
"""

from __future__ import annotations

import io
import zlib

from PIL import Image

LOST_ROWS = 24  # of a JPEG: one row of blocks, and what smoothing takes
_LARGE = 40_000_000  # pixels of a JPEG: half its width and height tell as much
_BAND = 64  # rows that are summed up at once, so that no copy of all is made
_KEPT = (b"tRNS", b"eXIf", b"iCCP")  # the others do not change what is read
_SHORTEST = {b"JFIF\0": 14, b"ICC_PROFILE\0": 14, b"Adobe": 12}  # bytes
_LONGEST_PROFILE = 1_000_000  # bytes; Pillow reads no longer one


def mended(data: bytes) -> bytes | None:
    """A file that gives the picture of a slightly damaged one, or None."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png_without_side_chunks(data)
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg_with_its_end(_jpeg_without_stumps(data))
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp_of_whole_chunks(data)
    if data[4:12] == b"ftypavis":
        return _avif_of_full_length(data)
    return None


def _png_without_side_chunks(data: bytes) -> bytes:
    """What shapes the pixels: texts go, and so does what is damaged."""
    kept, at = [data[:8]], 8
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        kind, body = data[at + 4 : at + 8], data[at + 8 : end - 4]
        is_whole = zlib.crc32(kind + body).to_bytes(4, "big") == data[end - 4 : end]
        if kind[:1].isupper() or (kind in _KEPT and is_whole and _is_short(kind, body)):
            kept.append(data[at:end])
        at = end
    return b"".join(kept)


def _is_short(kind: bytes, body: bytes) -> bool:
    """Whether a profile unpacks to what Pillow takes."""
    if kind != b"iCCP":
        return True
    packed = body.partition(b"\0")[2][1:]
    try:
        unpacked = zlib.decompressobj()
        unpacked.decompress(packed, _LONGEST_PROFILE)
    except zlib.error:
        return False
    return not unpacked.unconsumed_tail


def _jpeg_without_stumps(data: bytes) -> bytes:
    """Segments for programs (APP0 to APP15) that are too short go."""
    kept, at = [data[:2]], 2
    while data[at : at + 1] == b"\xff" and 0xE0 <= data[at + 1] <= 0xEF:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        body = data[at + 4 : end]
        if all(len(body) >= n for sign, n in _SHORTEST.items() if body[:5] == sign[:5]):
            kept.append(data[at:end])
        at = end
    return b"".join(kept) + data[at:]


def _jpeg_with_its_end(data: bytes) -> bytes | None:
    """The end mark put back, if only the lowest rows lack something.

    What follows the last byte is made up twice: where the two pictures
    differ, the file says nothing. At an eighth of the size most cut ones show
    that in little memory; only the others are read as large as they are seen.
    """
    data = data.rstrip(b"\xff")  # half of an end mark
    ends = [data + made_up + b"\xff\xd9" for made_up in (b"", b"\x55\xaa" * 64)]
    with Image.OPEN["JPEG"][0](io.BytesIO(data)) as header:
        width, height = header.size
    for part in (8, 2 if width * height > _LARGE else 1):
        first, second = (_checksum(end, "JPEG", part, LOST_ROWS) for end in ends)
        if first != second:
            return None
    return ends[0]


def _checksum(data: bytes, format: str, part: int = 1, lost: int = 0) -> int:
    """Of a picture's pixels without its last rows; a JPEG at 1 / ``part`` size."""
    with Image.OPEN[format][0](io.BytesIO(data)) as image:
        width, height = image.size
        rows = (height - min(lost, height // 2)) // part
        image.draft(image.mode, (max(1, width // part), max(1, height // part)))
        total = 0
        for top in range(0, rows, _BAND):
            box = (0, top, image.width, min(top + _BAND, rows))
            total = zlib.crc32(image.crop(box).tobytes(), total)
    return total


def _webp_of_whole_chunks(data: bytes) -> bytes:
    """An animation without the frame that was cut off."""
    end = at = 12
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + size + size % 2
        end = at if at <= len(data) else end
    return b"RIFF" + (end - 8).to_bytes(4, "little") + data[8:end]


def _avif_of_full_length(data: bytes) -> bytes | None:
    """An animation filled up to the length that its boxes name.

    What fills it is made up twice: a first frame that differs was cut too.
    """
    end, lacking = 0, 0
    while end + 8 <= len(data):
        end += max(int.from_bytes(data[end : end + 4], "big"), 8)
        lacking = end - len(data)
    if not 0 < lacking < len(data):
        return None
    Image.init()  # knows AVIF from then on
    filled = [data + filler * lacking for filler in (b"\0", b"\x55")]
    first, second = (_checksum(one, "AVIF") for one in filled)
    return filled[0] if first == second else None
