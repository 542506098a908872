"""Tip-Adapter: the few labelled pictures as a cache to look up.

Zhang et al. 2021, "Tip-Adapter: Training-free CLIP-Adapter for Better
Vision-Language Modeling", arXiv 2111.03930.  A picture's zero-shot logits are
raised for the labels of the cached pictures that resemble it.  Nothing is
tuned; with ``steps`` above 0 the cached features are (Tip-Adapter-F).
Simplified: a cached feature comes from one look at a picture, not from ten
augmented ones.  The zero-shot logits use the model's own scale; with OpenAI's
100 the same ``alpha`` would weigh less.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import ZeroShot, tune
from .pictures import Pictures


def affinity(queries: Tensor, keys: Tensor, beta: float) -> Tensor:
    """exp(-beta (1 - cosine)) of rows [N, D] and [K, D]: [N, K], up to 1."""
    return torch.exp(-beta * (1 - queries @ keys.T))


class TipAdapter(ZeroShot):
    """A cache of ``keys`` [K, D] and ``labels`` [K]; ``tuned`` learns the keys."""

    def __init__(self, clip, classes, keys, labels, alpha, beta, tuned):
        super().__init__(clip, classes)
        self.alpha, self.beta = alpha, beta
        self.keys = nn.Parameter(keys.clone()) if tuned else keys  # [K, D]
        self.values = F.one_hot(labels, len(classes)).float()  # [K, C]

    def set_classes(self, classes: list[str]) -> None:
        self._refuse_new_classes(classes)
        super().set_classes(classes)

    def logits(self, pictures: Pictures) -> Tensor:
        near = affinity(pictures.image_embeds, self.keys, self.beta)
        return super().logits(pictures) + self.alpha * near @ self.values


def fit(
    clip,
    pictures,
    labels,
    classes,
    seed: int = 0,
    *,
    alpha: float = 1.0,
    beta: float = 5.5,
    steps: int = 0,
    lr: float = 1e-3,
    batch_size: int = 64,
) -> TipAdapter:
    """Cache ``pictures`` with ``labels`` [N]; ``steps`` > 0 tunes the keys.

    ``alpha`` weighs the cache, ``beta`` sets how near a look-alike must be.
    """
    pictures, labels = Pictures.of(clip, pictures), torch.as_tensor(labels)
    keys = pictures.image_embeds
    learner = TipAdapter(clip, classes, keys, labels, alpha, beta, steps > 0)
    if steps == 0:
        return learner
    return tune(learner, pictures, labels, steps, lr, batch_size, seed)


def fit_tuned(
    clip, pictures, labels, classes, seed: int = 0, *, steps=60, **settings
) -> TipAdapter:
    """Tip-Adapter-F: :func:`fit` with the cached features tuned."""
    return fit(clip, pictures, labels, classes, seed, steps=steps, **settings)
