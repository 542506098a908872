"""Write a caption on a picture: outlined, wrapped, fitted, never outside."""

from __future__ import annotations

import warnings
from pathlib import Path

from PIL import Image

from ..models.pictures import as_seen, rgb_picture
from ..models.texts import as_texts
from .layout import drawn_text, ink_of, outlined
from .letters import choose_face, complaints, is_right_to_left
from .options import one_of

STYLES = ("classic", "top", "bottom", "above", "below", "auto")
SMALLEST_SIDE = 32  # pixels; on less nobody can read a word


class TooSmall(ValueError):
    """A picture on which nobody could read a caption."""


def render(
    image: Image.Image | str | Path,
    text: str,
    style: str = "classic",
    *,
    upper: bool = False,
    font: str | Path | None = None,
    clip=None,
) -> Image.Image:
    """A new RGB picture with the caption on it; ``image`` stays as it is.

    Styles: "classic" (white letters with a black outline; a long text is
    split between top and bottom), "top", "bottom" (the same, on one side),
    "above", "below" (black letters on a white bar that is added to the
    picture), "auto" (of top, bottom, both and below the one that hides least
    of what the words are about in the eyes of ``clip``, by default the model
    in the package). A line break or "|" in the text breaks the line, and divides
    top from bottom in the classic style. ``upper`` sets capitals; ``font``
    is a font file for scripts that the built-in ones and those of the system
    lack; warns of letters that none has.

    An empty text gives the picture back with its pixels unchanged. Raises
    ValueError for an unknown style, TooSmall for a picture under 32 pixels a
    side, TypeError for a text that is none, OSError for a font that is none
    and UnreadablePicture for a path of no picture.
    """
    one_of(STYLES, style, "style")
    picture = as_seen(image) if isinstance(image, Image.Image) else rgb_picture(image)
    (text,) = as_texts([text], "caption")
    for complaint in complaints(drawn_text(text, upper), font):
        warnings.warn(complaint, stacklevel=2)
    return draw(picture, text, style, upper=upper, font=font, clip=clip)


def draw(
    picture: Image.Image,
    text: str,
    style: str,
    *,
    upper: bool = False,
    font: str | Path | None = None,
    clip=None,
) -> Image.Image:
    """Like ``render``, into an RGB picture of one's own, without warnings."""
    words = drawn_text(text, upper)
    if not words:
        return picture
    if min(picture.size) < SMALLEST_SIDE:
        width, height = picture.size
        raise TooSmall(
            f"too small to write on: {width} x {height} pixels, "
            f"at least {SMALLEST_SIDE} a side are needed"
        )
    if style == "auto":
        style = _auto(clip, picture, text, upper=upper, font=font)
    if style in ("above", "below"):
        return _with_bar(picture, words, choose_face(words, font), style)
    for ink, at in outlined(picture.size, words, style, font):
        picture.paste(ink, at, ink)
    return picture


def _auto(clip, picture, text, **options) -> str:
    from .placement import place_caption  # with torch, which drawing needs not

    if clip is None:
        from ..models import load_clip

        clip = load_clip()
    return place_caption(clip, picture, text, **options).style


def _with_bar(picture, text, face, style) -> Image.Image:
    width, height = picture.size
    largest = max(8, round(min(width / 13, height / 6)))
    smallest = max(6, min(width, height) // 40)
    margin = max(2, largest // 3)
    box = (width - 2 * margin, max(round(0.5 * height), 2 * largest))
    backward = is_right_to_left(text)
    ink = ink_of(text, face, box, largest, smallest, backward, False)
    bar = ink.height + 2 * margin
    meme = Image.new("RGB", (width, height + bar), "white")
    meme.paste(picture, (0, bar if style == "above" else 0))
    top = margin if style == "above" else height + margin
    meme.paste(ink, ((width - ink.width) // 2, top), ink)
    return meme
