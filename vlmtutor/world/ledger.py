"""Who draws which scenes: the splits, and one ledger of seed ranges.

Anyone may look at a few scenes with :func:`seeds`.  Whoever trains or judges a
model that others meet draws with :func:`seeds_of` and has a line here, so that
no test scene is one that somebody trained on.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

# Seeds of the splits never meet: no test scene is ever seen in training.
SPLIT_STARTS = {"train": 0, "val": 10**9, "test": 2 * 10**9}
SPLIT_LENGTH = 10**9
M = 1_000_000


class Range(NamedTuple):
    """Places ``first`` to ``end`` of a split, ``stride`` of them a seed."""

    first: int
    end: int
    stride: int

    def meets(self, other: Range) -> bool:
        return self.first < other.end and other.first < self.end


def _rows(stride: int, train=None, held_out=None) -> dict[str, Range]:
    """{split: Range}; ``held_out`` is the same for validation and test."""
    spans = {"train": train, "val": held_out, "test": held_out}
    return {split: Range(*span, stride) for split, span in spans.items() if span}


LEDGER = {
    # StickerCLIP and PairCLIP: batches, then mosaics from the middle on
    "pretraining": _rows(200 * M, train=(0, 800 * M)),
    "evaluation": _rows(M, held_out=(0, 400 * M)),
    # notebooks 02 to 06, whose models start from nothing
    "lessons": _rows(M, train=(0, 10 * M), held_out=(0, 10 * M)),
    "dense bench": _rows(M, (800 * M, 900 * M), (400 * M, 500 * M)),
    "tasks": _rows(M, (900 * M, 950 * M), (500 * M, 550 * M)),
    "scene sets": _rows(M, (950 * M, 960 * M), (550 * M, 560 * M)),
    "why VLMs": _rows(M // 10, (950 * M, 951 * M), (550 * M, 551 * M)),
    "why VLMs, unlabeled": _rows(M // 10, train=(960 * M, 961 * M)),
    "student exam": _rows(M, held_out=(561 * M, 600 * M)),
    "student lessons": _rows(10 * M, train=(970 * M, 980 * M)),
}

# Ranges that do meet, and why that is allowed.
SHARED = {
    ("pretraining", "lessons"): "the lessons' models never meet the shipped ones",
    ("evaluation", "lessons"): "both only test there",
    ("scene sets", "why VLMs"): "a few seeds with other categories, so other "
    "pictures; to be moved when notebook 01 is run again",
}


def seeds(split: str, n: int, start: int = 0) -> range:
    """``n`` scene seeds of a split: "train", "val" or "test"."""
    if split not in SPLIT_STARTS:
        raise ValueError(f"unknown split {split!r}: use train, val or test")
    if n < 0 or start < 0 or start + n > SPLIT_LENGTH:
        raise ValueError(f"a split has {SPLIT_LENGTH} seeds")
    first = SPLIT_STARTS[split] + start
    return range(first, first + n)


def seeds_of(owner: str, split: str, n: int, seed: int = 0, offset: int = 0) -> range:
    """``n`` scene seeds out of those that ``owner`` has in a split.

    Each ``seed`` of a run has a stretch of its own, ``offset`` is a place in
    it.  Raises KeyError for who is not in the ledger, ValueError for what does
    not fit.
    """
    own = LEDGER[owner][split]
    start = own.first + seed * own.stride + offset
    fits = 0 <= offset and offset + n <= own.stride and seed >= 0
    if not fits or start + n > own.end:
        raise ValueError(f"{owner!r} has no {n} {split} scenes for seed {seed}")
    return seeds(split, n, start)


def meetings() -> set[tuple[str, str]]:
    """Pairs of owners whose ranges meet in some split."""
    return {
        (a, b)
        for a, b in itertools.combinations(LEDGER, 2)
        for split in LEDGER[a].keys() & LEDGER[b].keys()
        if LEDGER[a][split].meets(LEDGER[b][split])
    }


if meetings() != SHARED.keys():
    raise ValueError(f"seed ranges meet: {meetings() ^ SHARED.keys()}")
