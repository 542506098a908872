"""Losses on maps; pixels labelled 255 never count."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..supervision import IGNORE

PRIOR = 0.05  # of yes, before training


def softmax_ce_ignore(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of [N, C, h, w] against [N, h, w]; 0 if none counts."""
    total = F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="sum")
    return total / (labels != IGNORE).sum().clamp(min=1)


def binary_targets(labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Yes or no per class: targets [N, C, h, w] and what counts [N, 1, h, w].

    Classes are numbered 0 to C - 1; the background (or any other number) is
    no for all of them.  Both bool.
    """
    one_hot = labels[:, None] == torch.arange(classes)[:, None, None]
    return one_hot, (labels != IGNORE)[:, None]


def bce_ignore(logits: Tensor, targets: Tensor, counts: Tensor) -> Tensor:
    """Yes-or-no cross-entropy of [N, C, h, w], mean over what ``counts``."""
    losses = F.binary_cross_entropy_with_logits(
        logits, targets.to(logits.dtype), reduction="none"
    )
    counts = counts.expand_as(losses)
    return (losses * counts).sum() / counts.sum().clamp(min=1)


@torch.no_grad()
def modest(bias: nn.Parameter, logits: Callable[[], Tensor]) -> None:
    """Set a bias, if it learns, so that a share PRIOR of ``logits()`` says yes.

    Yes-or-no maps [...] that begin with a yes everywhere spend their training
    on unlearning it.  The prior of RetinaNet (Lin et al. 2017, arXiv
    1708.02002), for logits that begin as cosines and not as nothing.
    """
    if bias.requires_grad:
        bias.fill_(-logits().flatten().quantile(1 - PRIOR))


def dice(logits: Tensor, targets: Tensor, counts: Tensor | None = None) -> Tensor:
    """1 - overlap of sigmoid(logits) [..., h, w] with masks, mean of maps.

    Milletari et al. 2016, arXiv 1606.04797, with +1 above and below as in
    MaskFormer.
    """
    p, y = logits.sigmoid(), targets.to(logits.dtype)
    if counts is not None:
        p, y = p * counts, y * counts
    p, y = p.flatten(-2), y.flatten(-2)
    overlap = 2 * (p * y).sum(-1) + 1
    return (1 - overlap / (p.sum(-1) + y.sum(-1) + 1)).mean()
