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

RESAMPLES = 1000
MARGIN = 0.01  # what "at least as good" may lose


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


def pool(results: Sequence[Result]) -> Result:
    """The pictures of several results as one, say of several seeds.

    Raises ValueError where their names differ.
    """
    first = results[0]
    if any(r.names != first.names for r in results):
        raise ValueError("results of different names do not mix")
    named = [r.named for r in results]
    return Result(
        np.concatenate([r.counts for r in results]),
        first.base,
        first.names,
        None if any(n is None for n in named) else np.concatenate(named),
    )


@dataclass(frozen=True)
class Difference:
    """``value`` = a - b; ``low`` and ``high``: 5th, 95th percentile."""

    value: float
    low: float
    high: float

    def verdict(self, at_least: bool = False) -> str:
        """ "reproduced", "not reproduced" or "inconclusive"."""
        bar = -MARGIN if at_least else 0.0
        if self.low > bar:
            return "reproduced"
        return "not reproduced" if self.high < bar else "inconclusive"


def bootstrap_difference(
    a, b, score: str = "h", seed: int = 0, resamples: int = RESAMPLES
) -> Difference:
    """How much better ``a`` is than ``b``, on the same pictures.

    Results, compared by ``score``; or one value a picture [n] each, compared
    by their means.  The pictures are drawn again with replacement, the same
    for both.  Raises ValueError where they are not equally many.
    """
    n = len(a)
    if len(b) != n or n == 0:
        raise ValueError(f"{n} and {len(b)} pictures cannot be compared")
    rng = np.random.default_rng(seed)
    picks = rng.multinomial(n, np.full(n, 1 / n), size=resamples)
    whole = np.ones((1, n))

    def values(x, picks):
        if isinstance(x, Result):
            return x.scores(picks.astype(float))[score]
        return picks @ np.asarray(x, float).reshape(n) / n

    differences = values(a, picks) - values(b, picks)
    low, high = np.percentile(differences, [5, 95])
    value = (values(a, whole) - values(b, whole)).item()
    return Difference(float(value), float(low), float(high))
