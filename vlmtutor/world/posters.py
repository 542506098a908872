"""The pictures of the folder ``images/``: small jokes told in stickers.

One row of :data:`POSTERS` is one picture: a background and a few stickers,
drawn from back to front.  ``python -m vlmtutor.world.posters images`` draws
them all again.  The stickers are OpenMoji glyphs (CC BY-SA 4.0,
https://openmoji.org), so the pictures are CC BY-SA 4.0 too.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from . import backgrounds, glyphs
from .categories import find_category

SIZE = 512  # pixels a side
# Twice what the scenes of the world need: at 512 px their glyphs would blur.
FONT_SIZE = 480


class Put(NamedTuple):
    """One sticker: its centre and longer side as shares of the canvas.

    ``tilt`` turns it anticlockwise, in degrees, after ``mirrored`` has
    flipped it left to right.
    """

    name: str
    x: float
    y: float
    size: float
    tilt: float = 0
    mirrored: bool = False


class Poster(NamedTuple):
    """A picture: a named background, which drawing of it, and stickers."""

    background: str
    variant: int
    stickers: tuple[Put, ...]


POSTERS = {
    # animals
    "monday": Poster("room", 6, (
        Put("grumpy cat", 0.43, 0.47, 0.74),
        Put("alarm clock", 0.81, 0.78, 0.30, -14))),
    "beach_day": Poster("sand", 2, (
        Put("sun", 0.16, 0.16, 0.22),
        Put("penguin", 0.47, 0.54, 0.74),
        Put("ice cream", 0.76, 0.50, 0.30, -14))),
    "soon": Poster("green", 1, (
        Put("sloth", 0.44, 0.48, 0.80),
        Put("laptop", 0.79, 0.78, 0.26, 8))),
    "diet": Poster("yellow", 3, (
        Put("T-rex", 0.40, 0.47, 0.74),
        Put("broccoli", 0.82, 0.66, 0.26, -10))),
    "brunch": Poster("checks", 5, (
        Put("chicken", 0.40, 0.42, 0.66),
        Put("fried egg", 0.72, 0.76, 0.40, 0))),
    "champion": Poster("stripes", 1, (
        Put("snail", 0.46, 0.58, 0.76),
        Put("trophy", 0.78, 0.22, 0.28, -10))),
    "multitasking": Poster("sea", 1, (
        Put("octopus", 0.50, 0.50, 0.66),
        Put("telephone", 0.18, 0.25, 0.22, 14),
        Put("coffee", 0.83, 0.23, 0.20, -8),
        Put("pencil", 0.12, 0.72, 0.20),
        Put("envelope", 0.87, 0.74, 0.20, 12))),
    "first_date": Poster("grass", 4, (
        Put("frog", 0.50, 0.58, 0.66),
        Put("crown", 0.50, 0.20, 0.32, 6),
        Put("mouth", 0.83, 0.72, 0.24, 18))),
    "winter_plan": Poster("blue", 1, (
        Put("giraffe", 0.42, 0.50, 0.90),
        Put("scarf", 0.30, 0.36, 0.26),
        Put("ball of yarn", 0.80, 0.80, 0.28))),
    "costume": Poster("pink", 2, (
        Put("carrot", 0.23, 0.20, 0.34, 250),
        Put("horse", 0.54, 0.57, 0.76))),
    # characters
    "midnight": Poster("night", 3, (
        Put("ghost", 0.42, 0.46, 0.72),
        Put("pizza", 0.78, 0.72, 0.30, -16))),
    "captcha": Poster("paper", 2, (
        Put("robot", 0.42, 0.44, 0.66),
        Put("traffic light", 0.85, 0.38, 0.30, -6),
        Put("bus", 0.74, 0.86, 0.30))),
    "barbecue": Poster("snow", 5, (
        Put("snowman", 0.40, 0.47, 0.80),
        Put("fire", 0.79, 0.75, 0.34))),
    # faces
    "fine": Poster("orange", 3, (
        Put("melting face", 0.46, 0.48, 0.72),
        Put("rising chart", 0.82, 0.20, 0.26, -8))),
    "last_email": Poster("purple", 1, (
        Put("eye-rolling face", 0.46, 0.45, 0.70),
        Put("envelope", 0.77, 0.80, 0.32, 12))),
    "my_choices": Poster("stripes", 5, (
        Put("clown face", 0.46, 0.45, 0.70),
        Put("mirror", 0.82, 0.74, 0.34, -8))),
    # food
    "birthday": Poster("dots", 4, (
        Put("birthday cake", 0.39, 0.54, 0.68),
        Put("fire extinguisher", 0.80, 0.62, 0.40, -8))),
    "hello": Poster("blue", 4, (
        Put("banana", 0.44, 0.46, 0.74),
        Put("telephone", 0.76, 0.78, 0.30, -8))),
    "first_home": Poster("grass", 1, (
        Put("avocado", 0.40, 0.48, 0.76),
        Put("house", 0.80, 0.76, 0.26, 0),
        Put("money bag", 0.80, 0.22, 0.20, 0))),
    # vehicles
    "visitors": Poster("night", 6, (
        Put("flying saucer", 0.50, 0.32, 0.78),
        Put("cow", 0.50, 0.77, 0.28, 24))),
    "country_road": Poster("grass", 6, (
        Put("tractor", 0.38, 0.42, 0.70),
        Put("racing car", 0.82, 0.76, 0.30))),
    "driving_test": Poster("green", 5, (
        Put("car", 0.56, 0.55, 0.78, -8),
        Put("road barrier", 0.17, 0.70, 0.30, 22))),
    # things
    "throne": Poster("room", 2, (
        Put("toilet", 0.42, 0.59, 0.66),
        Put("crown", 0.51, 0.17, 0.26, -6),
        Put("newspaper", 0.82, 0.54, 0.26, -10))),
    "three_am": Poster("night", 1, (
        Put("brain", 0.46, 0.40, 0.70),
        Put("bed", 0.66, 0.81, 0.44))),
    "printer": Poster("red", 4, (
        Put("printer", 0.40, 0.57, 0.66),
        Put("hammer", 0.77, 0.24, 0.40, -30))),
    "weekend_trip": Poster("sky", 4, (
        Put("suitcase", 0.46, 0.56, 0.70),
        Put("airplane", 0.83, 0.19, 0.24))),
    "party_animal": Poster("purple", 3, (
        Put("moai", 0.44, 0.54, 0.74),
        Put("party popper", 0.84, 0.24, 0.28, 0, True),
        Put("balloon", 0.86, 0.70, 0.24))),
    "trust_me": Poster("sand", 5, (
        Put("cactus", 0.40, 0.54, 0.76),
        Put("balloon", 0.76, 0.26, 0.34, 6))),
}  # fmt: skip


def _sticker(put: Put) -> Image.Image:
    """The sticker of one row: sized, mirrored and tilted (RGBA)."""
    art = glyphs.ink(find_category(put.name).char, FONT_SIZE)
    if put.mirrored:
        art = art.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    scale = put.size * SIZE / max(art.size)
    width, height = (round(side * scale) for side in art.size)
    if put.tilt:
        # turned before it shrinks, so that the edges stay smooth
        art = art.rotate(put.tilt, Image.Resampling.BICUBIC, expand=True)
        width, height = (round(side * scale) for side in art.size)
    return art.resize((width, height), Image.Resampling.LANCZOS)


def draw(row: Poster) -> tuple[Image.Image, list[np.ndarray]]:
    """The picture of one row (RGB, 512 × 512), and where its stickers show.

    One mask [H, W] a sticker, in the order of the row: true where it is drawn
    and no later one covers it.  The same row gives the same picture every
    time.
    """
    ground = backgrounds.background(row.background, SIZE, row.variant)
    image, masks = Image.fromarray(ground), []
    for put in row.stickers:
        art = _sticker(put)
        left = round(put.x * SIZE - art.width / 2)
        top = round(put.y * SIZE - art.height / 2)
        image.paste(art, (left, top), art)
        shape = Image.new("L", image.size)
        shape.paste(art.getchannel("A"), (left, top))
        inked = np.asarray(shape) > 127  # [H, W]
        masks = [mask & ~inked for mask in masks] + [inked]
    return image, masks


def poster(name: str) -> Image.Image:
    """One picture of :data:`POSTERS`; KeyError for a name not in the table."""
    return draw(POSTERS[name])[0]


def draw_all(folder: str | os.PathLike) -> list[Path]:
    """Write every poster to ``folder`` as ``<name>.png``; return the paths.

    Pictures of the same names are replaced, other files are left alone.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in POSTERS:
        path = folder / f"{name}.png"
        # moved into place, so that nobody sees half a picture
        draft = path.with_name(f".{name}.png.part")
        # a palette of 256 colours: a third of the bytes, and no eye can tell
        image = poster(name).quantize(256, dither=Image.Dither.NONE)
        image.save(draft, "PNG", optimize=True)
        draft.replace(path)
        paths.append(path)
    return paths


def main(arguments: list[str]) -> int:
    """``python -m vlmtutor.world.posters FOLDER``"""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("usage: python -m vlmtutor.world.posters FOLDER")
        return 2
    paths = draw_all(arguments[0])
    print(f"{len(paths)} pictures written to {arguments[0]}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
