"""One confusion matrix a picture: scores, and how sure they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...metrics import confusion, harmonic_mean
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

    def iou(self) -> np.ndarray:
        """Per class [C + 1], all pictures pooled; NaN without true pixels."""
        return _iou(*_parts(self.counts.sum(0)))

    def scores(self) -> dict[str, float]:
        """All scores, from 0 to 1.

        S and U are the mean IoU of base and of novel classes that occur,
        h their harmonic mean, ``all`` the mean IoU of all names;
        ``background`` and ``foreground`` the IoU of what is no sticker and
        of what is one, whatever its name.  ``naming`` is the mean IoU on
        stickers' pixels where the background is no possible answer.
        ``accuracy``: the share of right pixels.
        """
        total = self.counts.sum(0)
        found = {k: float(v) for k, v in _scores(self, None).items()}
        found["accuracy"] = float(np.trace(total) / max(total.sum(), 1))
        return found


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


def _parts(counts: np.ndarray) -> tuple[np.ndarray, ...]:
    """Hits, true pixels and predicted pixels per class: [..., C] each."""
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    return hits, counts.sum(-1), counts.sum(-2)


def _iou(hits, true, predicted) -> np.ndarray:
    union = true + predicted - hits
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(true > 0, hits / np.maximum(union, 1), np.nan)


def _stickers(counts: np.ndarray) -> np.ndarray:
    """All names as one: [N, C + 1, C + 1] → [N, 2, 2]."""
    split = [0, counts.shape[-1] - 1]
    return np.add.reduceat(np.add.reduceat(counts, split, 1), split, 2)


def _mean(x: np.ndarray) -> np.ndarray:
    """Mean over the last axis without NaN; 0 if there is nothing."""
    some = ~np.isnan(x)
    return np.where(some, x, 0).sum(-1) / np.maximum(some.sum(-1), 1)


def _scores(result: Result, picks: np.ndarray | None) -> dict:
    """Scores of resamples: ``picks`` [R, N] tells how often each picture."""

    def iou(counts):
        parts = _parts(counts)
        if picks is None:
            return _iou(*(part.sum(0) for part in parts))
        return _iou(*(picks @ part for part in parts))

    ious = iou(result.counts)  # [..., C + 1]
    S = _mean(ious[..., : result.base])
    U = _mean(ious[..., result.base : -1])
    h = np.where(S + U > 0, 2 * S * U / np.maximum(S + U, 1e-12), 0.0)
    scores = {
        "S": S,
        "U": U,
        "h": h,
        "all": _mean(ious[..., :-1]),
        "background": _mean(ious[..., -1:]),
        "foreground": iou(_stickers(result.counts))[..., 0],
    }
    if result.named is not None:
        named = iou(result.named)
        base, novel = named[..., : result.base], named[..., result.base :]
        scores["naming"] = _mean(named)
        scores["naming S"], scores["naming U"] = _mean(base), _mean(novel)
    return scores


def pool(results: Sequence[Result]) -> Result:
    """The pictures of several results as one, say of several seeds."""
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
    for both.
    """
    n = len(a)
    if len(b) != n or n == 0:
        raise ValueError(f"{n} and {len(b)} pictures cannot be compared")
    rng = np.random.default_rng(seed)
    picks = rng.multinomial(n, np.full(n, 1 / n), size=resamples)
    whole = np.ones((1, n))

    def values(x, picks):
        if isinstance(x, Result):
            return _scores(x, picks.astype(float))[score]
        return picks @ np.asarray(x, float).reshape(n) / n

    differences = values(a, picks) - values(b, picks)
    low, high = np.percentile(differences, [5, 95])
    value = (values(a, whole) - values(b, whole)).item()
    return Difference(float(value), float(low), float(high))


def h_score(S: float, U: float) -> float:
    """Harmonic mean of the seen and the unseen score."""
    return harmonic_mean(S, U)
