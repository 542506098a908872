"""CoCoOp: a context that shifts with the picture.

Zhou et al. 2022, "Conditional Prompt Learning for Vision-Language Models",
arXiv 2203.05557.  Tuned: M context vectors and a small network that turns a
picture's embedding into one vector, added to all M.  Every picture has its own
prompts, so B pictures and C classes cost B·C text encodings.  Simplified: the
network's last layer starts at zero, so that tuning starts from CoOp's start;
batches of 4 in place of 1; AdamW.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..seeding import generator
from .base import tune
from .coop import CoOp
from .packed_prompts import encode_packed
from .pictures import Pictures


class CoCoOp(CoOp):
    """CoOp's context, moved by what ``meta_net`` makes of a picture."""

    batch_size = 32

    def __init__(self, clip, classes, seed: int = 0):
        super().__init__(clip, classes, seed=seed)
        D, W = clip.embed_dim, self.context.shape[-1]
        inner = max(1, D // 16)
        first, last = nn.Linear(D, inner), nn.Linear(inner, W)
        with torch.no_grad():
            first.weight.normal_(0, D**-0.5, generator=generator(seed))
            first.bias.zero_()
            last.weight.zero_()
            last.bias.zero_()
        self.meta_net = nn.Sequential(first, nn.ReLU(), last)

    def text_embeds(self, image_embeds: Tensor) -> Tensor:
        """image_embeds [B, D] → prompts of each picture [B, C, D]."""
        shift = self.meta_net(image_embeds)  # [B, W]
        context = self.context + shift[:, None]  # [B, M, W]
        return encode_packed(self.clip, self.packed, context)

    def logits(self, pictures: Pictures) -> Tensor:
        embeds = pictures.image_embeds  # [B, D]
        texts = self.text_embeds(embeds)  # [B, C, D]
        return self.clip.logit_scale * (texts @ embeds[..., None]).squeeze(-1)


def fit(
    clip,
    pictures,
    labels,
    classes,
    seed: int = 0,
    *,
    steps: int = 60,
    lr: float = 3e-3,
    batch_size: int = 4,
) -> CoCoOp:
    """Tune context and network on ``pictures`` with ``labels`` [N]."""
    learner = CoCoOp(clip, classes, seed)
    return tune(learner, pictures, labels, steps, lr, batch_size, seed)
