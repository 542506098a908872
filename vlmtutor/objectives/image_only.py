"""Learning from pictures alone: two views of one picture belong together."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def nt_xent(first: Tensor, second: Tensor, temperature: Tensor | float = 0.1) -> Tensor:
    """SimCLR's loss, "normalised temperature-scaled cross-entropy".

    ``first`` and ``second`` [N, D], L2-normalised: two views of N pictures.
    Each of the 2 N views must find its partner among the other 2 N - 1;
    itself does not count.  One picture alone has no wrong answer: 0.  Raises
    ValueError for an empty batch or shapes that differ.
    Source: Chen et al. 2020, arXiv 2002.05709.
    """
    if first.shape != second.shape or not len(first):
        raise ValueError(
            f"two views of at least one picture, not {list(first.shape)} "
            f"and {list(second.shape)}"
        )
    views = torch.cat([first, second])  # [2N, D]
    N = len(first)
    logits = views @ views.T / temperature  # [2N, 2N]
    itself = torch.eye(2 * N, dtype=torch.bool, device=views.device)
    logits = logits.masked_fill(itself, float("-inf"))
    partner = torch.arange(2 * N, device=views.device).roll(N)  # i ↔ i + N
    return F.cross_entropy(logits, partner)
