"""Solutions to the exercises of 15_det_borrow_the_teacher."""

import torch

from vlmtutor.distill.parts import boxes as geometry


def keep_boxes(boxes, scores, limit):
    """Boxes [n, 4], scores [n] → numbers kept, the surest first: a list.

    A box is compared with those that are kept, not with all surer ones: what
    was dropped may not drop others.
    """
    kept = []
    for k in scores.argsort(descending=True).tolist():
        if all(geometry.iou(boxes[k], boxes[j]) <= limit for j in kept):
            kept.append(k)
    return kept


def average(hits, things):
    """0 or 1 for each box, a tensor [n], and a number → AP, a float.

    From the right, the running maximum of precision is the best from here on;
    each hit adds one thing's share of it.
    """
    precision = hits.cumsum(0) / torch.arange(1, len(hits) + 1)
    best = precision.flip(0).cummax(0).values.flip(0)
    return float((best * hits).sum() / things)
