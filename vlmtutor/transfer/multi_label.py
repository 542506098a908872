"""Several right answers a picture: a loss and a score for them.

Labels are [N, C]: 1 the class is in the picture, 0 it is not, -1 unknown.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..seeding import generator


def asymmetric_loss(
    logits: Tensor,
    labels: Tensor,
    gamma_pos: float = 1.0,
    gamma_neg: float = 2.0,
    margin: float = 0.05,
) -> Tensor:
    """Binary cross-entropy of [N, C] that soon stops minding the many absences.

    Asymmetric loss: Ridnik et al. 2020, arXiv 2009.14119.  Absences whose
    probability is below ``margin`` cost nothing; unknown labels neither.
    Summed over classes, averaged over pictures; with both gammas and the
    margin 0 it is the plain binary cross-entropy.
    """
    p = logits.sigmoid()
    absent = (1 - p + margin).clamp(max=1)
    present_loss = (1 - p) ** gamma_pos * p.clamp(min=1e-8).log()
    absent_loss = (1 - absent) ** gamma_neg * absent.clamp(min=1e-8).log()
    loss = torch.where(labels == 1, present_loss, absent_loss)
    return -(loss * (labels >= 0)).sum(1).mean()


def mean_average_precision(scores: Tensor, labels: Tensor) -> float:
    """Mean over classes of the average precision of a column [N].

    Only the order within a column matters.  Classes that no picture shows are
    left out; raises ValueError when that leaves none.
    """
    from sklearn.metrics import average_precision_score

    columns = [c for c in range(labels.shape[1]) if (labels[:, c] == 1).any()]
    if not columns:
        raise ValueError("no picture shows any of the classes")
    figures = []
    for c in columns:
        known = labels[:, c] >= 0
        figures.append(
            average_precision_score(labels[known, c].numpy(), scores[known, c].numpy())
        )
    return float(np.mean(figures))


def hide_labels(labels: Tensor, known: float, seed: int) -> Tensor:
    """The same labels [N, C] with only a share ``known`` of them left, else -1."""
    keep = torch.rand(labels.shape, generator=generator(seed)) < known
    return torch.where(keep, labels, -torch.ones_like(labels))
