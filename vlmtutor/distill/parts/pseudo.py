"""Boxes that nobody drew: what a method takes for the truth, in one format.

Their quality is read beside the truth of the pictures that they were made in,
which no method sees: how many are right, how many things have one, how well
they fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...world.layout import BIG, SMALL
from ..pictures import DensePictures
from ..supervision import Boxed
from .boxes import pairwise_iou

SIZES = ("small", "middling", "big")  # as the world's sentences have it
HIT = 0.5  # overlap from which on a label is right


@dataclass(frozen=True)
class Quality:
    """Labels and things of N pictures, counted by size: each [N, 3].

    ``labels`` made and ``hits`` among them, by the size of the label; what
    hits overlap their things by, in sum, ``overlap``; ``things`` there are
    and ``found`` ones, by their own size.
    """

    labels: np.ndarray
    hits: np.ndarray
    overlap: np.ndarray
    things: np.ndarray
    found: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def scores(self, weights: np.ndarray | None = None) -> dict:
        """Precision, recall and IoU: floats, or [R] each for weights [R, N].

        Shares of labels that are right and of things that have one, and the
        mean overlap of right ones; of all sizes, and of each.  Of nothing a
        share is 0.
        """
        whole = weights is None
        weights = np.ones((1, len(self))) if whole else weights
        sums = {name: weights @ counts for name, counts in vars(self).items()}
        shares = {
            "precision": ("hits", "labels"),
            "recall": ("found", "things"),
            "iou": ("overlap", "hits"),
        }
        scores = {}
        for name, (some, of) in shares.items():
            parts = sums[some], sums[of]
            scores[name] = _share(*(part.sum(1) for part in parts))
            for k, size in enumerate(SIZES):
                scores[f"{name} {size}"] = _share(*(part[:, k] for part in parts))
        return {k: float(v[0]) for k, v in scores.items()} if whole else scores


def _share(some: np.ndarray, of: np.ndarray) -> np.ndarray:
    return np.where(of > 0, some / np.maximum(of, 1e-12), 0.0)


@dataclass(frozen=True)
class Pseudo:
    """R boxes in some of N pictures, each with a name.

    ``picture`` [R]; ``boxes`` [R, 4] in pixels; ``labels`` [R], places in
    ``names``; ``scores`` [R], how sure each is; ``masks`` bool [R, S, S], or
    None.
    """

    pictures: DensePictures
    names: list[str]
    picture: Tensor
    boxes: Tensor
    labels: Tensor
    scores: Tensor
    masks: Tensor | None = None

    def __len__(self) -> int:
        return len(self.picture)

    def __getitem__(self, rows) -> Pseudo:
        own = (self.picture, self.boxes, self.labels, self.scores, self.masks)
        some = (None if value is None else value[rows] for value in own)
        return Pseudo(self.pictures, self.names, *some)

    def by_picture(self) -> list[dict]:
        """A dict a picture, as a detector's answer: boxes, labels, scores."""
        found = []
        for k in range(len(self.pictures)):
            own = self[self.picture == k]
            found.append(
                {"boxes": own.boxes, "labels": own.labels, "scores": own.scores}
            )
        return found

    def beside(self, truth: Boxed | None = None) -> tuple[Boxed, Tensor]:
        """Data to learn from: ``truth`` of the same pictures, and these boxes.

        The names are those of the truth, then the further ones of these.  Of
        each box, counted one by one, how much it weighs [...]: 1 where it is
        of the truth, else its score.
        """
        names = [] if truth is None else list(truth.names)
        names += [name for name in self.names if name not in names]
        place = torch.tensor([names.index(name) for name in self.names])
        boxes, labels, weights = [], [], []
        for k in range(len(self.pictures)):
            own = self[self.picture == k]
            parts = [(own.boxes, place[own.labels], own.scores)]
            if truth is not None:
                true = truth.boxes[k], truth.labels[k], torch.ones(len(truth.boxes[k]))
                parts.insert(0, true)
            some = (torch.cat(part) for part in zip(*parts, strict=True))
            for table, values in zip((boxes, labels, weights), some, strict=True):
                table.append(values)
        return Boxed(self.pictures, boxes, labels, names), torch.cat(weights)

    def right(self, truth: Sequence[dict]) -> Tensor:
        """Whether each box overlaps a thing of its name by half: bool [R].

        ``truth`` as in :meth:`quality`; several may overlap the same thing.
        """
        found = torch.zeros(len(self), dtype=torch.bool)
        for k in self.picture.unique().tolist():
            things = torch.as_tensor(truth[k]["boxes"]).reshape(-1, 4).float()
            kinds = torch.as_tensor(truth[k]["labels"]).long().reshape(-1)
            rows = (self.picture == k).nonzero()[:, 0]
            overlaps = pairwise_iou(self.boxes[rows], things)
            alike = self.labels[rows][:, None] == kinds
            found[rows] = ((overlaps >= HIT) & alike).any(1)
        return found

    def quality(
        self, truth: Sequence[dict], among: Sequence[str] | None = None
    ) -> Quality:
        """Beside the truth: a dict a picture, "boxes" [n, 4] and "labels" [n].

        Labels are places in ``names``; only those of ``among`` count, all by
        default.  The surest label of a thing is right if it has its name and
        overlaps it by half; a second one of the same thing is not.
        """
        among = self.names if among is None else among
        counted = torch.tensor([name in among for name in self.names])
        counts = {
            name: np.zeros((len(truth), len(SIZES)))
            for name in ("labels", "hits", "overlap", "things", "found")
        }
        side = self.pictures.images.shape[1]
        for k, true in enumerate(truth):
            things = torch.as_tensor(true["boxes"]).reshape(-1, 4).float()
            kinds = torch.as_tensor(true["labels"]).long().reshape(-1)
            things, kinds = things[counted[kinds]], kinds[counted[kinds]]
            own = self[self.picture == k]
            own = own[counted[own.labels]]
            hit, thing, overlap = _matched(own, things, kinds)
            sizes, true_sizes = size_of(own.boxes, side), size_of(things, side)
            for name, values, weight in (
                ("labels", sizes, None),
                ("hits", sizes[hit], None),
                ("overlap", sizes[hit], overlap[hit]),
                ("things", true_sizes, None),
                ("found", true_sizes[thing[hit]], None),
            ):
                added = torch.bincount(values, weight, minlength=len(SIZES))
                counts[name][k] = added.numpy()
        return Quality(**counts)


def size_of(boxes: Tensor, side: int) -> Tensor:
    """Places in :data:`SIZES` of boxes [R, 4] in pictures of ``side`` px: [R]."""
    longest = (boxes[:, 2:] - boxes[:, :2]).amax(1) / side
    return (longest >= SMALL).long() + (longest > BIG).long()


def _matched(own: Pseudo, things: Tensor, kinds: Tensor) -> tuple[Tensor, ...]:
    """Whether labels hit a thing, which one, and their overlap: three of [R]."""
    hit = torch.zeros(len(own), dtype=torch.bool)
    thing = torch.zeros(len(own), dtype=torch.long)
    if not len(things) or not len(own):
        return hit, thing, torch.zeros(len(own))
    overlaps = pairwise_iou(own.boxes, things)
    overlaps = overlaps * (own.labels[:, None] == kinds)
    overlap = torch.zeros(len(own))
    for row in own.scores.argsort(descending=True, stable=True).tolist():
        overlap[row], thing[row] = overlaps[row].max(0)
        if overlap[row] >= HIT:
            hit[row] = True
            overlaps[:, thing[row]] = 0
    return hit, thing, overlap
