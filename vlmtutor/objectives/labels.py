"""Pictures, texts and labels in one loss."""

from __future__ import annotations

import torch
from torch import Tensor

from .alignment import multi_positive_loss


def unicl_loss(
    image_embeds: Tensor,
    text_embeds: Tensor,
    logit_scale: Tensor | float,
    image_labels: Tensor,
    text_labels: Tensor | None = None,
) -> Tensor:
    """UniCL's loss: whatever has the same label belongs together.

    ``image_embeds`` [N, D] and ``text_embeds`` [M, D], L2-normalised, with
    ``image_labels`` [N] and ``text_labels`` [M] (by default the same, and
    then M = N).  A label of -1 stands for "unknown": such a pair is matched
    with itself alone, as in CLIP.  With all labels different this is
    :func:`vlmtutor.objectives.contrastive.clip_loss`.  Raises ValueError when
    nothing matches, as in an empty batch.
    Source: Yang et al. 2022, arXiv 2204.03610.
    """
    paired = text_labels is None
    text_labels = image_labels if paired else text_labels
    if len(image_embeds) != len(image_labels) or (len(text_embeds) != len(text_labels)):
        raise ValueError("one label for each picture and each text")
    known = image_labels[:, None] >= 0
    positives = (image_labels[:, None] == text_labels) & known  # [N, M]
    if paired:
        positives |= torch.eye(len(positives), dtype=torch.bool)
    if not positives.any():
        raise ValueError("no picture has the label of a text")
    logits = logit_scale * image_embeds @ text_embeds.T  # [N, M]
    return multi_positive_loss(logits, positives)
