"""Does 80 % mean right in 80 of 100 cases?  Confidence, and how to mend it.

Temperature scaling: Guo et al. 2017, arXiv 1706.04599.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

COLDEST, HOTTEST = 1e-3, 1e3


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature T at which softmax(logits / T) fits the labels best.

    ``logits`` [N, C], ``labels`` [N]; best is the smallest mean negative
    log-likelihood.  That is convex in 1/T, and its slope there is how far the
    true label's logit lies below the mean logit that the softmax expects: a
    bisection finds where it is 0.  T never changes which class is largest.
    Where no finite T is best (all answers right, say) the result is the
    nearest end of 0.001 … 1000.  Raises ValueError for other shapes, for NaN
    and for probabilities in the logits' place.
    """
    logits, labels = _checked("logits", logits, labels)
    if not len(logits):
        raise ValueError("no logits to fit a temperature to")
    if _are_probabilities(logits) and (logits % 1).any():  # 0 and 1 may be logits
        raise ValueError("these are probabilities: give logits, before the softmax")
    truth = logits.gather(1, labels[:, None]).mean()
    low, high = math.log(1 / HOTTEST), math.log(1 / COLDEST)  # of 1/T
    for _ in range(60):
        middle = (low + high) / 2
        shares = (logits * math.exp(middle)).softmax(dim=1)
        expected = (shares * logits).sum(dim=1).mean()
        if expected > truth:  # too sure: 1/T must fall
            high = middle
        else:
            low = middle
    return math.exp(-(low + high) / 2)


def reliability(
    probabilities: Tensor, labels: Tensor, bins: int = 10
) -> list[tuple[float, float, int]]:
    """(mean confidence, accuracy, number) of each bin that is not empty.

    ``probabilities`` [N, C], ``labels`` [N].  The bins of confidence are of
    equal width and open on the left, as in
    :func:`vlmtutor.metrics.expected_calibration_error`.  Raises ValueError
    for other shapes, and for logits in the probabilities' place.
    """
    probabilities, labels = _checked("probabilities", probabilities, labels)
    if not _are_probabilities(probabilities):
        raise ValueError("each row of probabilities must sum to 1: softmax comes first")
    if bins < 1:
        raise ValueError(f"bins is at least 1, got {bins}")
    confidence, guess = probabilities.max(dim=1)
    right = (guess == labels).double()
    place = ((confidence * bins).ceil().long() - 1).clamp(0, bins - 1)
    rows = []
    for k in range(bins):
        inside = place == k
        if inside.any():
            rows.append(
                (
                    float(confidence[inside].mean()),
                    float(right[inside].mean()),
                    int(inside.sum()),
                )
            )
    return rows


def _checked(what: str, rows, labels) -> tuple[Tensor, Tensor]:
    """Rows [N, C] in float64 and labels [N], whole numbers below C."""
    rows, labels = torch.as_tensor(rows).double(), torch.as_tensor(labels).long()
    if rows.ndim != 2 or labels.shape != rows.shape[:1]:
        raise ValueError(
            f"{what} are [N, C] and labels [N], got "
            f"{list(rows.shape)} and {list(labels.shape)}"
        )
    if rows.isnan().any():
        raise ValueError(f"{what} have NaN in them")
    if ((labels < 0) | (labels >= rows.shape[1])).any():
        raise ValueError(f"a label is outside 0 … {rows.shape[1] - 1}")
    return rows, labels


def _are_probabilities(rows: Tensor) -> bool:
    """Whether rows [N, C] have no negative number and sum to 1."""
    sums = rows.sum(dim=1)
    return bool((rows >= 0).all() and ((sums - 1).abs() < 1e-3).all())
