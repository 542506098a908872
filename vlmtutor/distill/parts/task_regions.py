"""What three tasks call a region, and which query is to draw it.

For one network that does semantic, instance and panoptic segmentation
(FreeSeg, Qin et al. 2023, arXiv 2303.17225): its tasks differ in what is to be
found, and the background is one region, with a query of its own.
"""

from __future__ import annotations

from torch import Tensor

from ..supervision import IGNORE, Masked
from .matching import Outputs, match, matching_costs
from .regions import instance_masks, region_labels

MOST = 5  # regions of a picture: four stickers and, last, the background
NEVER = 1e4  # the cost of a pair that must not be


def task_regions(data: Masked, task: str) -> tuple[Tensor, Tensor]:
    """What is to be found: masks [N, R, S, S], and labels [N, R].

    semantic: a region a name, its stickers together, and the background
    (label C); instance: a region a sticker; panoptic: the same, and the
    background.  The background is the last region.
    """
    masks = instance_masks(data.regions, MOST)
    labels = region_labels(data.labels, masks)
    labels = labels.masked_fill(labels > len(data.names), IGNORE)
    if task == "semantic":
        for r in range(1, MOST):
            for earlier in range(r):
                same = (labels[:, r] == labels[:, earlier]) & (labels[:, r] != IGNORE)
                masks[same, earlier] |= masks[same, r]
                masks[same, r] = False
                labels[same, r] = IGNORE
    if task != "instance":
        masks[:, -1] = data.labels == len(data.names)
        labels[:, -1] = len(data.names)
    return masks, labels


def pairs_of(outputs: Outputs, masks: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Stickers to the queries of places, the background to its own.

    ``masks`` [N, R, h, w], the background last where there is one.
    """
    costs = matching_costs(outputs, masks)
    exists = masks.flatten(2).any(2)
    if exists[:, -1].any():
        costs[:, :-1, -1] = costs[:, -1, :-1] = NEVER
    return match(costs, exists)
