"""What a model answers, in batches that fit the memory."""

from __future__ import annotations

import torch
from torch import Tensor

from ..methods import Detector, Segmenter
from ..pictures import DensePictures

PIXELS = 40_000_000  # numbers of scores that are in memory at once
AT_ONCE = 32  # pictures, at most


@torch.no_grad()
def predict_both(
    segmenter: Segmenter,
    pictures: DensePictures,
    names: list[str],
    seen: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Labels [N, S, S] with background, and without: the best of the names.

    Both int16; the background is len(names).  Raises ValueError for scores
    of another shape, or with NaN in them.
    """
    pictures.prepare()
    size = pictures.images.shape[1]
    step = max(1, PIXELS // ((len(names) + 1) * size**2))
    labels, named = [], []
    for part in pictures.batches(min(step, AT_ONCE)):
        scores = segmenter.scores(part, names, seen)
        expected = (len(part), len(names) + 1, size, size)
        if tuple(scores.shape) != expected:
            raise ValueError(f"scores are {tuple(scores.shape)}, {expected=}")
        if scores.isnan().any():
            raise ValueError("scores have NaN in them")
        labels.append(scores.argmax(1).short())
        named.append(scores[:, :-1].argmax(1).short())
    return torch.cat(labels), torch.cat(named)


def predict(
    segmenter: Segmenter,
    pictures: DensePictures,
    names: list[str],
    seen: Tensor | None = None,
) -> Tensor:
    """Labels [N, S, S] int16; len(names) is the background."""
    return predict_both(segmenter, pictures, names, seen)[0]


@torch.no_grad()
def detect(
    detector: Detector,
    pictures: DensePictures,
    names: list[str],
    seen: Tensor | None = None,
) -> list[dict]:
    """The scored boxes of each picture: see :meth:`Detector.detect`.

    ``seen`` bool [len(names)].  Raises ValueError where pictures are missing.
    """
    pictures.prepare()
    found = []
    for part in pictures.batches(AT_ONCE):
        found += detector.detect(part, names, seen)
    if len(found) != len(pictures):
        raise ValueError(f"boxes of {len(found)} pictures, not {len(pictures)}")
    return found
