"""What a detector's boxes would be worth, were one thing about them right.

Names, boxes or the order are mended with the truth, each alone: where most is
gained, most is still wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..parts.boxes import pairwise_iou
from .boxes import judge_boxes

NEAR = 0.1  # overlap from which on a box belongs to a thing
HIT = 0.5  # overlap from which on it finds it


def oracles(
    found: Sequence[dict], truths: Sequence[dict], base: int, names: Sequence[str]
) -> dict[str, dict[str, float]]:
    """S, U and h (AP50) with true names, with true boxes, in the true order.

    Boxes and truth as :func:`.boxes.judge_boxes` takes them.
    """
    mends = {"true names": _names, "true boxes": _boxes, "true order": _order}
    scores = {}
    for title, mend in mends.items():
        pairs = zip(found, truths, strict=True)
        mended = [mend(*_tensors(one, truth)) for one, truth in pairs]
        result = judge_boxes(mended, truths, base, names).scores()
        scores[title] = {k: result[k] for k in ("S", "U", "h")}
    return scores


def _tensors(one: dict, truth: dict) -> tuple[dict, Tensor, Tensor, Tensor]:
    """Boxes as tensors; the thing that each overlaps most, and by how much."""
    boxes = torch.as_tensor(one["boxes"]).reshape(-1, 4).float()
    labels, scores = (torch.as_tensor(one[k]) for k in ("labels", "scores"))
    found = {"boxes": boxes, "labels": labels.long(), "scores": scores.float()}
    things = torch.as_tensor(truth["boxes"]).reshape(-1, 4).float()
    kinds = torch.as_tensor(truth["labels"]).long()
    if not len(things):
        things, kinds = torch.zeros(1, 4), torch.zeros(1, dtype=torch.long)
    return found, things, kinds, pairwise_iou(boxes, things)


def _names(found: dict, things: Tensor, kinds: Tensor, overlap: Tensor) -> dict:
    most, best = overlap.max(1)
    labels = torch.where(most >= NEAR, kinds[best], found["labels"])
    return {**found, "labels": labels}


def _boxes(found: dict, things: Tensor, kinds: Tensor, overlap: Tensor) -> dict:
    most, best = overlap.max(1)
    near = (most >= NEAR)[:, None]
    return {**found, "boxes": torch.where(near, things[best], found["boxes"])}


def _order(found: dict, things: Tensor, kinds: Tensor, overlap: Tensor) -> dict:
    right = overlap * (kinds == found["labels"][:, None])
    scores = found["scores"] / (1 + found["scores"])  # below 1, in their order
    return {**found, "scores": scores + (right.amax(1) >= HIT)}
