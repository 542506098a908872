"""Names look at patches, and not at each other.

The decoder layer of ZegCLIP (Zhou et al. 2023, arXiv 2212.03588): so what a
name gets does not depend on the others that are asked for.
"""

from __future__ import annotations

from torch import Tensor, nn


class LookLayer(nn.Module):
    """Names [N, C, W] look at patches [N, T, W], each name for itself.

    The ``last`` layer only looks: its attention is the mask.
    """

    def __init__(self, width: int, heads: int, last: bool = False):
        super().__init__()
        self.heads, self.last = heads, last
        self.query, self.key = (nn.Linear(width, width) for _ in range(2))
        if last:
            return
        self.value, self.out = (nn.Linear(width, width) for _ in range(2))
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, names: Tensor, patches: Tensor):
        """Names, and the attention before its softmax: [N, C, T]."""
        q, k = map(self._split, (self.query(names), self.key(patches)))
        raw = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        if self.last:
            return names, raw.mean(1)
        v = self._split(self.value(patches))
        seen = (raw.softmax(-1) @ v).transpose(1, 2).flatten(2)
        names = self.norm1(names + self.out(seen))
        return self.norm2(names + self.mlp(names)), raw.mean(1)

    def _split(self, x: Tensor) -> Tensor:
        """[N, L, W] → [N, heads, L, W / heads]."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
