"""Tokens that are objects: each has a box, a vector and a way to be asked.

OWL-ViT's heads (Minderer et al. 2022, arXiv 2205.06230).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...models.inside import grid_side, run_block, vision_blocks
from ...seeding import seeded_weights
from ..pictures import taps


class TokenHead(nn.Module):
    """What each token says: ``head(tokens, own)``.

    ``tokens`` [N, 1 + T, W] after the last norm, the class token first;
    ``own`` [N, T, D] CLIP's own vectors of them, which those of ``near`` start
    from.  ``bias`` off leaves out where a token lies.
    """

    def __init__(self, clip, near: bool = True, bias: bool = True, seed: int = 0):
        super().__init__()
        W = clip.model.config.vision_config.hidden_size
        self.size, self.near, self.bias = clip.image_size, near, bias
        with seeded_weights(seed):
            self.norm = nn.LayerNorm(W)
            self.box = nn.Sequential(
                nn.Linear(W, W), nn.GELU(), nn.Linear(W, W), nn.GELU(), nn.Linear(W, 4)
            )
            self.vector = nn.Linear(W, clip.embed_dim)
            self.shift, self.scale = nn.Linear(W, 1), nn.Linear(W, 1)
        for layer in (self.shift, self.scale, *([self.vector] if near else [])):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        nn.init.constant_(self.scale.bias, clip.logit_scale - 1)

    def forward(self, tokens: Tensor, own: Tensor) -> tuple[Tensor, ...]:
        """Boxes [N, T, 4] in pixels, unit vectors [N, T, D], shift, scale."""
        x = self.norm(tokens[:, 1:] * tokens[:, :1])
        vectors = self.vector(x) + (own if self.near else 0)
        scale = F.elu(self.scale(x)) + 1
        return self.boxes(x), F.normalize(vectors, dim=-1), self.shift(x), scale

    def boxes(self, x: Tensor) -> Tensor:
        """Boxes of tokens [N, T, W]: [N, T, 4]."""
        found = self.box(x)
        if self.bias:
            found = found + self.places(x.shape[1])
        middle, half = found.sigmoid().mul(self.size).split(2, -1)
        return torch.cat([middle - half / 2, middle + half / 2], -1)

    def places(self, tokens: int) -> Tensor:
        """The log-odds of where tokens lie and how large they are: [T, 4]."""
        side = grid_side(tokens)
        steps = (torch.arange(side) + 0.5) / side
        y, x = torch.meshgrid(steps, steps, indexing="ij")
        sides = torch.full((tokens,), 1 / side)
        return torch.stack([x.flatten(), y.flatten(), sides, sides], -1).logit()


def look(tuned, head: TokenHead, pictures) -> tuple[Tensor, ...]:
    """What the head says of N pictures' tokens [N, T, …], by the tuned block."""
    model, hidden = tuned.model, pictures.hidden(taps(tuned)[-1])
    hidden = run_block(vision_blocks(tuned)[-1], hidden)
    tokens = model.vision_model.post_layernorm(hidden)
    own = F.normalize(model.visual_projection(tokens[:, 1:]), dim=-1)
    return head(tokens, own)


def name_logits(said: tuple[Tensor, ...], texts: Tensor) -> Tensor:
    """Whether tokens have a name, of texts [C, D]: [N, T, C]."""
    _, vectors, shift, scale = said
    return (vectors @ texts.T + shift) * scale
