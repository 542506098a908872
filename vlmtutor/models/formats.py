"""What kind of file some bytes are: its name for people, and the way on."""

from __future__ import annotations

import contextlib
import json
import re

from PIL import Image

PIXELS = "save it as JPEG or PNG"
FRAME = "save one frame of it as JPEG"
PAGE = "save its page as JPEG or PNG"

# What a file begins with: (bytes, where they stand, what it is, the way on).
# Pictures that Pillow reads are at the end: they get here only if damaged.
_TIFF = "a TIFF picture, damaged or of a kind that cannot be read here"
_BEGINNINGS = (
    (b"\xff\x0a", 0, "a JPEG XL picture", PIXELS),
    (b"\0\0\0\x0cJXL ", 0, "a JPEG XL picture", PIXELS),
    (b"II\xbc", 0, "a JPEG XR picture", PIXELS),
    (b"8BPS", 0, "a Photoshop picture (PSD)", PIXELS),
    (b"gimp xcf", 0, "a GIMP picture (XCF)", PIXELS),
    (b"v/1\x01", 0, "an OpenEXR picture", PIXELS),
    (b"#?RADIANCE", 0, "a Radiance HDR picture", PIXELS),
    (b"DDS ", 0, "a DDS texture", PIXELS),
    (b"icns", 0, "an icon file of macOS (ICNS)", PIXELS),
    (b"FUJIFILMCCD-RAW", 0, "a raw picture of a camera", PIXELS),
    (b"IIRO", 0, "a raw picture of a camera", PIXELS),
    (b"IIU\0", 0, "a raw picture of a camera", PIXELS),
    (b"FOVb", 0, "a raw picture of a camera", PIXELS),
    (b"BPG\xfb", 0, "a BPG picture", PIXELS),
    (b"SIMPLE  =", 0, "a FITS picture, as telescopes make them", PIXELS),
    (b"DICM", 128, "a DICOM picture, as hospitals have them", PIXELS),
    (b"%!PS", 0, "a PostScript or EPS drawing, not a picture of pixels", PAGE),
    (b"\xd7\xcd\xc6\x9a", 0, "a WMF drawing, not a picture of pixels", PIXELS),
    (b" EMF", 40, "an EMF drawing, not a picture of pixels", PIXELS),
    (b"%PDF", 0, "a PDF document, not a picture", PAGE),
    (b"\xd0\xcf\x11\xe0", 0, "an Office document, not a picture", PIXELS),
    (b"PK\x03\x04", 0, "a zip archive or Office document, not a picture", ""),
    (b"\x1f\x8b", 0, "a gzip archive, not a picture", "unpack it first"),
    (b"7z\xbc\xaf", 0, "a 7z archive, not a picture", "unpack it first"),
    (b"Rar!", 0, "a RAR archive, not a picture", "unpack it first"),
    (b"AVI ", 8, "an AVI video, not a picture", FRAME),
    (b"\x1aE\xdf\xa3", 0, "a WebM or Matroska video, not a picture", FRAME),
    (b"\0\0\1\xba", 0, "an MPEG video, not a picture", FRAME),
    (b"FLV\1", 0, "a Flash video, not a picture", FRAME),
    (b"\x30\x26\xb2\x75", 0, "a video or sound of Windows Media, not a picture",
     FRAME),
    (b"moov", 4, "a QuickTime video (MOV), not a picture", FRAME),
    (b"wide", 4, "a QuickTime video (MOV), not a picture", FRAME),
    (b"mdat", 4, "a QuickTime video (MOV), not a picture", FRAME),
    (b"fLaC", 0, "a sound (FLAC), not a picture", ""),
    (b"WAVE", 8, "a sound (WAV), not a picture", ""),
    (b"ID3", 0, "a sound (MP3), not a picture", ""),
    (b"OggS", 0, "a sound or video (Ogg), not a picture", ""),
    (b"version https://git-lfs", 0, "a pointer of Git LFS, not a picture",
     "git lfs pull fetches the picture"),
    (b"\0\5\x16\7", 0, "a side file of macOS (AppleDouble), not a picture", ""),
    (b"\xff\xd8\xff", 0, "a damaged JPEG picture", ""),
    (b"\x89PNG", 0, "a damaged PNG picture", ""),
    (b"GIF8", 0, "a damaged GIF picture", ""),
    (b"WEBP", 8, "a damaged WebP picture", ""),
    (b"II*\0", 0, _TIFF, PIXELS),
    (b"MM\0*", 0, _TIFF, PIXELS),
    (b"II+\0", 0, _TIFF, PIXELS),
    (b"MM\0+", 0, _TIFF, PIXELS),
)  # fmt: skip

# The brands in the first box of ISO media files (ISO/IEC 14496-12).
_HEIC = b"heic heix heim heis hevc hevx hevm hevs mif1 msf1 avci avcs".split()
_BRANDS = {
    b"avif": ("a damaged AVIF picture", ""),
    b"avis": ("a damaged AVIF picture", ""),
    b"crx ": ("a raw picture of a camera (CR3)", PIXELS),
    b"qt  ": ("a QuickTime video (MOV), not a picture", FRAME),
}
_SVG = "an SVG drawing, not a picture of pixels"
_MARKUP = (  # what a text begins with, in small letters
    ("<!doctype html", "a web page (HTML), not a picture"),
    ("<html", "a web page (HTML), not a picture"),
    ("<head", "a web page (HTML), not a picture"),
    ("<body", "a web page (HTML), not a picture"),
    ("<!doctype svg", _SVG),
    ("<svg", _SVG),
    ("{\\rtf", "an RTF document, not a picture"),
    ("<?xml", "an XML file, not a picture"),
)
_BEFORE_MARKUP = re.compile(r"(<\?xml.*?\?>|<!--.*?-->|\s)*", re.DOTALL)


def is_heic(data: bytes) -> bool:
    """Whether it is what phones save as .heic or .heif."""
    brands = _brands(data)
    return bool(brands) and brands[0] in _HEIC and b"avif" not in brands


def describe(data: bytes) -> str:
    """What a file is that cannot be read as a picture, and what to do."""
    if not data.strip(b"\0"):
        return "only zero bytes: it has not been copied or downloaded whole"
    if is_heic(data):
        if "HEIF" in Image.OPEN:  # a plugin is there
            return "a damaged HEIC picture"
        way = "pip install pillow-heif (then start again), or save it as JPEG"
        return f"a HEIC picture, as phones make them: {way}"
    for sign, at, name, way in _BEGINNINGS:
        if data.startswith(sign, at):
            return f"{name}: {way}" if way else name
    brands = _brands(data)
    if brands:
        known = next((b for b in brands if b in _BRANDS), b"")
        name, way = _BRANDS.get(known, ("an MP4 video, not a picture", FRAME))
        return f"{name}: {way}" if way else name
    return text_kind(data) or f"not a picture in a known format: {PIXELS}"


def text_kind(data: bytes) -> str:
    """What kind of text a file holds; "" if it is none."""
    try:
        text = data[:4000].decode("utf-8-sig", "ignore" if data[4000:] else "strict")
    except UnicodeDecodeError:
        return ""
    if any(not (c.isprintable() or c.isspace()) for c in text):
        return ""
    start = text.lstrip("\ufeff \t\r\n").lower()
    first = start[_BEFORE_MARKUP.match(start).end() :]
    for sign, name in _MARKUP:
        if first.startswith(sign) or start.startswith(sign):
            return f"{_SVG}: save it as PNG" if name is _SVG else name
    if is_json(data):
        return "a JSON file, not a picture"
    return "a text file, not a picture"


def is_json(data: bytes) -> bool:
    """Whether a file holds one JSON object or list, or an object a line."""
    first_line = data.strip().partition(b"\n")[0]
    for part, kinds in ((data, (dict, list)), (first_line, dict)):
        with contextlib.suppress(ValueError, RecursionError):
            if isinstance(json.loads(part), kinds):
                return True
    return False


def _brands(data: bytes) -> list[bytes]:
    """The brands of an ISO media file, the major one first; else none."""
    if data[4:8] != b"ftyp":
        return []
    end = min(int.from_bytes(data[:4], "big"), 64)
    return [data[8:12], *(data[i : i + 4] for i in range(16, end - 3, 4))]
