"""Random views of pictures: moved, zoomed, mirrored, recoloured, turned.

A view changes what a picture looks like and not what it shows.  Training
with labels sees more of a few pictures that way.  Training without labels
asks about the views themselves: which two belong together (SimCLR: Chen et
al. 2020, arXiv 2002.05709), or how far one was turned (Gidaris et al. 2018,
arXiv 1803.07728).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def crops(
    pixel_values: Tensor,
    generator: torch.Generator,
    least: float = 0.6,
    turn: float = 0.2,
) -> Tensor:
    """Random squares of the pictures, half of them mirrored: same shape.

    ``pixel_values`` [B, 3, S, S].  A square's side is a share of the picture
    between ``least`` and 1, and it is turned by up to ``turn`` radians; where
    a corner leaves the picture, the border's pixels go on.
    """
    B = len(pixel_values)
    if not B:
        return pixel_values
    draw = torch.rand(5, B, generator=generator)
    side = least + (1 - least) * draw[0]
    angle = turn * (2 * draw[1] - 1)
    mirror = torch.where(draw[2] < 0.5, -1.0, 1.0)
    # what the square leaves free of the picture is how far it can move
    across, down = (1 - side) * (2 * draw[3:] - 1)
    cos, sin = side * angle.cos(), side * angle.sin()
    first = torch.stack([mirror * cos, -sin, across], dim=1)
    second = torch.stack([mirror * sin, cos, down], dim=1)
    places = F.affine_grid(
        torch.stack([first, second], dim=1),  # [B, 2, 3]
        list(pixel_values.shape),
        align_corners=False,
    )
    return F.grid_sample(
        pixel_values, places, padding_mode="border", align_corners=False
    )


def recolor(
    pixel_values: Tensor, generator: torch.Generator, strength: float = 0.4
) -> Tensor:
    """Each colour channel of each picture stretched and shifted at random.

    ``pixel_values`` [B, 3, S, S] from -1 to 1; ``strength`` 0 changes
    nothing.  Values may leave the range, as they do under a strange lamp.
    """
    B = len(pixel_values)
    draw = 2 * torch.rand(2, B, 3, 1, 1, generator=generator) - 1
    return pixel_values * (1 + strength * draw[0]) + strength * draw[1]


def quarter_turns(
    pixel_values: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Pictures turned by 0 to 3 right angles, and by how many: [B].

    Counted anticlockwise, as ``torch.rot90`` does.
    """
    B = len(pixel_values)
    turns = torch.randint(4, (B,), generator=generator)
    turned = torch.empty_like(pixel_values)
    for k in range(4):
        turned[turns == k] = pixel_values[turns == k].rot90(k, (2, 3))
    return turned, turns
