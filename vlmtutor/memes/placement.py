"""Where on a picture a caption hides least of what its own words are about.

The heat map of :mod:`.explain` says which patches the cosine with the caption
comes from. The caption goes where its letters would lie on least of that.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from ..models.pictures import as_seen
from .explain import explain
from .layout import drawn_text, outlined

PLACES = {"top": "at the top", "bottom": "at the bottom", "classic": "at both ends"}
MOST = 0.2  # of the heat may be hidden; beyond it, a bar is added below

_SIDE = 512  # pixels: on larger pictures the lines break at the same words
_LEAST = 32  # pixels: less holds no letters
_SEEN = 4096  # pixels a side: more of a picture no model sees


class Placement(NamedTuple):
    """The style that was chosen, and what each place on the picture hides.

    ``hides``: style → share of the heat that lies under the text, 0 … 1.
    """

    style: str
    hides: dict[str, float]

    def reason(self) -> str:
        """Why there, in a sentence."""
        shares = {place: f"{100 * self.hides[p]:.0f} %" for p, place in PLACES.items()}
        if self.style not in PLACES:
            rest = ", ".join(f"{place} {share}" for place, share in shares.items())
            return f"on a bar below: the text would hide {rest} of the heat"
        place = PLACES[self.style]
        own = shares.pop(place)
        rest = ", ".join(f"{other} {share}" for other, share in shares.items())
        return f"{place}: the text hides {own} of the heat there, {rest}"


def can_place(clip) -> bool:
    """Whether a model's attention can be read: a SigLIP's cannot."""
    return hasattr(clip, "model") and not _is_siglip(clip)


def check_model(clip) -> None:
    """ValueError for a model whose attention cannot be read."""
    if can_place(clip):
        return
    name = getattr(clip, "name", type(clip).__name__)
    if _is_siglip(clip):
        raise ValueError(f"style 'auto' has to ask a CLIP; {name} is a SigLIP")
    raise ValueError(f"style 'auto' has to look into a model, not into {name}")


def _is_siglip(clip) -> bool:
    return getattr(clip, "logit_bias", None) is not None


def place_caption(
    clip,
    image: Image.Image,
    text: str,
    *,
    upper: bool = False,
    font: str | Path | None = None,
) -> Placement:
    """Choose a style of ``render`` by the heat map of the text's own words.

    Of "top", "bottom" and "classic" (both) the one whose lines of text cover
    the least heat; "below" where each covers more than a fifth of it. A
    patch counts with the square root of its heat, so that what is about as
    warm as the brightest counts about as much. The model sees the whole
    picture, with grey at the sides of a long one. Raises ValueError for a
    text without letters, and what :func:`check_model` does.
    """
    check_model(clip)
    picture = as_seen(image)
    side = min(max(picture.size), _SEEN)  # of a panorama it would fill the memory
    square = ImageOps.pad(picture, (side, side), color=(128, 128, 128))
    heat = explain(clip, square, text).numpy()  # [h, w]
    scale = min(1.0, _SIDE / max(picture.size))
    width, height = (
        max(min(length, _LEAST), round(scale * length)) for length in picture.size
    )
    weights = _warmth(heat, width, height)  # [H, W]
    words = drawn_text(text, upper)
    hides = {}
    for style in PLACES:
        covered = np.zeros((height, width), bool)
        for ink, (left, top) in outlined((width, height), words, style, font):
            covered[top : top + ink.height, left : left + ink.width] = True
        hides[style] = float(weights[covered].sum())
    best = min(PLACES, key=lambda style: hides[style])
    return Placement(best if hides[best] <= MOST else "below", hides)


def _warmth(heat: np.ndarray, width: int, height: int) -> np.ndarray:
    """The root of a square's heat over the picture in its middle: sum 1."""
    side = max(width, height)
    smooth = Image.fromarray(heat).resize((side, side), Image.Resampling.BILINEAR)
    left, top = (side - width) // 2, (side - height) // 2
    part = np.asarray(smooth.crop((left, top, left + width, top + height)))
    roots = np.sqrt(part.clip(0, 1))
    return roots / max(float(roots.sum()), 1e-12)
