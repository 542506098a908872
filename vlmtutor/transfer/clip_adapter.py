"""CLIP-Adapter: a small network corrects the image features.

Gao et al. 2021, "CLIP-Adapter: Better Vision-Language Models with Feature
Adapters", arXiv 2110.04544.  Tuned: two linear maps without bias, down to a
quarter of the width and up again.  The result is mixed with the original
feature: ``ratio`` of it, the rest stays.  Simplified: adapts the image side
only, as the released code does; AdamW; cached features.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ..seeding import seeded_weights
from .base import ZeroShot, tune
from .pictures import Pictures


class ClipAdapter(ZeroShot):
    """``ratio`` of the adapted feature, the rest of the original."""

    def __init__(self, clip, classes, ratio: float, seed: int):
        super().__init__(clip, classes)
        self.ratio = ratio
        D = clip.embed_dim
        with seeded_weights(seed):
            self.adapter = nn.Sequential(
                nn.Linear(D, D // 4, bias=False),
                nn.ReLU(),
                nn.Linear(D // 4, D, bias=False),
                nn.ReLU(),
            )

    def logits(self, pictures: Pictures) -> Tensor:
        embeds = pictures.image_embeds  # [N, D]
        adapted = self.adapter(embeds)
        embeds = self.ratio * adapted + (1 - self.ratio) * embeds
        embeds = F.normalize(embeds, dim=-1)
        return self.clip.logit_scale * embeds @ self.weights.T


def fit(
    clip,
    pictures,
    labels,
    classes,
    seed: int = 0,
    *,
    ratio: float = 0.2,
    steps: int = 150,
    lr: float = 1e-3,
    batch_size: int = 64,
) -> ClipAdapter:
    """Tune the adapter on ``pictures`` with ``labels`` [N]."""
    learner = ClipAdapter(clip, classes, ratio, seed)
    return tune(learner, pictures, labels, steps, lr, batch_size, seed)
