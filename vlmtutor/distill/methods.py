"""What a method says of itself, and what it gives back.

A method is a module of :mod:`vlmtutor.distill.segmentation` with

``ROWS``
    a tuple of :class:`Info`, one for each row of the tables that it fills;
``fit(clip, data, seed=0, *, names=(), novel=(), **settings)``
    a :class:`Segmenter`.  ``data`` is what the row's ``needs`` asks for (a
    tuple where it asks for several); ``names`` are the class names that it
    may know while training and ``novel`` those of them without masks: ()
    for inductive methods, which meet novel names only when predicting;
``checks(bench, seed)``
    a list of :class:`Check`: what the paper says, measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from .supervision import DensePictures, batched

TABLES = {
    "free": "annotation-free and weak",
    "inductive": "inductive: base masks, novel names unknown while training",
    "transductive": "transductive: base masks, novel names known",
}
PIXELS = 40_000_000  # numbers of scores that are in memory at once


@dataclass(frozen=True)
class Info:
    """One row: a method in one setting.

    ``needs`` is the type of data that it is handed (or a tuple of types),
    ``settings`` what ``fit`` is called with for this row, ``knobs`` a grid
    (name → values) to be chosen on pseudo-novel classes of validation scenes.
    Knobs named in ``reading`` only matter when predicting and are fields of
    the segmenter, a dataclass: it is not fitted again for them.  ``labels``
    tells if the row uses image labels of the test pictures ("no",
    "predicted", or "oracle": then the pictures have ``tags`` bool [N, C]),
    ``split`` if it must know which test names are novel.
    """

    name: str
    paper: str
    year: int
    arxiv: str
    table: str
    needs: type | tuple[type, ...]
    frozen: str
    tuned: str
    simplified: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    knobs: Mapping[str, tuple] = field(default_factory=dict)
    reading: tuple[str, ...] = ()
    labels: str = "no"
    split: bool = False

    def __post_init__(self):
        if self.table not in TABLES:
            raise ValueError(f"{self.table!r} is none of {list(TABLES)}")


@runtime_checkable
class Segmenter(Protocol):
    """What ``fit`` returns.  ``trained`` counts the trained parameters."""

    trained: int

    def scores(
        self, pictures: DensePictures, names: list[str], seen: Tensor | None = None
    ) -> Tensor:
        """[N, len(names) + 1, S, S], the last is the background.

        ``seen`` bool [len(names)] marks names that had masks in training.
        """
        ...


@dataclass(frozen=True)
class Check:
    """A claim of a paper: ``better`` scores above ``worse``.

    Both are Results of the same pictures, compared by ``score`` ("S", "U",
    "h", "naming", "background", "all"), or tensors [n] of one value a
    picture.  With ``at_least`` a point less is still as good.
    """

    sentence: str
    better: Any
    worse: Any
    at_least: bool = False
    score: str = "h"


@torch.no_grad()
def predict_both(
    segmenter: Segmenter,
    pictures: DensePictures,
    names: list[str],
    seen: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Labels [N, S, S] with background, and without: the best of the names.

    Both int16; the background is len(names).
    """
    pictures.prepare()
    size = pictures.images.shape[1]
    step = max(1, PIXELS // ((len(names) + 1) * size**2))
    labels, named = [], []
    for rows in batched(len(pictures), min(step, 32)):
        scores = segmenter.scores(pictures[rows], names, seen)
        expected = (rows.stop - rows.start, len(names) + 1, size, size)
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
