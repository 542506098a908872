"""A detector's boxes, ranked in two ways, and all that is said of them.

How a method ranks its boxes moves average precision by more than many ideas
do, so each is judged twice: by its paper's rule, and by one for all, its
belief in the name among names times the quality of the shared proposal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..parts.boxes import pairwise_iou, without_repeats
from .boxes import Boxes, judge_boxes

ONE_PLACE = 0.5  # boxes that overlap by more stand for one thing


@dataclass(frozen=True)
class Ranking:
    """Boxes of one rule, in four ways.

    ``all``: of all names; ``alone``: only novel names were to choose from;
    ``single``: each place keeps its surest name alone; ``masks``: with their
    masks matched in place of boxes.
    """

    all: Boxes
    alone: Boxes
    single: Boxes
    masks: Boxes

    def __len__(self) -> int:
        return len(self.all)

    def scores(self, weights: np.ndarray | None = None) -> dict:
        """Those of :meth:`.boxes.Boxes.scores`, and more.

        ``U_alone`` is AP50 where only novel names compete, ``S_single`` and
        ``U_single`` AP50 where a box has one name: several names for one box
        cost nothing in average precision (OVDEval: Yao et al. 2023, arXiv
        2308.13177); ``mask_AP_U`` is U of masks.
        """
        single = self.single.scores(weights)
        return self.all.scores(weights) | {
            "U_alone": self.alone.scores(weights)["all"],
            "S_single": single["S"],
            "U_single": single["U"],
            "mask_AP_U": self.masks.scores(weights)["U"],
        }


@dataclass(frozen=True)
class Ranked:
    """A result by the paper's own rule, and by the common one."""

    own: Ranking
    common: Ranking

    def __len__(self) -> int:
        return len(self.own)

    def scores(self, weights: np.ndarray | None = None) -> dict:
        """By the paper's own rule, which claims are about."""
        return self.own.scores(weights)

    def table(self) -> dict[str, dict]:
        """By both rules: {"own": scores, "common": scores}."""
        return {"own": self.own.scores(), "common": self.common.scores()}


def single(found: Sequence[dict]) -> list[dict]:
    """Boxes that each keep their surest name: suppression across names."""
    kept = []
    for one in found:
        boxes = torch.as_tensor(one["boxes"]).reshape(-1, 4).float()
        scores = torch.as_tensor(one["scores"]).float()
        best = without_repeats(scores, pairwise_iou(boxes, boxes), ONE_PLACE) > 0
        kept.append({name: torch.as_tensor(v)[best] for name, v in one.items()})
    return kept


def rank(found, truths, alone, few, base: int, names, novel) -> Ranking:
    """Match boxes of all names, and those of novel ones alone, with the truth.

    Those of all names have "masks", too.
    """
    return Ranking(
        judge_boxes(found, truths, base, names),
        judge_boxes(alone, few, 0, novel),
        judge_boxes(single(found), truths, base, names),
        judge_boxes(found, truths, base, names, masks=True),
    )
