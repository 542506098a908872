"""The parts that every framework of the course is built from.

A block is that of CLIP: layer norm, attention, layer norm, MLP, each added
to what came in.  Tensors are [B, L, W]: batch, tokens, width.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def count_parameters(model: nn.Module) -> int:
    """How many numbers training can change (shared ones count once)."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def _draw(linear: nn.Linear, gain: float = 1.0) -> None:
    """Weights that keep the size of what passes through; no bias."""
    nn.init.normal_(linear.weight, std=gain * linear.in_features**-0.5)
    nn.init.zeros_(linear.bias)


class Attention(nn.Module):
    """Multi-head attention (Vaswani et al. 2017, arXiv 1706.03762).

    Queries come from ``x`` [B, L, W], keys and values from ``context``
    [B, C, W], or from ``x`` itself.  ``mask`` [B, C] bool is True where there
    is something to look at; ``causal`` hides what comes later.  While
    ``watched`` is set, ``weights`` [B, heads, L, C] holds what the last call
    looked at.  Raises ValueError where the heads do not divide the width.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        # torch's own, smaller weights make attention start out flat: the
        # same lesson then takes twice the steps.
        _draw(self.query, 1.5)
        _draw(self.key_value)
        nn.init.normal_(self.key_value.weight[:width].data, std=1.5 * width**-0.5)
        _draw(self.out)
        self.watched, self.weights = False, None

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        mask: Tensor | None = None,
        causal: bool = False,
    ) -> Tensor:
        context = x if context is None else context
        query = self._split(self.query(x))  # [B, heads, L, W / heads]
        key, value = map(self._split, self.key_value(context).chunk(2, -1))
        if mask is not None:
            mask = mask[:, None, None, :]  # [B, 1, 1, C]
            if causal:
                mask = mask & self._earlier(x)
                causal = False
        if self.watched:
            self.weights = self._look(query, key, mask, causal)
        mixed = F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, is_causal=causal
        )
        return self.out(mixed.transpose(1, 2).flatten(2))  # [B, L, W]

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    @staticmethod
    def _earlier(x: Tensor) -> Tensor:
        L = x.shape[1]
        return torch.ones(L, L, dtype=torch.bool, device=x.device).tril()

    def _look(self, query, key, mask, causal) -> Tensor:
        scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        if causal:
            mask = self._earlier(query[:, 0])
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf"))
        return scores.softmax(-1).detach()


class Block(nn.Module):
    """Attention and an MLP: [B, L, W] → [B, L, W]; see :class:`Attention`.

    With ``cross`` there is a look at a context [B, C, W] in between.
    Without a context it is left out, so that such a block can also run on
    one modality alone.
    """

    def __init__(self, width: int, heads: int, cross: bool = False):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        if cross:
            self.norm_cross = nn.LayerNorm(width)
            self.cross = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        _draw(self.mlp[0])
        _draw(self.mlp[2])

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        causal: bool = False,
        context: Tensor | None = None,
        context_mask: Tensor | None = None,
    ) -> Tensor:
        x = x + self.attention(self.norm1(x), mask=mask, causal=causal)
        if context is not None:
            x = x + self.cross(self.norm_cross(x), context, context_mask)
        return x + self.mlp(self.norm2(x))


class Transformer(nn.Module):
    """A stack of blocks: [B, L, W] → [B, L, W]."""

    def __init__(self, width: int, layers: int, heads: int, cross: bool = False):
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, heads, cross) for _ in range(layers))

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        causal: bool = False,
        context: Tensor | None = None,
        context_mask: Tensor | None = None,
    ) -> Tensor:
        for block in self.blocks:
            x = block(x, mask, causal, context, context_mask)
        return x


@contextlib.contextmanager
def watch_attention(model: nn.Module) -> Iterator[list[Attention]]:
    """Keep the attention weights of all calls inside the ``with``.

    Yields the attention modules in the order they were made; read
    ``.weights`` of each after a call.
    """
    parts = [m for m in model.modules() if isinstance(m, Attention)]
    for part in parts:
        part.watched = True
    try:
        yield parts
    finally:
        for part in parts:
            part.watched = False
