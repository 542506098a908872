"""CALIP: picture and text look at each other, without a single parameter.

Guo et al. 2022, "CALIP: Zero-Shot Enhancement of CLIP with Parameter-free
Attention", arXiv 2209.14169.  Tuned: nothing.  Similarities of patches and
class names serve as attention both ways, and two more sets of logits come out
of the features so gathered.  ``beta2`` and ``beta3`` weigh them, and are to be
chosen on validation pictures (the released code searches them on test).
Simplified: patches are read by the last block's value path, and logits use the
model's own scale in place of 100.
"""

from __future__ import annotations

from torch import Tensor

from .base import ZeroShot
from .pictures import Pictures

SHARPNESS = 2.0  # of both attentions, as in the released code


def attended_logits(
    image_embeds: Tensor, patch_embeds: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Cosine-like scores [N, C] from text that saw the picture, and back.

    ``image_embeds`` [N, D], ``patch_embeds`` [N, T, D], ``weights`` [C, D].
    """
    attention = SHARPNESS * patch_embeds @ weights.T  # [N, T, C]
    over_space = attention.softmax(1).transpose(1, 2)  # [N, C, T]
    texts = over_space @ patch_embeds  # [N, C, D]: what each name looks at
    patches = attention.softmax(2) @ weights  # [N, T, D]: the names in each
    pooled = patches.mean(1) + patches.amax(1)  # [N, D]
    by_texts = (texts @ image_embeds[..., None]).squeeze(-1)
    return by_texts, pooled @ weights.T


class CALIP(ZeroShot):
    """``beta2`` weighs what names look at, ``beta3`` what patches look at."""

    reads = ("image_embeds", "patch_embeds")

    def __init__(self, clip, classes, beta2: float, beta3: float):
        super().__init__(clip, classes)
        self.beta2, self.beta3 = beta2, beta3

    def logits(self, pictures: Pictures) -> Tensor:
        by_texts, by_patches = attended_logits(
            pictures.image_embeds, pictures.patch_embeds.flatten(1, 2), self.weights
        )
        extra = self.beta2 * by_texts + self.beta3 * by_patches
        return super().logits(pictures) + self.clip.logit_scale * extra


def fit(
    clip,
    pictures,
    labels,
    classes,
    seed: int = 0,
    *,
    beta2: float = 0.5,
    beta3: float = 0.5,
) -> CALIP:
    """A predictor; ``pictures``, ``labels`` and ``seed`` are unused."""
    return CALIP(clip, classes, beta2, beta3)
