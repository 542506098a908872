"""Contrastive objectives: pull pairs together, push the rest apart."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def clip_loss(
    image_embeds: Tensor,
    text_embeds: Tensor,
    logit_scale: Tensor | float,
    ignore: Tensor | None = None,
) -> Tensor:
    """CLIP's symmetric cross-entropy over a batch of pairs.

    ``image_embeds`` and ``text_embeds`` [N, D] are L2-normalised,
    ``logit_scale`` is already exponentiated.  ``ignore`` [N, N] bool leaves
    out pairs that are no true negatives (never the diagonal).
    Source: Radford et al. 2021, arXiv 2103.00020.
    """
    logits = logit_scale * image_embeds @ text_embeds.T  # [N, N]
    if ignore is not None:
        diagonal = torch.eye(len(logits), dtype=torch.bool)
        logits = logits.masked_fill(ignore & ~diagonal, float("-inf"))
    labels = torch.arange(len(logits))
    image_to_text = F.cross_entropy(logits, labels)
    text_to_image = F.cross_entropy(logits.T, labels)
    return (image_to_text + text_to_image) / 2


def siglip_loss(
    image_embeds: Tensor,
    text_embeds: Tensor,
    logit_scale: Tensor | float,
    logit_bias: Tensor | float,
    ignore: Tensor | None = None,
) -> Tensor:
    """SigLIP's loss: each pair of the batch is a yes-or-no question.

    Shapes as in :func:`clip_loss`; summed over the pairs of a picture,
    averaged over the pictures.
    Source: Zhai et al. 2023, arXiv 2303.15343.
    """
    logits = logit_scale * image_embeds @ text_embeds.T + logit_bias
    signs = 2 * torch.eye(len(logits)) - 1  # +1 for pairs, -1 for others
    losses = -F.logsigmoid(signs * logits)  # [N, N]
    if ignore is not None:
        losses = losses.masked_fill(ignore & (signs < 0), 0)
    return losses.sum(dim=1).mean()
