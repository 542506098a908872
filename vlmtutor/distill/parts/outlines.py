"""Masks of regions: small ones, drawn in a box, and how sure each pixel is."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...seeding import seeded_weights
from .box_regions import Lesson
from .regions import crop_pixels

SIDE = 14  # of a mask, in pixels


class MaskHead(nn.Module):
    """``head(bins)``: logits [..., 14, 14] of regions' ``bins`` [..., F].

    ``head.spread(bins)`` [..., 14, 14] is the logarithm of the variance that
    it expects of them; it learns from the same states, and does not teach
    them.
    """

    def __init__(self, features: int, width: int = 256, seed: int = 0):
        super().__init__()
        with seeded_weights(seed):
            self.body = nn.Sequential(nn.Linear(features, width), nn.GELU())
            self.pixels = nn.Linear(width, SIDE**2)
            self.doubt = nn.Linear(width, SIDE**2)
        nn.init.zeros_(self.doubt.weight)
        nn.init.ones_(self.doubt.bias)

    def forward(self, bins: Tensor) -> Tensor:
        return self.pixels(self.body(bins.float())).unflatten(-1, (SIDE, SIDE))

    def spread(self, bins: Tensor) -> Tensor:
        """Logarithm of the variance of logits: [..., 14, 14]."""
        states = self.body(bins.float()).detach()
        return self.doubt(states).unflatten(-1, (SIDE, SIDE))


def cut(masks: Tensor, boxes: Tensor) -> Tensor:
    """Masks bool [R, S, S] as boxes [R, 4] see them: 0 or 1, [R, 14, 14]."""
    inside = crop_pixels(masks[:, None].float(), boxes)
    return (F.adaptive_avg_pool2d(inside, SIDE)[:, 0] > 0.5).float()


def pasted(logits: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Masks [R, 14, 14] in their boxes [R, 4]: bool [R, size, size]."""
    steps = torch.arange(size) + 0.5
    low, sides = boxes[:, :2], (boxes[:, 2:] - boxes[:, :2]).clamp(min=1e-3)
    place = 2 * (steps[:, None] - low[:, None]) / sides[:, None] - 1  # [R, size, 2]
    shape = len(boxes), size, size
    x, y = place[:, None, :, 0].expand(shape), place[:, :, None, 1].expand(shape)
    grid = torch.stack([x, y], -1)
    drawn = F.grid_sample(
        logits[:, None], grid, padding_mode="border", align_corners=False
    )
    return (drawn[:, 0] > 0) & (grid.abs() < 1).all(-1)


def outlined(lesson: Lesson, masks: Tensor, names: int) -> tuple[Lesson, Tensor]:
    """A lesson's regions of things, and their masks [R, 14, 14].

    ``masks`` bool [M, S, S]: of all boxes, counted one by one.
    """
    things = lesson[lesson.labels < names]
    return things, cut(masks[things.owner], things.boxes)


def mask_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Yes or no of each pixel of masks [R, 14, 14], their mean."""
    return F.binary_cross_entropy_with_logits(logits, targets)


def noisy_logits(masks: MaskHead, bins: Tensor, rng: torch.Generator):
    """Logits [R, 14, 14] with the noise that is expected of them, and its size.

    ``bins`` [R, F]; the size is the standard deviation of each pixel.
    """
    sigma = (masks.spread(bins) / 2).exp()
    noise = torch.randn(sigma.shape, generator=rng)
    return masks(bins) + sigma * noise, sigma
