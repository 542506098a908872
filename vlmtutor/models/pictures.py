"""Read a picture as a person would see it, or say why it cannot be read."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import stat
import struct
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from .color import to_srgb
from .color_key import ColorKey
from .early_sizes import early_size, unpacked
from .formats import PIXELS, describe, is_heic
from .greys import eight_bits
from .mending import mended

MAX_PIXELS = 80_000_000  # a photo of a good phone, not a trap
MAX_JPEG_PIXELS = 4 * MAX_PIXELS  # above MAX_PIXELS it is read at half its size
MAX_BYTES = 400_000_000

# Pictures that people have; HEIF and JXL where a plugin for Pillow reads
# them. Left out on purpose: EPS, which starts a PostScript interpreter, and
# formats without a signature, as which any file might be read.
FORMATS = (
    "JPEG", "MPO", "PNG", "GIF", "WEBP", "AVIF", "BMP", "DIB", "TIFF",
    "JPEG2000", "PPM", "ICO", "QOI", "PCX", "HEIF", "JXL",
)  # fmt: skip
HEIF_PLUGINS = ("pillow_heif", "pi_heif")
_BITMAPS = ("BMP", "DIB", "ICO")

_ORIENTATION_TAG = 0x0112
_TILE_TAGS = (0x0142, 0x0143)  # width and height of a TIFF's tiles
_SUBFILE_TAG = 0x00FE  # TIFF 6.0: bit 0 says that the page is a reduced picture
_TURNS = {  # what undoes each EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class UnreadablePicture(ValueError):
    """A file that is no picture, is damaged, or is too large to open."""


class _Damaged(UnreadablePicture):
    """It might be mended."""


def rgb_picture(source: Image.Image | str | Path) -> Image.Image:
    """A picture as a person would see it, from a path or a PIL image.

    Raises FileNotFoundError, and UnreadablePicture with the path for a file
    that cannot be read; TypeError for what is neither.
    """
    if isinstance(source, Image.Image):
        # A plain RGB picture, as as_seen makes them, is taken as it is.
        is_plain = type(source) is Image.Image and not source.info
        is_plain = is_plain and source.mode == "RGB" and 0 not in source.size
        return source if is_plain else as_seen(source)
    if not isinstance(source, (str, os.PathLike)):
        kind = type(source).__name__
        raise TypeError(f"a picture is a PIL image or a path, not a {kind}")
    source = os.path.expanduser(source)
    if not Path(source).exists():
        raise FileNotFoundError(f"there is no picture {source}")
    try:
        return read_picture(source)
    except UnreadablePicture as error:
        text = f"{source} cannot be read as a picture: {error}"
        raise UnreadablePicture(text) from error


def read_picture(path: str | Path) -> Image.Image:
    """The picture in a file: RGB, upright, its first frame, on white.

    Raises UnreadablePicture with a reason in words for anything else.
    """
    return decode_picture(read_bytes(path))


def read_bytes(path: str | Path) -> bytes:
    """The bytes of an ordinary file; UnreadablePicture if there are none."""
    path = Path(os.path.expanduser(path))
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise UnreadablePicture("a folder, not a picture")
        if not stat.S_ISREG(status.st_mode):
            # Opening a pipe would wait for ever.
            raise UnreadablePicture("not an ordinary file")
        if status.st_size > MAX_BYTES:
            raise UnreadablePicture(
                f"too large: {status.st_size / 1e6:,.0f} MB, "
                f"the limit is {MAX_BYTES / 1e6:,.0f} MB"
            )
        data = path.read_bytes()
    except FileNotFoundError:
        raise UnreadablePicture("no such file") from None
    except (OSError, ValueError) as error:
        if isinstance(error, UnreadablePicture):
            raise
        reason = getattr(error, "strerror", None) or error
        raise UnreadablePicture(f"cannot be opened: {reason}") from error
    if not data:
        raise UnreadablePicture("an empty file")
    return data


def decode_picture(data: bytes) -> Image.Image:
    """Like read_picture, from the bytes of a file.

    A JPEG of more than MAX_PIXELS comes at half its width and height, with
    ``info["reduced"] == 2``: the memory for more is not everybody's.
    """
    try:
        return _decode(data)
    except _Damaged as reason:
        with contextlib.suppress(Exception):  # it was damaged anyhow
            better = mended(data)
            if better is not None:
                return _decode(better)
        raise reason


def _decode(data: bytes) -> Image.Image:
    try:
        # A file opens on its first frame; decoding starts in as_seen.
        with open_header(data) as image:
            _refuse_previews(image)
            reduced = _fit_memory(image)
            seen = as_seen(image)
    except UnreadablePicture:
        raise
    except MemoryError:
        raise UnreadablePicture("too large for the memory that is free") from None
    except Exception as error:  # of any kind, as in _load
        reason = str(error) or type(error).__name__
        raise _Damaged(f"damaged: {reason}") from error
    seen.info = {"reduced": reduced} if reduced > 1 else {}
    return seen


def open_header(data: bytes) -> Image.Image:
    """A picture whose pixels are not decoded yet: ``size``, ``format``, ….

    Unlike ``Image.open`` it has no limit of its own, at which it would warn
    on the screen of whoever runs this. Raises UnreadablePicture for what is
    too large to be opened, and _Damaged for bytes that are no picture of
    :data:`FORMATS`.
    """
    Image.init()
    if is_heic(data) and "HEIF" not in Image.OPEN:
        _register_heif()
    with contextlib.suppress(IndexError, struct.error):  # cut short: see below
        data = unpacked(data)
        _refuse_above(MAX_PIXELS, early_size(data))
    for name in FORMATS:
        factory, accepts = Image.OPEN.get(name, (None, None))
        # As in Image.open: what fails so early is of another format, and a
        # text in place of a truth value is a reason why it is not readable.
        with contextlib.suppress(SyntaxError, IndexError, TypeError, struct.error):
            accepted = factory and (not accepts or accepts(data[:16]))
            if accepted and not isinstance(accepted, str):
                return factory(io.BytesIO(data), "")
    raise _Damaged(describe(data))


def _register_heif() -> None:
    """Let Pillow read HEIC, if a plugin for it is installed."""
    for name in HEIF_PLUGINS:
        with contextlib.suppress(ImportError):
            importlib.import_module(name).register_heif_opener()
            return


def _refuse_previews(image: Image.Image) -> None:
    """A raw photo is a TIFF whose first page is a small picture of it."""
    if image.format == "TIFF" and image.tag_v2.get(_SUBFILE_TAG, 0) & 1:
        raise UnreadablePicture(f"a raw picture of a camera: {PIXELS}")


def _fit_memory(image: Image.Image) -> int:
    """Have a large JPEG read at half its size: 1, or 2 if it is so.

    Raises UnreadablePicture if a picture would fill the memory.
    """
    width, height = image.size
    is_jpeg = image.format in ("JPEG", "MPO")
    _refuse_above(MAX_JPEG_PIXELS if is_jpeg else MAX_PIXELS, image.size)
    if image.format == "TIFF":  # a tile is decoded whole, however little shows
        sides = [image.tag_v2.get(tag) for tag in _TILE_TAGS]
        if all(isinstance(side, int) for side in sides):
            _refuse_above(MAX_PIXELS, sides)
    if width * height <= MAX_PIXELS:
        return 1
    image.draft(image.mode, (width // 2, height // 2))
    return 2


def _refuse_above(limit: int, size: Sequence[int]) -> None:
    width, height = size
    if width * height > limit:
        raise UnreadablePicture(
            f"too large: {width:,} x {height:,} pixels, the limit is "
            f"{limit:,} in all ({MAX_JPEG_PIXELS:,} for JPEG)"
        )


def as_seen(image: Image.Image) -> Image.Image:
    """A new RGB picture [H, W] that looks as ``image`` does on white paper.

    Turned as its EXIF orientation says; transparency on white; greys of 16
    and 32 bits and floats scaled to 8 bits; colours through the profile of
    the picture, where it has one, to sRGB. Raises UnreadablePicture for one
    without pixels, and for one whose file is damaged or closed.
    """
    if 0 in image.size:
        raise UnreadablePicture(f"no pixels: {image.width} x {image.height}")
    key = ColorKey(image)  # loading forgets of what kind it is
    _load(image)
    profile = image.info.get("icc_profile")
    has_key = key.key is not None
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        seen = to_srgb(eight_bits(image), profile)
    elif image.has_transparency_data and not has_key and not _no_alpha(image):
        ink = image.convert("RGBA")
        if profile:
            solid = image.convert("L" if image.mode == "LA" else "RGB")
            alpha = ink.getchannel("A")
            ink = to_srgb(solid, profile)
            ink.putalpha(alpha)
        paper = Image.new("RGBA", image.size, "white")
        seen = Image.alpha_composite(paper, ink).convert("RGB")
    else:
        seen = to_srgb(image, profile)
    seen = image.copy() if seen is image else seen
    if has_key:
        seen.paste("white", mask=key.mask(image))
    turn = _TURNS.get(_orientation(image))
    seen = seen if turn is None else seen.transpose(turn)
    seen.info = {}  # so that nobody turns it again
    return seen


def _no_alpha(image: Image.Image) -> bool:
    """A bitmap without any alpha is one whose writer left those bytes empty."""
    if image.format not in _BITMAPS or image.mode != "RGBA":
        return False
    return image.getextrema()[3] == (0, 0)  # browsers then show its colours


def _load(image: Image.Image) -> None:
    # Decoders meet damaged data with errors of any kind, from OSError to
    # struct.error; whatever it is, this file is not readable.
    try:
        image.load()
    except MemoryError:
        raise
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise _Damaged(f"damaged: {reason}") from error


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # damaged EXIF data: leave the picture as it lies
        return 1
