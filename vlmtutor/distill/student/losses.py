"""What a student can imitate of a CLIP: vectors, answers, relations, pairs.

All embeddings are L2-normalised: ``student`` and ``teacher`` [B, D] of the
same pictures, ``texts`` [M, D] of the teacher's text tower.  CLIP-KD compares
such losses: Yang et al. 2023, arXiv 2307.12732.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def feature_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """The mean squared distance of two vectors [B, D]: 2 - 2 cos."""
    return (student - teacher).square().sum(dim=1).mean()


def logit_loss(student: Tensor, teacher: Tensor, texts: Tensor, scale: float) -> Tensor:
    """KL from the teacher's shares over ``texts`` [M, D] to the student's.

    With the names of classes as texts it is Hinton's distillation (Hinton et
    al. 2015, arXiv 1503.02531); :func:`affinity_loss` asks captions, and these
    ask back.
    """
    own = (scale * student @ texts.T).log_softmax(dim=1)
    theirs = (scale * teacher @ texts.T).log_softmax(dim=1)
    return F.kl_div(own, theirs, reduction="batchmean", log_target=True)


def affinity_loss(
    student: Tensor, teacher: Tensor, texts: Tensor, scale: float
) -> Tensor:
    """How the batch's pictures and captions answer to each other, both ways.

    ``texts`` [B, D] are the captions of the pictures.  KL from the teacher's
    shares to the student's: of captions for each picture, and of pictures for
    each caption, their mean.  CLIP-KD's contrastive relational distillation
    (Yang et al. 2023, arXiv 2307.12732), TinyCLIP's affinity mimicking (Wu et
    al. 2023, arXiv 2309.12314); student and teacher share the text encoder.
    """
    own, theirs = scale * student @ texts.T, scale * teacher @ texts.T  # [B, B]
    ways = [
        F.kl_div(
            a.log_softmax(1), b.log_softmax(1), reduction="batchmean", log_target=True
        )
        for a, b in ((own, theirs), (own.T, theirs.T))
    ]
    return sum(ways) / 2


def relation_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """How far the cosines between pictures [B, B] differ, squared.

    Relational distillation: not where a picture lies counts, but how it lies to
    the others, so that any rotation of the student's space is as good.  Park et
    al. 2019 (arXiv 1904.05068) compare distances and angles; cosines are
    simpler.  Mean over pairs of two pictures.
    """
    gap = student @ student.T - teacher @ teacher.T
    others = ~torch.eye(len(gap), dtype=torch.bool)
    return gap[others].square().mean()


def contrast_loss(
    student: Tensor, texts: Tensor, scale: float, ignore: Tensor | None = None
) -> Tensor:
    """CLIP's loss of the student's pictures and the teacher's own texts.

    ``texts`` [B, D] are captions of the pictures; ``ignore`` [B, B] as in
    :func:`vlmtutor.objectives.contrastive.clip_loss`.  The teacher's picture
    tower is not asked: interactive contrastive learning of CLIP-KD.
    """
    from ...objectives.contrastive import clip_loss

    return clip_loss(student, texts, scale, ignore)
