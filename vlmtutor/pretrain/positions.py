"""Positions of a part of a picture, so that parts are no strangers.

RO-ViT's cropped positional embedding (Kim et al. 2023, "Region-Aware Pretraining
for Open-Vocabulary Object Detection with Vision Transformers", arXiv 2305.07011).
A detector reads regions; a CLIP has only ever seen whole pictures.  While
training, each picture is taken for a part of a larger one that nobody sees: its
patches get the positions that they would have there, between those that are
learned.  When the model is used they stand where they are.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..seeding import generator
from .config import PretrainConfig
from .data import Batch, Mosaics
from .spread import Spread

AREA = (0.1, 1.0)  # of the part, as a share
RATIO = (0.5, 2.0)  # of its sides


def draw_crops(n: int, rng: torch.Generator) -> Tensor:
    """A part (x0, y0, x1, y1) of the unit square for each of n pictures: [n, 4]."""
    luck = torch.rand(4, n, generator=rng)
    area = AREA[0] + (AREA[1] - AREA[0]) * luck[0]
    ratio = RATIO[0] * (RATIO[1] / RATIO[0]) ** luck[1]
    sides = torch.stack([(area * ratio).sqrt(), (area / ratio).sqrt()], -1)
    sides = sides.clamp(max=1)
    low = luck[2:].T * (1 - sides)
    return torch.cat([low, low + sides], -1)


def step_crops(
    config: PretrainConfig,
    step: int,
    spread: Spread,
    batch: Batch,
    mosaics: Mosaics | None = None,
) -> Tensor | None:
    """The parts of a step's own pictures and mosaics, or None: whole ones."""
    if config.positions == "whole":
        return None
    n = len(batch.pixels) + (0 if mosaics is None else len(mosaics.pixels))
    seed = (config.seed * 10**9 + step) * spread.size + spread.rank
    return draw_crops(n, generator(seed)).to(batch.pixels.device)


def cropped_positions(table: Tensor, crops: Tensor) -> Tensor:
    """Learned positions [1 + T, W], read inside ``crops`` [n, 4]: [n, 1 + T, W].

    Between them they are interpolated.  The class token keeps its own; the
    whole square gives the table itself.
    """
    side = round((len(table) - 1) ** 0.5)
    grid = table[1:].T.unflatten(1, (side, side)).expand(len(crops), -1, -1, -1)
    steps = (torch.arange(side, device=table.device) + 0.5) / side
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    inside = torch.stack([x, y], -1)  # [g, g, 2]
    low, high = crops[:, None, None, :2], crops[:, None, None, 2:]
    points = 2 * (low + inside * (high - low)) - 1
    how = {"padding_mode": "border", "align_corners": False}
    found = F.grid_sample(grid, points.to(table.dtype), **how).flatten(2)
    first = table[:1].expand(len(crops), -1, -1)
    return torch.cat([first, found.transpose(1, 2)], 1)
