"""TaskRes: add a learned residual to the text classifier.

Yu et al. 2022, "Task Residual for Tuning Vision-Language Models", arXiv
2211.10277.  Tuned: one vector per class, from zero, added to the frozen text
embeddings with weight ``alpha``.  Tied to its classes by construction.
Simplified: the base classifier is the normalised prompt ensemble; AdamW;
cached features.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import ZeroShot, tune
from .pictures import Pictures


class TaskRes(ZeroShot):
    """The text classifier plus ``alpha`` times a learned ``residual``."""

    def __init__(self, clip, classes, alpha: float):
        super().__init__(clip, classes)
        self.alpha = alpha
        self.residual = nn.Parameter(torch.zeros_like(self.weights))  # [C, D]

    def set_classes(self, classes: list[str]) -> None:
        self._refuse_new_classes(classes)
        super().set_classes(classes)

    def logits(self, pictures: Pictures) -> Tensor:
        weights = self.weights + self.alpha * self.residual
        weights = F.normalize(weights, dim=-1)
        return self.clip.logit_scale * pictures.image_embeds @ weights.T


def fit(
    clip,
    pictures,
    labels,
    classes,
    seed: int = 0,
    *,
    alpha: float = 0.5,
    steps: int = 100,
    lr: float = 2e-3,
    batch_size: int = 64,
) -> TaskRes:
    """Tune the residual on ``pictures`` with ``labels`` [N]."""
    return tune(
        TaskRes(clip, classes, alpha), pictures, labels, steps, lr, batch_size, seed
    )
