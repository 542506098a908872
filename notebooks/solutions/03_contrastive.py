"""Solutions to the exercises of 03_contrastive."""

import torch
import torch.nn.functional as F


def symmetric_loss(cosines, temperature):
    """Cosines [N, N] → the mean of both cross-entropies, a scalar."""
    logits = cosines / temperature
    own = torch.arange(len(logits))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def label_targets(image_labels, text_labels):
    """Labels [N] and [M] → targets [N, M]; rows sum to 1 or 0."""
    right = (image_labels[:, None] == text_labels).float()
    return right / right.sum(dim=1, keepdim=True).clamp(min=1)
