"""What a shipped model must reach on scenes that no training saw."""

from __future__ import annotations

import json
from pathlib import Path

from ..memes import EmbeddingCache, match, read_captions
from ..memes.hubs import CORRECTION
from ..models.catalog import shipped

IMAGES = Path(__file__).parents[2] / "images"

# Means over three seeds of test scenes; counts of the pictures in images/.
STICKERCLIP = {
    "top1_sticker": 0.99,
    "image_to_text_r1": 0.99,
    "text_to_image_r1": 0.99,
    "crop_box_base": 0.97,
    "crop_box_novel": 0.97,
    "local_of_two": 0.98,
    "local_of_all": 0.95,
    "miou_scene": 0.45,
    "meme_r5": 0.62,
    "meme_r5_hinted": 0.33,
    "own_line": 23,
    "own_line_corrected": 26,
}
MANY = 2_000_000  # pairs, from which on the floors are the high ones
PAIRS = ("top1_sticker", "image_to_text_r1", "text_to_image_r1")


def folder_of(model: str | None) -> Path | None:
    """The folder of a model that is shipped or given as one."""
    known = shipped(model or "StickerCLIP")
    folder = known[1] if known else Path(model)
    return folder if folder.is_dir() else None


def floors_of(name: str, pairs: int | None = None) -> dict[str, float]:
    """The floors of a shipped model, by figure; none for another's.

    ``pairs`` is how many PairCLIP or PhraseCLIP were trained with, if known.
    """
    if name.lower() == "stickerclip":
        return STICKERCLIP
    if name.lower() in ("pairclip", "phraseclip"):
        return dict.fromkeys(PAIRS, 0.6 if pairs and pairs < MANY else 0.85)
    return {}


def own_lines(clip) -> dict[str, dict[str, bool]]:
    """Which pictures of ``images/`` get a line that was written for them.

    {figure: {picture: whether}}, by plain cosine and corrected for hubs.
    """
    truth = json.loads((IMAGES / "truth.json").read_text(encoding="utf-8"))
    captions = read_captions(IMAGES / "captions.txt")
    paths, cache = [IMAGES / f"{name}.png" for name in truth], EmbeddingCache()
    found = {}
    for figure, correction in (
        ("own_line", None),
        ("own_line_corrected", CORRECTION),
    ):
        matches = match(paths, captions, clip, correction=correction, cache=cache)
        chosen = [captions[j] for j in matches.chosen]
        found[figure] = {
            name: line in own
            for (name, own), line in zip(truth.items(), chosen, strict=True)
        }
    return found


def rows(
    figures: dict[str, dict], pictures: dict[str, dict], floors: dict[str, float]
) -> list[list[str | None]]:
    """Figure, mean, smallest, largest, floor and whether it holds."""

    def judged(value: float, floor: float | None, shown) -> list[str | None]:
        if floor is None:
            return [None, None]
        return [shown(floor), "yes" if value >= floor else "NO"]

    table = [
        [
            name,
            *(_percent(value) for value in own.values()),
            *judged(own["mean"], floors.get(name), _percent),
        ]
        for name, own in figures.items()
    ]
    for name, own in pictures.items():

        def counted(n: float, all_: int = len(own)) -> str:
            return f"{n} of {all_}"

        n = sum(own.values())
        table.append(
            [name, counted(n), None, None, *judged(n, floors.get(name), counted)]
        )
    return table


def missed(pictures: dict[str, dict[str, bool]]) -> list[str]:
    """A line a figure: the pictures that get another's line."""
    return [
        f"{figure}: not {', '.join(k for k, own in found.items() if not own)}"
        for figure, found in pictures.items()
        if not all(found.values())
    ]


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"
