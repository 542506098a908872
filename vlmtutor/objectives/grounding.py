"""Regions meet words: which box does a phrase speak of?"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def pool_regions(patch_embeds: Tensor, boxes: Tensor) -> Tensor:
    """Mean patch of each box: [B, T, D] and [B, R, 4] → [B, R, D].

    Boxes are (x0, y0, x1, y1) as shares of the picture's side; a patch counts
    as much as the box covers of it.  A box without area gives zeros.  The
    result is L2-normalised.
    """
    B, T, D = patch_embeds.shape
    side = round(T**0.5)
    edges = torch.arange(side + 1, device=boxes.device) / side

    def covered(low: Tensor, high: Tensor) -> Tensor:  # [B, R] → [B, R, side]
        left = torch.maximum(low[..., None], edges[:-1])
        right = torch.minimum(high[..., None], edges[1:])
        return (right - left).clamp(min=0)

    across = covered(boxes[..., 0], boxes[..., 2])
    down = covered(boxes[..., 1], boxes[..., 3])
    weights = down[..., :, None] * across[..., None, :]  # [B, R, side, side]
    pooled = weights.flatten(2) @ patch_embeds  # [B, R, D]
    return F.normalize(pooled, dim=-1)


def region_word_logits(
    region_embeds: Tensor,
    word_embeds: Tensor,
    logit_scale: Tensor | float,
    logit_bias: Tensor | float = 0.0,
) -> Tensor:
    """Every region with every word of its own caption: [B, R, L].

    ``region_embeds`` [B, R, D], ``word_embeds`` [B, L, D], L2-normalised.
    Bounded as in GLIP, so that large scales give no infinities.
    """
    logits = logit_scale * region_embeds @ word_embeds.transpose(1, 2)
    return (logits + logit_bias).clamp(-5e4, 5e4)


def focal_loss(
    logits: Tensor,
    truth: Tensor,
    mask: Tensor | None = None,
    alpha: float = 0.25,
    gamma: float = 2.0,
) -> Tensor:
    """Binary cross-entropy that cares little for what is easy: mean.

    ``truth`` bool and ``mask`` bool (what counts), both broadcast to the shape
    of ``logits``.  ``alpha`` weighs yes against no, ``gamma`` 0 takes the
    focus away.  Nothing to count: 0.
    Source: Lin et al. 2017, arXiv 1708.02002.
    """
    yes = truth.to(logits.dtype)
    losses = F.binary_cross_entropy_with_logits(logits, yes, reduction="none")
    right = torch.exp(-losses)  # the probability of the true answer
    side = alpha * yes + (1 - alpha) * (1 - yes)
    losses = side * (1 - right).pow(gamma) * losses
    if mask is None:
        mask = torch.ones_like(truth, dtype=torch.bool)
    counted = mask.expand_as(losses)
    return (losses * counted).sum() / counted.sum().clamp(min=1)


def grounding_loss(
    logits: Tensor, region_words: Tensor, regions: Tensor, words: Tensor
) -> Tensor:
    """GLIP's loss: a region says yes to every word of its phrase.

    ``logits`` [B, R, L] of :func:`region_word_logits`, ``region_words``
    [B, R, L] the truth, ``regions`` [B, R] and ``words`` [B, L] tell which
    exist, all bool.  The sum of focal losses over the number of yeses.
    Source: Li et al. 2021, arXiv 2112.03857.
    """
    exists = regions[..., None] & words[:, None, :]
    mean = focal_loss(logits, region_words, exists)
    yeses = (region_words & exists).sum().clamp(min=1)
    return mean * exists.sum() / yeses


def region_concept_loss(
    region_embeds: Tensor,
    concept_embeds: Tensor,
    labels: Tensor,
    logit_scale: Tensor | float,
) -> Tensor:
    """RegionCLIP's loss: each region picks its concept out of a list.

    ``region_embeds`` [..., D] and ``concept_embeds`` [C, D], L2-normalised,
    ``labels`` [...] the right concept, -1 where there is none (such regions
    do not count; if none does: 0).
    Source: Zhong et al. 2021, arXiv 2112.09106.
    """
    logits = logit_scale * region_embeds @ concept_embeds.T
    flat = labels.flatten()
    losses = F.cross_entropy(
        logits.flatten(0, -2), flat, ignore_index=-1, reduction="sum"
    )
    return losses / (flat >= 0).sum().clamp(min=1)
