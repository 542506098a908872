"""Random views of pictures: moved, zoomed, mirrored, recoloured, turned.

A view changes what a picture looks like and not what it shows.  Training
with labels sees more of a few pictures that way.  Training without labels
asks about the views themselves: which two belong together (SimCLR: Chen et
al. 2020, arXiv 2002.05709), or how far one was turned (Gidaris et al. 2018,
arXiv 1803.07728).
"""

from __future__ import annotations

import math

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
    a corner leaves the picture, the border's pixels go on.  Raises ValueError
    for a ``least`` that is no such share and a ``turn`` of more than a half.
    """
    _look_at(pixel_values)
    if not 0 < least <= 1:
        raise ValueError(f"least is a share of the side, above 0 to 1, not {least}")
    if not 0 <= turn <= math.pi:
        raise ValueError(
            f"turn is in radians, 0 to pi, not {turn}: 15 degrees are 0.26"
        )
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
    Raises ValueError for a ``strength`` that is no share.
    """
    _look_at(pixel_values)
    if not 0 <= strength <= 1:
        raise ValueError(f"strength is from 0 to 1, not {strength}: 30 % is 0.3")
    B = len(pixel_values)
    draw = 2 * torch.rand(2, B, 3, 1, 1, generator=generator) - 1
    return pixel_values * (1 + strength * draw[0]) + strength * draw[1]


def quarter_turns(
    pixel_values: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Pictures turned by 0 to 3 right angles, and by how many: [B].

    Counted anticlockwise, as ``torch.rot90`` does.  Bytes will do.
    """
    _look_at(pixel_values, bytes_will_do=True)
    B = len(pixel_values)
    turns = torch.randint(4, (B,), generator=generator)
    turned = torch.empty_like(pixel_values)
    for k in range(4):
        turned[turns == k] = pixel_values[turns == k].rot90(k, (2, 3))
    return turned, turns


def _look_at(pixel_values: Tensor, bytes_will_do: bool = False) -> None:
    """Raise for what is no batch of square pictures, from -1 to 1."""
    if not (bytes_will_do or pixel_values.is_floating_point()):
        raise TypeError("a view takes pixel_values from -1 to 1: normalize bytes first")
    shape = list(pixel_values.shape)
    if len(shape) != 4 or shape[2] != shape[3]:
        raise ValueError(f"pixel_values are [B, 3, S, S], got {shape}; one is x[None]")
