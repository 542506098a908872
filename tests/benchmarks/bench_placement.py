"""How much of the joke the words hide: style "auto" against "classic".

    python tests/benchmarks/bench_placement.py

Each picture of ``images/`` gets the caption that the model chooses. Its
stickers are drawn again, so that it is known which pixels they show; counted
is the share of them under the letters, for

- the thing pointed at: the sticker on which the heat map of the caption is
  highest on average;
- the things named: those whose word is in the caption, their mean; the
  largest where none is;
- the largest sticker, and the one that suffers most, for comparison.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import mean

import numpy as np
from PIL import Image

import vlmtutor as vt
from vlmtutor.memes import explain, match, place_caption, read_captions
from vlmtutor.memes.layout import outlined
from vlmtutor.memes.placement import PLACES
from vlmtutor.world import find_category, posters

IMAGES = Path(__file__).parents[2] / "images"
MEASURES = ("pointed at", "named", "largest", "worst")
THIRD = 1 / 3
MOST_BELOW = 7


def letters(text: str, style: str) -> np.ndarray:
    """Which pixels of a poster are under letters: [H, W]."""
    under = np.zeros((posters.SIZE, posters.SIZE), bool)
    if style in PLACES:  # else on a bar, beside the picture
        for ink, (left, top) in outlined((posters.SIZE,) * 2, text, style):
            alpha = np.asarray(ink.getchannel("A")) > 127
            height, width = alpha.shape
            under[top : top + height, left : left + width] |= alpha
    return under


def is_named(sticker: str, text: str) -> bool:
    words = [sticker, sticker.split()[-1], *find_category(sticker).synonyms]
    return any(word.lower() in text.lower() for word in words)


def hidden(row, masks, heat, text: str, style: str) -> dict[str, float]:
    """The measures of one picture in one style."""
    under = letters(text, style)
    shares = [float((under & mask).sum() / mask.sum()) for mask in masks]
    size = (posters.SIZE, posters.SIZE)
    smooth = np.asarray(Image.fromarray(heat).resize(size, Image.Resampling.BILINEAR))
    warmth = [smooth[mask].mean() for mask in masks]
    largest = shares[int(np.argmax([put.size for put in row.stickers]))]
    named = [
        share
        for put, share in zip(row.stickers, shares, strict=True)
        if is_named(put.name, text)
    ]
    of_all = (shares[int(np.argmax(warmth))], mean(named or [largest]), largest)
    return dict(zip(MEASURES, (*of_all, max(shares)), strict=True))


def main() -> int:
    """Print the table: 0 if "auto" hides at most a third of "classic"."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="a folder (default: StickerCLIP)")
    clip = vt.load_clip(parser.parse_args().model)
    paths = [IMAGES / f"{name}.png" for name in posters.POSTERS]
    matches = match(paths, read_captions(IMAGES / "captions.txt"), clip)
    found: dict[str, list] = {"classic": [], "auto": []}
    below = []
    for i, (name, row) in enumerate(posters.POSTERS.items()):
        picture, masks = posters.draw(row)
        text = matches.choice(i).caption
        heat = explain.explain(clip, picture, text).numpy()
        place = place_caption(clip, picture, text)
        for key, style in (("classic", "classic"), ("auto", place.style)):
            found[key].append(hidden(row, masks, heat, text, style))
        if place.style == "below":
            tried = [hidden(row, masks, heat, text, s)["worst"] for s in PLACES]
            below.append(min(tried))
        old, new = (f"{found[key][-1]['pointed at']:4.0%}" for key in found)
        print(f"{name:14}{old} → {new}  {place.reason()}")
    print(f"\n{'hidden of the thing':20}{'classic':>9}{'auto':>9}{'ratio':>9}")
    ratios = {}
    for measure in MEASURES:
        old, new = (mean(row[measure] for row in rows) for rows in found.values())
        ratios[measure] = new / old
        print(f"{measure:20}{old:9.1%}{new:9.1%}{new / old:9.2f}")
    print(f"below: {len(below)} of {len(paths)}; there the other places hide of the")
    print("sticker that suffers most at least", [f"{share:.0%}" for share in below])
    chosen = max(ratios["pointed at"], ratios["named"])
    good = chosen <= THIRD and len(below) <= MOST_BELOW
    print("[ok]" if good else "[FAIL] over a third of what it shows, or many bars")
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
