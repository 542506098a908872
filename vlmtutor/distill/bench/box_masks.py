"""A mask for each box, so that detectors can be read beside segmenters.

The same for all methods: the regions of the mask bench's shared proposer,
which knows masks of base classes alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..parts.boxes import pairwise_iou
from ..parts.proposals import propose
from ..parts.proposer import shared_proposer
from ..parts.regions import mask_boxes
from ..pictures import DensePictures, once
from ..supervision import Regions

NEAR = 0.3  # overlap from which on a region is a box's
REGIONS = 16  # of a picture


def region_masks(bench, pictures: DensePictures) -> Tensor:
    """The shared proposer's regions of the test pictures: bool [N, Q, S, S]."""

    def make() -> Tensor:
        data, seed = bench.data(Regions), bench.protocol.seed
        key = "mask proposer"
        found = once(bench, key, lambda: shared_proposer(bench.clip, data, seed))
        return propose(found, pictures, REGIONS).binary

    return once(pictures, "masks of boxes", make)


def in_box(boxes: Tensor, size: int) -> Tensor:
    """Boxes [n, 4] filled, as masks: bool [n, S, S]."""
    steps = torch.arange(size) + 0.5
    x0, y0, x1, y1 = boxes[:, :, None].unbind(1)  # [n, 1]
    across, down = (steps > x0) & (steps < x1), (steps > y0) & (steps < y1)
    return down[:, :, None] & across[:, None]


def with_masks(found: Sequence[dict], masks: Tensor) -> list[dict]:
    """Boxes of N pictures with "masks": of ``masks`` [N, Q, S, S] the region
    that fits a box best, cut to it, or the whole box where none is near.

    A method that draws masks of its own keeps them.
    """
    size, answers = masks.shape[-1], []
    for one, own in zip(found, masks, strict=True):
        if "masks" in one:
            answers.append(one)
            continue
        boxes = torch.as_tensor(one["boxes"]).reshape(-1, 4).float()
        around, empty = mask_boxes(own)
        overlap, best = (pairwise_iou(boxes, around) * ~empty).max(1)
        filled = in_box(boxes, size)
        shown = torch.where(
            (overlap >= NEAR)[:, None, None], own[best] & filled, filled
        )
        answers.append({**one, "masks": shown})
    return answers
