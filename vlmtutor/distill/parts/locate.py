"""Where in a picture is what its label says?  A map of words, and boxes.

Grad-CAM of "every <name>" stands in for the boxes that a detector driven by
texts would give (MAVL in Rasheed et al. 2022, arXiv 2207.03482).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..pictures import batched, taps
from ..supervision import Tagged
from .box_proposer import timed_once
from .box_regions import shared_regions
from .box_teacher import patches_inside
from .explain import grad_cam, min_max


def located(cam: Tensor, boxes: Tensor, quality: Tensor, size: int) -> Tensor:
    """The box that suits maps [P, T] best, of boxes [P, K, 4]: places [P].

    By what a map has inside over the root of the box's patches; boxes of
    ``quality`` [P, K] 0 do not count.
    """
    inside = patches_inside(boxes, size, round(cam.shape[1] ** 0.5)).float()
    suits = torch.einsum("pt,pkt->pk", min_max(cam), inside)
    suits = suits / inside.sum(-1).clamp(min=1).sqrt()
    return suits.masked_fill(quality <= 0, -1).argmax(-1)


def labelled(clip, data: Tagged, proposer) -> tuple[tuple[Tensor, Tensor], float]:
    """A box's bins [P, F] for each label of the pictures, and the labels [P].

    Made once, with the seconds it took.
    """

    def make() -> tuple[Tensor, Tensor]:
        found = shared_regions(proposer, data.pictures)
        size, layer = data.pictures.images.shape[1], taps(clip)[-1]
        texts = clip.encode_texts([f"every {name}" for name in data.names])
        picture, labels = data.tags.nonzero(as_tuple=True)
        bins = []
        for rows in batched(len(picture), 32):
            own, wanted = picture[rows], texts[labels[rows]]
            hidden = data.pictures[own].hidden(layer)
            cam = grad_cam(clip, hidden, lambda E, w=wanted: (E * w).sum(-1))
            best = located(cam, found.boxes[own], found.quality[own], size)
            bins.append(found.bins[own, best])
        return torch.cat(bins), labels

    return timed_once(data.pictures, ("located", proposer), make)
