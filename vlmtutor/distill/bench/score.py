"""What a model's answers are worth: label maps, counted picture by picture.

A result knows its figures for any weights of the pictures, so that they can be
drawn again (:func:`vlmtutor.verdict.resample`): ``len(result)`` pictures,
``result.scores(weights)``.  :mod:`.boxes` has the other kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...metrics import confusion, iou_per_class
from ..supervision import IGNORE


@dataclass(frozen=True)
class Result:
    """Pixel counts of N pictures, true class by predicted class.

    ``counts`` [N, C + 1, C + 1]: the first ``base`` classes had masks in
    training, the last is the background.  ``named`` [N, C, C] counts pixels
    of stickers only, when the background was no possible answer.
    """

    counts: np.ndarray
    base: int
    names: tuple[str, ...]
    named: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.counts)

    def scores(self, weights: np.ndarray | None = None) -> dict:
        """All scores, from 0 to 1: floats, or [R] each for weights [R, N].

        S and U are the mean IoU of base and of novel classes that occur
        (:func:`vlmtutor.metrics.iou_per_class`), h their harmonic mean,
        ``all`` the mean IoU of all names; ``background`` and ``foreground``
        the IoU of what is no sticker and of what is one, whatever its name.
        ``naming`` is the mean IoU on stickers' pixels where the background is
        no possible answer.  ``accuracy``: the share of right pixels.
        """
        counts = weighted(self.counts, weights)
        ious = iou_per_class(counts)  # [..., C + 1]
        found = halves(ious[..., :-1], self.base)
        found["background"] = np.nan_to_num(ious[..., -1])
        two, ends = counts, [0, counts.shape[-1] - 1]
        for axis in (-1, -2):  # all names as one: [..., 2, 2]
            two = np.add.reduceat(two, ends, axis)
        found["foreground"] = iou_per_class(two, absent=0.0)[..., 0]
        if self.named is not None:
            naming = halves(iou_per_class(weighted(self.named, weights)), self.base)
            found["naming"] = naming["all"]
            found |= {f"naming {half}": naming[half] for half in "SU"}
        right = np.trace(counts, axis1=-2, axis2=-1)
        found["accuracy"] = right / np.maximum(counts.sum((-1, -2)), 1)
        return plain(found)


def judge(
    labels: Tensor,
    truth: Tensor,
    base: int,
    names: Sequence[str],
    named: Tensor | None = None,
) -> Result:
    """Count label maps [N, S, S] against the truth, picture by picture."""
    C = len(names)
    counts = np.stack(
        [confusion(p, t, C + 1, IGNORE) for p, t in zip(labels, truth, strict=True)]
    )
    of_names = None
    if named is not None:
        only = torch.where(truth < C, truth, IGNORE)
        of_names = np.stack(
            [confusion(p, t, C, IGNORE) for p, t in zip(named, only, strict=True)]
        )
    return Result(counts, base, tuple(names), of_names)


def weighted(values: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """The sum over pictures [N, …], each as often as it weighs: [R, …].

    Without ``weights`` [R, N] each counts once, and there is no R.
    """
    if weights is None:
        return values.sum(0)
    flat = weights @ values.reshape(len(values), -1)
    return flat.reshape(len(weights), *values.shape[1:])


def halves(values: np.ndarray, base: int) -> dict[str, np.ndarray]:
    """Means of [..., C] over base and novel classes, their harmonic, and all.

    NaN is left out; a half of nothing is 0.
    """
    S, U = _mean(values[..., :base]), _mean(values[..., base:])
    h = np.where(S + U > 0, 2 * S * U / np.maximum(S + U, 1e-12), 0.0)
    return {"S": S, "U": U, "h": h, "all": _mean(values)}


def _mean(x: np.ndarray) -> np.ndarray:
    some = ~np.isnan(x)
    return np.where(some, x, 0).sum(-1) / np.maximum(some.sum(-1), 1)


def plain(scores: dict[str, np.ndarray]) -> dict:
    """Single figures as floats."""
    return {k: v if np.ndim(v) else float(v) for k, v in scores.items()}
