"""Detectors that ask of each name alone whether it is there.

A yes-or-no loss needs no column for the background, and a name that nobody
speaks of in a picture can be left out of it: so that labels of boxes, of
pictures and of sentences train one head.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..supervision import Boxed
from .box_head import STEPS, RegionDetector, RegionHead, box_loss, fit_regions
from .box_proposer import timed_once
from .box_regions import BoxRegions, Lesson, lesson_of, timed_regions
from .one_stage import cosines
from .texts import text_classifier

SCALE = 0.5  # of cosines, as a share of CLIP's own: 50 of 100 in the papers


def yes_no(logits: Tensor, labels: Tensor) -> Tensor:
    """What R regions pay, the sum over names: logits [R, C], labels [R] → [R].

    A label of C is none of the names.
    """
    target = F.one_hot(labels, logits.shape[1] + 1)[:, :-1]
    return F.binary_cross_entropy_with_logits(
        logits, target.to(logits.dtype), reduction="none"
    ).sum(-1)


def boxed_loss(head: RegionHead, part: Lesson, texts: Tensor, scale: float) -> Tensor:
    """What regions of boxed pictures pay for names ``texts`` [C, D] and boxes."""
    vectors, shifts = head(part.bins, part.pooled)
    named = yes_no(scale * cosines(vectors, texts), part.labels).mean()
    return named + box_loss(shifts, part, len(texts))


def shared_start(
    clip, data: Boxed, seed: int = 0, kind: str = "oln"
) -> tuple[RegionHead, float]:
    """A head that learned base boxes alone, made once, and the seconds it took.

    Who goes on with it makes a copy.
    """

    def make() -> RegionHead:
        _, lesson = lesson_of(clip, data, seed, kind)
        head = RegionHead(lesson.bins.shape[1], clip.embed_dim, seed=seed)
        texts, scale = text_classifier(clip, data.names), SCALE * clip.logit_scale
        fit_regions(
            head.parameters(),
            lesson,
            lambda part, rows: boxed_loss(head, part, texts, scale),
            steps=STEPS,
            seed=seed,
        )
        return head.requires_grad_(False)

    return timed_once(data.pictures, ("start", seed, kind), make)


def prepare_start(clip, data: tuple, lesson, seed: int = 0) -> float:
    """Make what methods on the shared start use too; the seconds that it took.

    ``data``: boxed pictures, and those with names or sentences.
    """
    boxed, told = data
    proposer, _ = lesson_of(clip, boxed, seed)
    regions = timed_regions(proposer, told.pictures)[1]
    return regions + shared_start(clip, boxed, seed)[1]


def largest(found: BoxRegions) -> Tensor:
    """The place of the largest box of each picture: [N]."""
    area = (found.boxes[..., 2:] - found.boxes[..., :2]).prod(-1)
    return area.masked_fill(found.quality <= 0, -1).argmax(1)


@dataclass(frozen=True, kw_only=True)
class YesNoDetector(RegionDetector):
    """Its own rule is the chance of a yes; nothing is asked of the proposal."""

    scale: float
    bias: float = 0.0

    def opinions(self, found, pictures, names, seen):
        vectors = self.head(found.bins, found.pooled)[0]
        logits = self.scale * cosines(vectors, self.texts(names)) + self.bias
        return logits.sigmoid(), logits.softmax(-1)

    def texts(self, names: list[str]) -> Tensor:
        """The names' vectors: [C, D]."""
        return text_classifier(self.clip, names)


def tagged_rows(tags: Tensor) -> Tensor:
    """Pictures that show any of the names, of ``tags`` bool [N, C]: [n]."""
    return tags.any(1).nonzero()[:, 0]


def drawn(rows: Tensor, most: int, rng: torch.Generator) -> Tensor:
    """``most`` of the ``rows`` [n], drawn with replacement: [most]."""
    return rows[torch.randint(len(rows), (most,), generator=rng)]
