"""Boxes (x0, y0, x1, y1) in pixels: overlap, shifts and repetitions."""

from __future__ import annotations

import torch
from torch import Tensor

LONGEST = 4.0  # no side is drawn out by more than e to this power


def content(boxes: Tensor) -> bytes:
    """What tells boxes [..., 4] from all others: a key for what is made of them."""
    return boxes.numpy().tobytes()


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)


def _overlap(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Intersection and union of boxes that broadcast: [..., 4] → [...]."""
    low, high = torch.maximum(a, b)[..., :2], torch.minimum(a, b)[..., 2:]
    shared = (high - low).clamp(min=0).prod(-1)
    return shared, _area(a) + _area(b) - shared


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of boxes that broadcast: [..., 4] → [...]."""
    shared, union = _overlap(a, b)
    return shared / union.clamp(min=1e-6)


def pairwise_iou(a: Tensor, b: Tensor) -> Tensor:
    """Each of [..., n, 4] with each of [..., m, 4]: [..., n, m]."""
    return iou(a[..., :, None, :], b[..., None, :, :])


def giou(a: Tensor, b: Tensor) -> Tensor:
    """Generalised IoU, -1 to 1: [..., 4] → [...].

    IoU less the share of the hull that neither box covers, so that boxes
    apart know the way to each other.  Rezatofighi et al. 2019, arXiv
    1902.09630.
    """
    shared, union = _overlap(a, b)
    low, high = torch.minimum(a, b)[..., :2], torch.maximum(a, b)[..., 2:]
    hull = (high - low).prod(-1).clamp(min=1e-6)
    return shared / union.clamp(min=1e-6) - (hull - union) / hull


def _centers(boxes: Tensor) -> tuple[Tensor, Tensor]:
    sides = (boxes[..., 2:] - boxes[..., :2]).clamp(min=1e-3)
    return boxes[..., :2] + sides / 2, sides


def shift_to(boxes: Tensor, goals: Tensor) -> Tensor:
    """What moves and stretches boxes to goals: [..., 4] → [..., 4].

    Shares of the box's sides, then logarithms of their ratios (R-CNN:
    Girshick et al. 2013, arXiv 1311.2524).
    """
    center, sides = _centers(boxes)
    goal, goal_sides = _centers(goals)
    return torch.cat([(goal - center) / sides, (goal_sides / sides).log()], -1)


def shifted(boxes: Tensor, shifts: Tensor, size: int) -> Tensor:
    """The boxes [..., 4] after :func:`shift_to`'s shifts, inside the picture."""
    center, sides = _centers(boxes)
    center = center + shifts[..., :2] * sides
    sides = sides * shifts[..., 2:].clamp(max=LONGEST).exp()
    return torch.cat([center - sides / 2, center + sides / 2], -1).clamp(0, size)


def without_repeats(scores: Tensor, overlaps: Tensor, most: float) -> Tensor:
    """Greedy non-maximum suppression: scores [..., K], 0 for repetitions.

    ``overlaps`` [..., K, K], or what broadcasts to it: a box that overlaps a
    surer one that stays by more than ``most`` goes.
    """
    order = torch.argsort(scores, dim=-1, descending=True, stable=True)
    kept = scores > 0
    place = order.argsort(-1)
    overlaps = overlaps.expand(*scores.shape, scores.shape[-1])
    for k in range(scores.shape[-1]):
        own = order[..., k : k + 1]  # [..., 1]
        row = overlaps.gather(-2, own[..., None].expand_as(overlaps[..., :1, :]))
        worse = (row[..., 0, :] > most) & (place > k)
        kept = kept & ~(worse & kept.gather(-1, own))
    return scores * kept


def padded(boxes: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Boxes of N pictures as [N, R, 4], and which exist: bool [N, R]."""
    most = max([len(own) for own in boxes] + [1])
    table = torch.zeros(len(boxes), most, 4)
    for row, own in zip(table, boxes, strict=True):
        row[: len(own)] = own
    counts = torch.tensor([len(own) for own in boxes])
    return table, torch.arange(most) < counts[:, None]
