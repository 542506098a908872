"""A small picture encoder that learns from unlabelled pictures alone.

Two views of a picture, moved and recoloured, show the same places; a patch of
one must find its own place in the other among all patches of the batch.  That
is dense contrastive learning (Wang et al. 2021, "Dense Contrastive Learning
for Self-Supervised Visual Pre-Training", arXiv 2011.09157), with places that
are known to correspond in place of matched ones, and without a momentum
encoder.  No text, no label and no CLIP is involved.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...models.inside import as_tokens
from ...seeding import generator, seeded_weights
from ...training import descend
from ..pictures import DensePictures

STEPS = 300
SHARP = 0.1  # temperature of the contrast
PLACES = 12  # of each picture that are compared in a step
TINT, GRAIN = 0.15, 0.1  # how far views differ in colour, in standard units


class ArchiveEncoder(nn.Module):
    """Pictures [N, 3, S, S] → a unit vector a patch: [N, g · g, width]."""

    def __init__(self, patch: int, width: int = 64, seed: int = 0):
        super().__init__()
        self.patch = patch
        with seeded_weights(seed):
            self.layers = nn.Sequential(
                nn.Conv2d(3, width // 2, 4, stride=4),
                nn.GroupNorm(8, width // 2),
                nn.GELU(),
                nn.Conv2d(width // 2, width, 3, padding=1),
                nn.GroupNorm(8, width),
                nn.GELU(),
                nn.Conv2d(width, width, 3, padding=1),
            )

    def forward(self, pixel_values: Tensor) -> Tensor:
        side = pixel_values.shape[-1] // self.patch
        patches = F.adaptive_avg_pool2d(self.layers(pixel_values), side)
        return F.normalize(as_tokens(patches), dim=-1)


def two_views(
    pixel_values: Tensor, patch: int, rng: torch.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two windows of each picture, and the places that both of them show.

    ``pixel_values`` [N, 3, S, S] → windows [N, 3, s, s] twice, the second
    mirrored, and the numbers of common patches in each: [P], [P].
    """
    side = pixel_values.shape[-1] // patch
    spare = max(1, side // 6)
    kept = side - spare
    corners = torch.randint(spare + 1, (2, 2), generator=rng)  # of both: y, x
    views = []
    for y, x in (corners * patch).tolist():
        size = kept * patch
        window = pixel_values[..., y : y + size, x : x + size]
        shape = (len(window), 3, 1, 1)
        tint = TINT * torch.randn((2, *shape), generator=rng)
        grain = GRAIN * torch.randn(window.shape, generator=rng)
        views.append(window * tint[0].exp() + tint[1] + grain)
    low, high = corners.amax(0), corners.amin(0) + kept
    rows, columns = (torch.arange(a, b) for a, b in zip(low, high, strict=True))
    y, x = (t.flatten() for t in torch.meshgrid(rows, columns, indexing="ij"))
    first, second = ((y - cy) * kept + x - cx for cy, cx in corners.tolist())
    mirrored = second - 2 * (second % kept) + kept - 1
    return views[0], views[1].flip(-1), first, mirrored


def agreement(
    net: ArchiveEncoder, pixel_values: Tensor, rng: torch.Generator
) -> Tensor:
    """How hard it is to find places [N, 3, S, S] again: a cross-entropy."""
    a, b, first, second = two_views(pixel_values, net.patch, rng)
    some = torch.randperm(len(first), generator=rng)[:PLACES]
    one, other = (
        net(view)[:, rows[some]].flatten(0, 1)
        for view, rows in ((a, first), (b, second))
    )
    return F.cross_entropy(one @ other.T / SHARP, torch.arange(len(one)))


def train_encoder(
    pictures: DensePictures, seed: int = 0, steps: int = STEPS
) -> ArchiveEncoder:
    """An encoder of the patches of CLIP's size, trained on ``pictures``."""
    patch = pictures.clip.model.config.vision_config.patch_size
    net, rng = ArchiveEncoder(patch, seed=seed), generator(seed)
    pixels = pictures.pixel_values

    def loss(step: int, rows: Tensor) -> Tensor:
        return agreement(net, pixels[rows], rng)

    descend(net.parameters(), loss, len(pixels), steps=steps, lr=3e-3, seed=seed)
    return net.requires_grad_(False)
