"""Truth and queries, matched one to one, and what the matched ones pay.

Carion et al. 2020, arXiv 2005.12872; the losses are MaskFormer's (Cheng et al.
2021, arXiv 2107.06278).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from ...objectives.alignment import focal_loss
from ..supervision import IGNORE
from .losses import dice

NO_OBJECT = 0.1  # weight of queries without a name among the names
# MaskFormer weighs focal 20 and dice 1; with so few steps dice has to lead,
# and both sides of the focal loss count alike, or masks stay empty.
MASK_WEIGHT, DICE_WEIGHT, ALPHA = 20.0, 5.0, 0.5


@dataclass
class Outputs:
    """What the queries say of a batch, on the trunk's grid.

    ``masks`` [N, Q, h, w] and ``objects`` [N, Q] are logits, ``states``
    [N, Q, d], ``vectors`` [N, Q, D] L2-normalised (or None without names).
    """

    masks: Tensor
    objects: Tensor
    states: Tensor
    vectors: Tensor | None


def match(costs: Tensor, exists: Tensor) -> list[tuple[Tensor, Tensor]]:
    """One query for each true region, at the least total cost.

    ``costs`` [N, Q, R], ``exists`` bool [N, R]; (queries, regions) a picture.
    """
    pairs = []
    for cost, there in zip(costs, exists, strict=True):
        columns = there.nonzero()[:, 0]
        rows, picks = linear_sum_assignment(cost[:, columns].numpy())
        pairs.append((torch.as_tensor(rows), columns[picks]))
    return pairs


@torch.no_grad()
def matching_costs(outputs: Outputs, truth: Tensor) -> Tensor:
    """What each query would pay for each region [N, R, h, w]: [N, Q, R]."""
    logits, y = outputs.masks.flatten(2), truth.flatten(2).float()
    area = logits.shape[-1]
    p = logits.sigmoid()
    # the focal loss, with its yes and its no taken apart
    yes = ALPHA * (1 - p) ** 2 * F.softplus(-logits)
    no = (1 - ALPHA) * p**2 * F.softplus(logits)
    y_t = y.transpose(1, 2)
    focal = (yes @ y_t + no @ (1 - y_t)) / area
    overlap = 2 * p @ y_t + 1
    total = p.sum(-1)[..., None] + y.sum(-1)[:, None] + 1
    objects = outputs.objects.sigmoid()[..., None]
    return MASK_WEIGHT * focal + DICE_WEIGHT * (1 - overlap / total) - objects


def group_loss(
    outputs: Outputs, truth: Tensor, pairs: list[tuple[Tensor, Tensor]]
) -> Tensor:
    """Masks of matched queries, and object or not of all of them.

    ``truth`` [N, R, h, w]; ``pairs`` as :func:`match` makes them.
    """
    rows, queries, regions = flatten_pairs(pairs)
    target = torch.zeros_like(outputs.objects)
    target[rows, queries] = 1.0
    objects = F.binary_cross_entropy_with_logits(outputs.objects, target)
    if not len(rows):
        return objects
    logits, masks = outputs.masks[rows, queries], truth[rows, regions]
    return (
        MASK_WEIGHT * focal_loss(logits, masks, alpha=ALPHA)
        + DICE_WEIGHT * dice(logits, masks)
        + objects
    )


def flatten_pairs(pairs) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs of all pictures → picture, query and region numbers [P] each."""
    rows = [torch.full_like(q, k) for k, (q, _) in enumerate(pairs)]
    queries, regions = ([p[i] for p in pairs] for i in (0, 1))
    return torch.cat(rows), torch.cat(queries), torch.cat(regions)


def name_loss(
    vectors: Tensor, pairs, labels: Tensor, W: Tensor, nothing: Tensor, scale: float
) -> Tensor:
    """Cross-entropy of queries over names and "no object" (weight 0.1).

    ``vectors`` [N, Q, D], ``labels`` [N, R] of the regions, 255 left out.
    """
    columns = torch.cat([W, F.normalize(nothing, dim=0)[None]])
    logits = scale * vectors @ columns.T  # [N, Q, C + 1]
    target = torch.full(vectors.shape[:2], len(W))
    rows, queries, regions = flatten_pairs(pairs)
    target[rows, queries] = labels[rows, regions]
    weight = torch.ones(len(W) + 1)
    weight[-1] = NO_OBJECT
    if (target == IGNORE).all():
        return logits.sum() * 0
    return F.cross_entropy(
        logits.flatten(0, 1), target.flatten(), weight, ignore_index=IGNORE
    )
