"""How transfer methods are compared: the share of pictures named rightly."""

from __future__ import annotations

from .base import Learner
from .tasks import Split


def accuracy(predictor: Learner, split: Split) -> float:
    """Share of pictures whose best class is right."""
    predicted = predictor(split.pictures).argmax(1)
    return float((predicted == split.labels).float().mean())


def first(split: Split, per_class: int | None) -> Split:
    """The first pictures of each class; all of them for None."""
    if per_class is None:
        return split
    seen: dict[int, int] = {}
    rows = []
    for row, label in enumerate(split.labels.tolist()):
        seen[label] = seen.get(label, 0) + 1
        if seen[label] <= per_class:
            rows.append(row)
    return Split(split.pictures[rows], split.labels[rows], split.classes)
