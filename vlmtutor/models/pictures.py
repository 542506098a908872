"""Read a picture as a person would see it, or say why it cannot be read."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

MAX_PIXELS = 80_000_000  # a photo of a good phone, not a trap
MAX_BYTES = 400_000_000

# Pictures that people have. Left out on purpose: EPS, which starts a
# PostScript interpreter, and formats without a signature, as which any file
# might be read.
FORMATS = (
    "JPEG", "MPO", "PNG", "GIF", "WEBP", "AVIF", "BMP", "DIB", "TIFF",
    "JPEG2000", "PPM", "ICO", "QOI", "PCX",
)  # fmt: skip

_ORIENTATION_TAG = 0x0112
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


def rgb_picture(source: Image.Image | str | Path) -> Image.Image:
    """A picture as a person would see it, from a path or a PIL image.

    Raises FileNotFoundError, and UnreadablePicture with the path for a file
    that cannot be read.
    """
    if isinstance(source, Image.Image):
        # A plain RGB picture, as as_seen makes them, is taken as it is.
        is_plain = type(source) is Image.Image and not source.info
        return source if is_plain and source.mode == "RGB" else as_seen(source)
    if not isinstance(source, (str, os.PathLike)):
        kind = type(source).__name__
        raise TypeError(f"a picture is a PIL image or a path, not a {kind}")
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
    path = Path(path)
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
    """Like read_picture, from the bytes of a file."""
    Image.init()
    formats = [name for name in FORMATS if name in Image.OPEN]
    try:
        # A file opens on its first frame; decoding starts in as_seen.
        with Image.open(io.BytesIO(data), formats=formats) as image:
            _check_size(image)
            return as_seen(image)
    except UnreadablePicture:
        raise
    except Image.UnidentifiedImageError:
        raise UnreadablePicture("not a picture in a known format") from None
    except Image.DecompressionBombError:
        raise UnreadablePicture(f"too large: more than {MAX_PIXELS:,} pixels") from None
    # Decoders meet damaged data with errors of any kind, from OSError to
    # struct.error; whatever it is, this file is not readable.
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise UnreadablePicture(f"damaged: {reason}") from error


def _check_size(image: Image.Image) -> None:
    """Raise UnreadablePicture if a picture would fill the memory."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise UnreadablePicture(
            f"too large: {width:,} x {height:,} pixels, "
            f"the limit is {MAX_PIXELS:,} in all"
        )


def as_seen(image: Image.Image) -> Image.Image:
    """A new RGB picture [H, W] that looks as ``image`` does on white paper.

    Turned as its EXIF orientation says; transparency on white; greys of 16
    and 32 bits and floats scaled to 8 bits; CMYK through its colour profile
    where it has one.
    """
    image.load()
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        seen = _gray(image)
    elif image.has_transparency_data:
        ink = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        seen = Image.alpha_composite(paper, ink).convert("RGB")
    elif image.mode == "CMYK":
        seen = _cmyk(image)
    else:
        seen = image.convert("RGB")
    turn = _TURNS.get(_orientation(image))
    seen = image.copy() if seen is image else seen
    seen = seen if turn is None else seen.transpose(turn)
    seen.info = {}  # so that nobody turns it again
    return seen


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # damaged EXIF data: leave the picture as it lies
        return 1


def _gray(image: Image.Image) -> Image.Image:
    """16 or 32 bits or floats as 8 bits.

    Black is 0 and white 1, 255 or 65535, the least that no value exceeds.
    Larger values have no white of their own: the brightest is taken; and
    the darkest as black where there are negative ones.
    """
    values = np.nan_to_num(np.asarray(image).astype(np.float32))
    low = float(values.min(initial=0))
    high = float(values.max(initial=0))
    if image.mode.startswith("I;16") or image.format in ("PNG", "PPM"):
        low, high = 0, 65535
    elif low >= 0 and high <= 65535:
        whites = (1, 255, 65535) if image.mode == "F" else (255, 65535)
        low, high = 0, next(white for white in whites if high <= white)
    step = 255 / (high - low) if high > low else 0
    values = values * np.float32(step) - np.float32(low * step)
    pixels = values.round().clip(0, 255).astype(np.uint8)
    return Image.fromarray(pixels).convert("RGB")


def _cmyk(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    if profile:
        try:
            return ImageCms.profileToProfile(
                image,
                ImageCms.ImageCmsProfile(io.BytesIO(profile)),
                ImageCms.createProfile("sRGB"),
                outputMode="RGB",
            )
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # a broken profile: the plain conversion below
    return image.convert("RGB")
