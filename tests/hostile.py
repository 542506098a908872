"""Hypothesis strategies for input that nobody wishes for."""

from __future__ import annotations

import functools
import io
import struct
import zlib

import numpy as np
from hypothesis import strategies as st
from PIL import Image

FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "ICO",
           "JPEG2000", "PCX", "QOI", "AVIF")  # fmt: skip
SIGNATURES = (
    b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"BM",
    b"RIFF\x40\0\0\0WEBPVP8 ", b"II*\0", b"MM\0*", b"P6\n64 64\n255\n",
    b"\0\0\1\0\1\0", b"\0\0\0\x0cjP  \r\n\x87\n", b"\x0a\5\1\x08", b"qoif",
    b"\0\0\0 ftypavif", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"<svg>", b"%PDF-1.7",
    b"\0\0\0 ftypheic", b"\0\0\0 ftypqt  ", b"\xff\x0a", b"8BPS\0\1", b"PK\3\4",
    b"\0\0\0\x0cJXL \r\n\x87\n", b"{\\rtf1", b"[" * 3000, b"RIFF\4\0\0\0AVI ",
    b"version https://git-lfs", b"\x1aE\xdf\xa3", b"\0" * 64,
)  # fmt: skip
NASTY_TEXTS = (
    "", " ", "\n\n|", "\0", "\ud800", "a" * 10_000, "long " * 2_000,
    "שלום עולם", "مرحبا بالعالم", "👩‍👩‍👧‍👦🏳️‍🌈", "Z̷̢̛͈͓̟͎̅́̃̐a̶̧͊l̸̡̛g̵̨͝o̴̧͠", "\u202eevil\u2066",
    "../../etc/passwd", "{format} %s %n", "<script>alert(1)</script>",
    "ﷺ" * 50, "漢字かな交じり文", "\ufeff", "|", "#", "\x1b[31mred", "ﬁ ß İ",
    "\u00a0\u202f", "non\u00a0?" * 60, "วัน\u200bจันทร์" * 30, "\u200b" * 99,
    "می‌خواهم 12 😭 (abc)", "सोमवार क्ष्म्य", "१२३", "\u0301", "ا\u0651\u064e" * 40,
    "שָׁלוֹם [a] 3.14%", "\u2028", "#tag", "[1]", "\U000e0067", "\ue000\U0010ffff",
    "? ! » ; : %", "«", " « oui » ? " * 40, "🏴\U000e0067\U000e0062\U000e007f", "🏽",
    "葛\U000e0100", "ᠳᠠᠸᠠ", "\u1112\u1161\u11ab", "👩‍ ‍👩", "🫩🪾", "𝕄𒀀",
    "a\u2060b\u00adc",
)  # fmt: skip
NASTY_NAMES = (
    "..png", "...", "CON.png", "nul", "a.png.", " .png", "-rf.png", "~.png",
    "two\nlines.png", "\u202egnp.exe", "%00.png", "a\\b.png", "..\\..\\x.png",
    "report.json", "gallery.png", "gallery-2.png", ".hidden.png", "$HOME.png",
    "é.png", "e\u0301.png", "A.PNG", "a.png", "a.jpeg", "\udcff\udcfe.png",
    "🐶.png", "x" * 240 + ".png", "|.png", "*.png", "q?.png", "'\".png",
    "~", "CONIN$.png", "com¹.png", "a.jfif", "a.heic", "\x1b]0;x\x07.png",
    "report", "GALLERY.jpe", "a.png.part", "journal.jsonl", "lock",
    "\u212a.png", "K.png", "ﬁ.png", "fi.png", "ß.png", "SS.PNG", "İ.png", "a\u200b.png",
    "embeddings.sqlite", "captions.txt", "memes.zip", "\u2066x.png", "con.tar.gz",
)  # fmt: skip


@functools.cache
def real_picture(format: str) -> bytes:
    """The file of a small noisy picture; b"" if Pillow cannot write it."""
    rng = np.random.default_rng(len(format))
    pixels = rng.integers(0, 255, (40, 48, 3), np.uint8)
    file = io.BytesIO()
    Image.init()
    if format not in Image.SAVE:
        return b""
    Image.fromarray(pixels).save(file, format)
    return file.getvalue()


@functools.cache
def odd_picture(mode: str, width: int, height: int) -> bytes:
    """A whole picture of an unusual mode or shape."""
    file = io.BytesIO()
    format = "TIFF" if mode in ("CMYK", "F", "I", "LAB", "YCbCr") else "PNG"
    Image.new(mode, (width, height), 1).save(file, format)
    return file.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes that claims to be enormous."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0" * 9999))
        + chunk(b"IEND", b"")
    )


def icon(*pictures: bytes, sides=(16, 16), bits=(32, 32)) -> bytes:
    """An ICO of one or two pictures, of which its directory says all that."""
    place, entries = 6 + 16 * len(pictures), b""
    for picture, depth in zip(pictures, bits, strict=False):
        entry = (sides[0] % 256, sides[1] % 256, 0, 0, 1, depth, len(picture), place)
        entries += struct.pack("<4B2H2I", *entry)
        place += len(picture)
    return struct.pack("<3H", 0, 1, len(pictures)) + entries + b"".join(pictures)


PROFILES = (b"", b"no profile", bytes(200), b"\0\0\2\x0clcms" + bytes(600))


@functools.cache
def profiled_picture(format: str, mode: str, profile: bytes) -> bytes:
    """A picture whose colour profile is none."""
    file = io.BytesIO()
    Image.new(mode, (40, 36), 1).save(file, format, icc_profile=profile)
    return file.getvalue()


def chunk(kind: bytes, body: bytes, crc: int | None = None) -> bytes:
    """A part of a PNG file, its checksum right unless ``crc`` is given."""
    crc = zlib.crc32(kind + body) if crc is None else crc
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)


@st.composite
def side_chunked_pictures(draw) -> bytes:
    """A PNG with a part that no pixel depends on, whole or not."""
    data = real_picture("PNG")
    kind = draw(st.sampled_from([b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf", b"vpAg"]))
    crc = draw(st.sampled_from([None, 0]))
    side = chunk(kind, draw(st.binary(max_size=60)), crc)
    place = draw(st.sampled_from([33, len(data) - 12]))
    return data[:place] + side + data[place:]


@st.composite
def damaged_pictures(draw) -> bytes:
    """A real picture cut short, or with some bytes changed."""
    data = bytearray(real_picture(draw(st.sampled_from(FORMATS))))
    if not data:
        return b""
    places = st.integers(0, len(data) - 1)
    if draw(st.booleans()):
        return bytes(data[: draw(places)])
    for at in draw(st.lists(places, min_size=1, max_size=9)):
        data[at] = draw(st.integers(0, 255))
    return bytes(data)


def file_contents() -> st.SearchStrategy[bytes]:
    """What may be in a file that is offered as a picture."""
    started = st.tuples(st.sampled_from(SIGNATURES), st.binary(max_size=300))
    sides = st.sampled_from([1, 2, 3, 31, 32, 33, 200])
    lengths = st.integers(5_000, 2**31 - 1)
    bombs = st.builds(bomb, lengths, lengths)
    modes = st.sampled_from(
        ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I", "F", "CMYK", "YCbCr", "LAB"]
    )
    return st.one_of(
        st.binary(max_size=500),
        started.map(b"".join),
        damaged_pictures(),
        damaged_pictures(),
        st.sampled_from(FORMATS).map(real_picture),
        side_chunked_pictures(),
        st.builds(
            profiled_picture,
            st.sampled_from(["PNG", "TIFF"]),
            st.sampled_from(["L", "RGB", "RGBA"]),
            st.sampled_from(PROFILES),
        ),
        st.builds(odd_picture, modes, sides, sides),
        bombs,
        bombs.map(icon),
        st.text(max_size=200).map(lambda t: t.encode("utf-8")),
    )


def plain_names() -> st.SearchStrategy[str]:
    """Names that every system accepts, capitals or not making no odds."""
    return st.from_regex(r"[a-z0-9_]{3,12}\.(png|jpg|gif|txt)", fullmatch=True)


def upload_names() -> st.SearchStrategy[str]:
    """What a browser may say a file is called: any text, paths as well."""
    paths = st.lists(
        st.sampled_from(["..", ".", "", "etc", "C:", "x.png", "~", "\0"]),
        min_size=1,
        max_size=6,
    )
    joined = st.builds(str.join, st.sampled_from(["/", "\\", "%2f"]), paths)
    return st.one_of(joined, st.text(max_size=300), st.sampled_from(NASTY_NAMES))


def file_names() -> st.SearchStrategy[str]:
    """Names that Linux accepts for a file, undecodable ones included."""
    characters = st.characters(exclude_characters="/\0", exclude_categories=["Cs"])
    texts = st.text(characters, min_size=1, max_size=60)
    ends = st.sampled_from([".png", ".jpg", ".gif", "", ".PNG", ".tar.gz"])
    made = st.tuples(texts, ends).map("".join)
    raw = st.binary(min_size=1, max_size=20).map(
        lambda b: (
            b.replace(b"/", b"_")
            .replace(b"\0", b"_")
            .decode("utf-8", "surrogateescape")
        )
    )
    return st.one_of(made, raw, st.sampled_from(NASTY_NAMES)).filter(
        lambda name: (
            name not in (".", "..")
            and len(name.encode("utf-8", "surrogateescape")) <= 255
        )
    )


def captions() -> st.SearchStrategy[str]:
    """Any text at all."""
    anything = st.text(st.characters(categories=None), max_size=80)
    return st.one_of(anything, st.sampled_from(NASTY_TEXTS))
