"""DualCoOp: two prompts a class, one for "there" and one for "not there".

Sun et al. 2022, "DualCoOp: Fast Adaptation to Multi-Label Recognition with
Limited Annotations", arXiv 2206.09541.  Tuned: a positive and a negative
context, shared by all classes.  Each patch is compared with both prompts of a
class; the patches that answer to the positive one decide, for both.  Unknown
labels are left out of the loss.  The paper's two scales, 20 for where to look
and 5 for the answer, multiply to the logit scale of its CLIP, 100; here too
they multiply to the model's own.  Simplified: the positive context starts from
words, the negative from words or at random, where the authors start both in one
way, by default with 16 random vectors each; AdamW; cached patch features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .base import Learner, tune
from .multi_label import asymmetric_loss
from .pictures import Pictures
from .prompts import encode_prompts, prompt_tokens, start_context

POSITIVE, NEGATIVE = "a picture of a", "a picture without a"
SPATIAL_SCALE = 20.0


def region_logits(
    patch_embeds: Tensor, positive: Tensor, negative: Tensor, logit_scale: float
) -> Tensor:
    """[N, T, D] and two prompts a class [C, D] → [N, 2, C]: negative first.

    Both are pooled over the patches that look like the positive prompt.  Where
    there is one patch, they are ``logit_scale`` times its cosines.
    """
    yes = SPATIAL_SCALE * patch_embeds @ positive.T  # [N, T, C]
    no = SPATIAL_SCALE * patch_embeds @ negative.T
    where = yes.softmax(dim=1)
    pair = [(where * scores).sum(1) for scores in (no, yes)]
    return logit_scale / SPATIAL_SCALE * torch.stack(pair, dim=1)


class DualCoOp(Learner):
    """``logits`` are those of a yes-or-no question: positive - negative.

    ``negative`` None starts the negative context from 16 random vectors.
    """

    reads = ("patch_embeds",)
    multi_label = True

    def __init__(self, clip, classes, negative: str | None = NEGATIVE, seed: int = 0):
        starts = [
            start_context(clip, POSITIVE),
            start_context(clip, negative, 16, 2 * seed + 1),
        ]
        self.lengths = [len(start) for start in starts]
        super().__init__(clip, classes)
        self.positive, self.negative = map(nn.Parameter, starts)

    def set_classes(self, classes: list[str]) -> None:
        super().set_classes(classes)
        self.tokens = [
            prompt_tokens(self.clip, classes, length) for length in self.lengths
        ]

    def pair_logits(self, pictures: Pictures) -> Tensor:
        """[N, 2, C]: negative and positive, a two-way softmax per class."""
        positive, negative = (
            encode_prompts(self.clip, tokens, context)
            for tokens, context in zip(
                self.tokens, (self.positive, self.negative), strict=True
            )
        )
        patches = pictures.patch_embeds.flatten(1, 2)  # [N, T, D]
        return region_logits(patches, positive, negative, self.clip.logit_scale)

    def logits(self, pictures: Pictures) -> Tensor:
        pair = self.pair_logits(pictures)
        return pair[:, 1] - pair[:, 0]


def fit(
    clip,
    pictures,
    labels,
    classes,
    seed: int = 0,
    *,
    negative: str | None = NEGATIVE,
    steps: int = 100,
    lr: float = 3e-4,
    batch_size: int = 32,
) -> DualCoOp:
    """Tune on ``pictures`` with ``labels`` [N, C]: 1, 0, or -1 unknown."""
    learner = DualCoOp(clip, classes, negative, seed)

    def loss(batch: Pictures, y: Tensor) -> Tensor:
        return asymmetric_loss(learner.logits(batch), y)

    return tune(learner, pictures, labels, steps, lr, batch_size, seed, loss=loss)
