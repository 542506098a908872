"""What a detector's answers are worth: boxes, matched picture by picture.

Average precision is no mean over pictures, so it is computed again for each
resample; what is matched with what in a picture does not depend on others,
and is done once, by pycocotools.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...metrics import coco_evaluation
from .score import halves, plain, weighted

OVERLAPS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)  # where COCO reads the precision
HALF, THREE_QUARTERS = 0, 5  # places in OVERLAPS


@dataclass(frozen=True)
class Matches:
    """The D boxes of one class in all pictures, the surest first.

    ``picture`` [D]; ``rank`` [D]: how many surer ones of the class its
    picture has; ``hit`` bool [D, 10]: whether it finds a true box, at each of
    :data:`OVERLAPS`; ``tie`` [D] numbers runs of one score in one picture.
    """

    picture: np.ndarray
    rank: np.ndarray
    hit: np.ndarray
    tie: np.ndarray

    def order(self, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Boxes in COCO's order when a picture may occur ``most`` times.

        Row numbers, and the copy of the picture that each belongs to: -1
        stands for all copies.  Only boxes that tie within their picture are
        told apart by copy, since those of the first come before the second's.
        """
        tied = np.bincount(self.tie)[self.tie] > 1
        times = np.where(tied, most, 1)
        rows = np.repeat(np.arange(len(tied)), times)
        copies = np.arange(len(rows)) - np.repeat(np.cumsum(times) - times, times)
        copies[~tied[rows]] = -1
        order = np.lexsort((rows, copies, self.tie[rows]))
        return rows[order], copies[order]

    def precision(
        self, truths: np.ndarray, weights: np.ndarray, overlap: int
    ) -> np.ndarray:
        """Average precision [R]; NaN without a true box.

        ``truths`` [N] counts those of each picture, ``weights`` [R, N] tells
        how often a picture occurs, a whole number.
        """
        wanted = weights @ truths
        rows, copies = self.order(int(weights.max()))
        times = weights[:, self.picture[rows]]  # [R, D]
        times = np.where(copies < 0, times, times > copies)
        hits = (times * self.hit[rows, overlap]).cumsum(1)
        precision = hits / (times.cumsum(1) + np.spacing(1))
        best = np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]
        recall = hits / np.maximum(wanted, 1)[:, None]
        # each of COCO's recalls reads the first box by which it is reached
        reached = np.searchsorted(RECALLS, recall, side="right")
        read = np.diff(reached, axis=1, prepend=0)
        return np.where(wanted > 0, (read * best).sum(1) / len(RECALLS), np.nan)


@dataclass(frozen=True)
class Boxes:
    """Scored boxes of N pictures beside the true ones.

    ``matches``: those of each class; ``truths`` [N, C]: how many there are.
    The first ``base`` classes had boxes in training.  As COCO has it, a class
    without a true box does not count.
    """

    matches: tuple[Matches, ...]
    truths: np.ndarray
    base: int
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.truths)

    def average_precision(self, weights: np.ndarray, overlap: int) -> np.ndarray:
        """Of each class, at one of :data:`OVERLAPS`: [R, C]."""
        columns = zip(self.matches, self.truths.T, strict=True)
        found = [m.precision(truths, weights, overlap) for m, truths in columns]
        return np.stack(found, 1)

    def average_recall(self, weights: np.ndarray, most: int) -> np.ndarray:
        """Of each class, by the ``most`` surest of a picture: [R, C]."""
        found = np.zeros((*self.truths.shape, len(OVERLAPS)))  # [N, C, 10]
        for c, m in enumerate(self.matches):
            shown = m.rank < most
            np.add.at(found[:, c], m.picture[shown], m.hit[shown])
        wanted = weights @ self.truths
        recall = weighted(found, weights).mean(-1) / np.maximum(wanted, 1)
        return np.where(wanted > 0, recall, np.nan)

    def scores(self, weights: np.ndarray | None = None) -> dict:
        """All scores, from 0 to 1: floats, or [R] each for weights [R, N].

        S, U, h and ``all`` are of AP50; ``AP75_U`` that of novel classes at
        an overlap of .75, ``AR10_U`` and ``AR100_U`` their recall by 10 or
        100 boxes of each class, mean of all overlaps.
        """
        whole = weights is None
        weights = np.ones((1, len(self))) if whole else weights
        found = halves(self.average_precision(weights, HALF), self.base)
        further = {
            "AP75_U": self.average_precision(weights, THREE_QUARTERS),
            "AR10_U": self.average_recall(weights, 10),
            "AR100_U": self.average_recall(weights, 100),
        }
        found |= {k: halves(v, self.base)["U"] for k, v in further.items()}
        return plain({k: v[0] for k, v in found.items()} if whole else found)


def judge_boxes(
    found: Sequence[dict],
    truths: Sequence[dict],
    base: int,
    names: Sequence[str],
    masks: bool = False,
) -> Boxes:
    """Match boxes, or their ``masks``, with the truth, picture by picture.

    Dicts as :func:`vlmtutor.metrics.coco_evaluation` takes them, labels
    being places in ``names``.
    """
    C, N = len(names), len(truths)
    counts = np.zeros((N, C))
    for n, truth in enumerate(truths):
        np.add.at(counts[n], np.asarray(truth["labels"], int), 1)
    scoring = coco_evaluation(found, truths, range(C), masks)
    rows = np.array(scoring.evalImgs, dtype=object).reshape(C, N)
    return Boxes(tuple(_matches(row) for row in rows), counts, base, tuple(names))


def _matches(pictures: Sequence[dict | None]) -> Matches:
    """pycocotools' matches of one class, of all pictures together."""
    some = [(n, p) for n, p in enumerate(pictures) if p and p["dtScores"]]
    if not some:
        none = np.zeros(0, int)
        return Matches(none, none, np.zeros((0, len(OVERLAPS)), bool), none)
    picture = np.concatenate([[n] * len(p["dtScores"]) for n, p in some])
    score = np.concatenate([p["dtScores"] for _, p in some])
    rank = np.concatenate([np.arange(len(p["dtScores"])) for _, p in some])
    hit = np.concatenate([p["dtMatches"].T > 0 for _, p in some])
    order = np.lexsort((rank, picture, -score))
    picture, score = picture[order], score[order]
    new = (np.diff(picture) != 0) | (np.diff(score) != 0)
    return Matches(picture, rank[order], hit[order], np.r_[0, new.cumsum()])
