"""VP: a learned frame of pixels around every picture.

Bahng et al. 2022, "Exploring Visual Prompts for Adapting Large-Scale Models",
arXiv 2203.17274.  Tuned: the numbers added to a border ``width`` pixels wide;
nothing inside the model.  Simplified: starts at zero, so at the zero-shot
classifier, in place of noise; AdamW in place of SGD with a step size of 40;
some hundred steps in place of a thousand epochs.  Added to normalised pixels, as in
the paper's code.  No feature can be cached: every step runs the image encoder.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .base import ZeroShot, tune
from .pictures import Pictures


def border(side: int, width: int) -> Tensor:
    """[side, side] bool: which pixels lie on a frame ``width`` wide.

    Raises ValueError where the frame does not fit.
    """
    if not 0 <= 2 * width <= side:
        raise ValueError(f"no frame {width} px wide fits {side} px")
    mask = torch.ones(side, side, dtype=torch.bool)
    mask[width : side - width, width : side - width] = False
    return mask


class VP(ZeroShot):
    """``delta`` [3, K] is added to the K pixels of the frame."""

    reads = ("pixel_values",)
    batch_size = 64

    def __init__(self, clip, classes, width: int):
        super().__init__(clip, classes)
        self.mask = border(clip.image_size, width)
        self.delta = nn.Parameter(torch.zeros(3, int(self.mask.sum())))

    def frame(self) -> Tensor:
        """The frame as a picture [3, S, S], zero inside."""
        frame = torch.zeros(3, *self.mask.shape)
        return frame.masked_scatter(self.mask, self.delta)

    def logits(self, pictures: Pictures) -> Tensor:
        pixel_values = pictures.pixel_values + self.frame()
        embeds = self.clip.image_features(pixel_values)
        return self.clip.logit_scale * embeds @ self.weights.T


def fit(
    clip,
    pictures,
    labels,
    classes,
    seed: int = 0,
    *,
    width: int = 8,
    steps: int = 30,
    lr: float = 3e-2,
    batch_size: int = 16,
) -> VP:
    """Tune a frame on ``pictures`` (pixels) with ``labels`` [N]."""
    learner = VP(clip, classes, width)
    return tune(learner, pictures, labels, steps, lr, batch_size, seed)
