"""Solutions to the exercises of 10_adapters."""

import torch
import torch.nn.functional as F


def residual_logits(x, W, R, alpha, scale):
    """x [N, D], W and R [C, D] → logits [N, C]."""
    # back to length 1 after adding: cosines, not lengths, are compared
    return scale * x @ F.normalize(W + alpha * R, dim=-1).T


def votes(x, keys, labels, classes, beta):
    """x [N, D], keys [K, D], labels [K] → [N, classes]."""
    near = torch.exp(-beta * (1 - x @ keys.T))  # [N, K]
    # one-hot labels add the nearness of a class's pictures up
    return near @ F.one_hot(labels, classes).float()
