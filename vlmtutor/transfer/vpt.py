"""VPT: learned tokens among the patches, in the first layer or in all.

Jia et al. 2022, "Visual Prompt Tuning", arXiv 2203.12119.  Tuned: p tokens
(shallow), or p tokens for each layer (deep), which take the place of what the
layer before made of its prompts.  Simplified: the classifier is CLIP's frozen
text side in place of a learned head, as in the ports of VPT to CLIP; tokens
stand after the patches, before the first layer norm; AdamW.
"""

from __future__ import annotations

from torch import nn

from .base import ZeroShot, tune
from .pictures import Pictures
from .visual_prompts import encode_prompted, start_tokens


class VPT(ZeroShot):
    """``prompts`` [L, p, W]: p tokens for the first layer, or for all L."""

    reads = ("pixel_values",)
    batch_size = 64

    def __init__(self, clip, classes, n_tokens: int, deep: bool, seed: int):
        super().__init__(clip, classes)
        depth = clip.model.config.vision_config.num_hidden_layers if deep else 1
        start = start_tokens(clip, depth, n_tokens, seed)
        self.prompts = nn.Parameter(start)  # [L, p, W]

    def logits(self, pictures: Pictures):
        embeds = encode_prompted(
            self.clip, pictures.pixel_values, self.prompts.unbind()
        )
        return self.clip.logit_scale * embeds @ self.weights.T


def fit(
    clip,
    pictures,
    labels,
    classes,
    seed: int = 0,
    *,
    deep: bool = False,
    n_tokens: int = 5,
    steps: int = 30,
    lr: float = 1e-2,
    batch_size: int = 16,
) -> VPT:
    """Tune tokens on ``pictures`` (pixels) with ``labels`` [N]."""
    learner = VPT(clip, classes, n_tokens, deep, seed)
    return tune(learner, pictures, labels, steps, lr, batch_size, seed)


def fit_deep(clip, pictures, labels, classes, seed: int = 0, **settings) -> VPT:
    """VPT deep: :func:`fit` with tokens for every layer."""
    return fit(clip, pictures, labels, classes, seed, deep=True, **settings)
