"""Who depends on whom after several layers of attention."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def gather_relevance(
    attentions: Sequence[Tensor], gradients: Sequence[Tensor]
) -> Tensor:
    """How much each token has come to depend on each: [..., L, L].

    For each layer the attention [..., heads, L, L] times its gradient,
    without what is negative, averaged over the heads, carries on what was
    gathered before.  It starts as the identity and only grows.
    Chefer, Gur and Wolf 2021, arXiv 2103.15679.
    """
    first = attentions[0]
    tokens = first.shape[-1]
    gathered = torch.eye(tokens).expand(*first.shape[:-3], tokens, tokens)
    for attention, gradient in zip(attentions, gradients, strict=True):
        step = (attention * gradient).relu().mean(dim=-3)
        gathered = gathered + step @ gathered
    return gathered
