"""UPL: a prompt from pictures that nobody labelled.

Huang et al. 2022, "Unsupervised Prompt Learning for Vision-Language Models",
arXiv 2204.03649.  Zero-shot CLIP names unlabelled pictures; of each name the
``k`` pictures that it is surest of keep it as a pseudo-label; on these a
context is tuned as CoOp's is.  Simplified: one CLIP names and one prompt is
tuned, where the paper has ensembles of both.

Taking equally many pictures of each name also takes out CLIP's liking for some
names.  :class:`Unbiased` does that alone, and tunes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from . import coop
from .base import HAND_PROMPT, ZeroShot
from .pictures import Pictures

SURE = 8  # pictures a name


class Unbiased(ZeroShot):
    """Zero-shot less each name's mean logit over unlabelled pictures.

    A name that fits everything a little no longer wins for that: a crude
    match of the prior over names to an even one, as Liusie et al. 2023, arXiv
    2309.04992, do for texts.
    """

    def __init__(
        self,
        clip,
        classes: Sequence[str],
        unlabelled,
        templates: Sequence[str] = (HAND_PROMPT,),
    ):
        self.unlabelled = Pictures.of(clip, unlabelled)
        super().__init__(clip, classes, templates)

    def set_classes(self, classes: list[str]) -> None:
        super().set_classes(classes)
        self.mean = super().logits(self.unlabelled).mean(0)  # [C]

    def logits(self, pictures: Pictures) -> Tensor:
        return super().logits(pictures) - self.mean


def pseudo_labels(logits: Tensor, k: int = SURE) -> tuple[Tensor, Tensor]:
    """Which pictures to learn from, and as what: rows [M], labels [M].

    ``logits`` [N, C].  A picture's label is its best name; of each name the
    ``k`` with the highest probability stay, fewer where there are not as many.
    """
    sure, label = logits.softmax(1).max(1)
    order = sure.argsort(descending=True, stable=True)
    own = [order[label[order] == c][:k] for c in range(logits.shape[1])]
    rows = torch.cat(own)
    return rows, label[rows]


def fit(
    clip,
    pictures,
    labels,
    classes,
    seed: int = 0,
    *,
    k: int = SURE,
    oracle: bool = False,
    **options,
) -> coop.CoOp:
    """Tune a context on the pictures that zero-shot CLIP is surest of.

    ``labels`` [N] are looked at only by the ``oracle``, which has the same
    pictures with their true labels; ``options`` are those of CoOp.
    """
    pictures = Pictures.of(clip, pictures)
    rows, pseudo = pseudo_labels(ZeroShot(clip, classes, [HAND_PROMPT])(pictures), k)
    taught = torch.as_tensor(labels)[rows] if oracle else pseudo
    return coop.fit(clip, pictures[rows], taught, classes, seed, **options)
