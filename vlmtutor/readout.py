"""Maps and boxes out of a frozen CLIP's patches, without training.

Naming each patch by its own embedding is MaskCLIP's read-out (Zhou et al.
2022, arXiv 2112.01071).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor


def label_maps(
    features: Tensor, classifier: Tensor, size: int, scale: float = 1.0
) -> tuple[Tensor, Tensor]:
    """The likeliest class of every pixel, and its probability.

    ``features`` [N, h, w, D] and ``classifier`` [C, D] are L2-normalised.
    Cosines are brought from patches to ``size`` × ``size`` pixels by bilinear
    interpolation; ``scale`` multiplies them before the softmax.  Returns
    labels [N, size, size] and confidence of the same shape.
    """
    labels, confidence = [], []
    for patches in features:  # one at a time: C maps of pixels are large
        cosines = (patches @ classifier.T).permute(2, 0, 1)  # [C, h, w]
        cosines = F.interpolate(cosines[None], size=(size, size), mode="bilinear")[0]
        likeliest = (scale * cosines).softmax(dim=0).max(dim=0)
        labels.append(likeliest.indices)
        confidence.append(likeliest.values)
    return torch.stack(labels), torch.stack(confidence)


def find_boxes(
    labels: Tensor, confidence: Tensor, background: int, least: int = 40
) -> dict[str, np.ndarray]:
    """Boxes around the connected areas of a label map [H, W].

    Areas of one class that touch only at a corner are two.  Areas below
    ``least`` pixels and labels from ``background`` on give no box.  Returns
    "boxes" [n, 4] (x0, y0, x1, y1), "labels" [n] and "scores" [n], the mean
    of ``confidence`` [H, W] over the area: what
    :func:`vlmtutor.metrics.average_precision` takes.
    """
    labels = np.asarray(labels)
    confidence = np.asarray(confidence)
    boxes, kinds, scores = [], [], []
    for kind in np.unique(labels[labels < background]):
        areas, _ = ndimage.label(labels == kind)
        for k, place in enumerate(ndimage.find_objects(areas), start=1):
            inside = areas[place] == k
            if inside.sum() < least:
                continue
            rows, columns = place
            boxes.append((columns.start, rows.start, columns.stop, rows.stop))
            kinds.append(int(kind))
            scores.append(float(confidence[place][inside].mean()))
    return {
        "boxes": np.array(boxes, float).reshape(-1, 4),
        "labels": np.array(kinds, int),
        "scores": np.array(scores, float),
    }
