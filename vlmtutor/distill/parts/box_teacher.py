"""What CLIP makes of boxes: from crops, or with a query that sees them alone."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.inside import (
    attention_weights,
    first_state,
    read_out,
    run_block,
    vision_blocks,
)
from ...objectives.alignment import patch_cover
from ..pictures import DensePictures, once, taps
from ..supervision import Boxed
from .box_regions import BoxRegions, Lesson
from .boxes import content
from .regions import BATCH, crop_pixels, square_boxes

AREA = 8.0  # of the crop of an object token, in areas of the box
MARGINS = (1.0, 1.5)  # of the crops whose mean is the teacher's word


def widened(boxes: Tensor, size: int, margin: float) -> Tensor:
    """Boxes [R, 4] with sides ``margin`` times as long, cut at the edges."""
    middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    return torch.cat([middle - margin * half, middle + margin * half], 1).clamp(0, size)


@torch.no_grad()
def crop_embeds(
    clip,
    pixel_values: Tensor,
    picture: Tensor,
    boxes: Tensor,
    margins: Sequence[float] = MARGINS,
    square: bool = True,
) -> Tensor:
    """CLIP's view of boxes [R, 4] of pictures number ``picture`` [R]: [R, D].

    ``pixel_values`` [N, 3, S, S].  The mean of several ``margins`` is
    normalised again.  Without ``square`` a box is stretched to the square of
    the model, as a plain resize does; with it the crop is a square around the
    box, moved inside.
    """
    size, parts = pixel_values.shape[-1], []
    for rows in torch.arange(len(boxes)).split(BATCH):
        pixels, embeds = pixel_values[picture[rows]], 0
        for margin in margins:
            cut = square_boxes if square else widened
            shown = crop_pixels(pixels, cut(boxes[rows], size, margin))
            embeds = embeds + clip.image_features(shown)
        parts.append(F.normalize(embeds, dim=-1))
    return torch.cat(parts) if parts else torch.zeros(0, clip.embed_dim)


def taught(
    clip,
    pictures: DensePictures,
    lesson: Lesson,
    margins: Sequence[float] = MARGINS,
    square: bool = True,
) -> tuple[Tensor, float]:
    """CLIP's view of a lesson's regions [R, D], made once, and its seconds."""

    def make() -> tuple[Tensor, float]:
        begun = time.perf_counter()
        pixels = pictures.pixel_values
        embeds = crop_embeds(
            clip, pixels, lesson.picture, lesson.boxes, margins, square
        )
        return embeds, round(time.perf_counter() - begun, 2)

    key = "taught", content(lesson.boxes), tuple(margins), square
    return once(pictures, key, make)


def teach_crops(clip, data: Boxed, lesson: Lesson, seed: int = 0) -> float:
    """A method's ``teach`` whose teacher sees crops of all regions: its seconds."""
    return taught(clip, data.pictures, lesson)[1]


def seen_regions(
    clip,
    pictures: DensePictures,
    found: BoxRegions,
    margins: Sequence[float] = MARGINS,
    square: bool = True,
) -> Tensor:
    """The same of regions of test pictures [N, K, D]; repetitions get zeros.

    Crops of each margin are looked at once.
    """
    picture, place = (found.quality > 0).nonzero(as_tuple=True)
    boxes, pixels = found.boxes[picture, place], pictures.pixel_values

    def seen(margin: float) -> Tensor:
        key = "crops", content(found.boxes), margin, square
        crops = pixels, picture, boxes, (margin,), square
        return once(pictures, key, lambda: crop_embeds(clip, *crops))

    embeds = torch.zeros(*found.quality.shape, clip.embed_dim)
    embeds[picture, place] = F.normalize(sum(map(seen, margins)), dim=-1)
    return embeds


def patches_inside(boxes: Tensor, size: int, side: int) -> Tensor:
    """Patches that a box [..., 4] covers by half: bool [..., side²].

    The one that it covers most where there is none.
    """
    cover = patch_cover(boxes / size, side)
    most = F.one_hot(cover.argmax(-1), side**2).bool()
    return (cover * side**2 >= 0.5) | most


def masked_block(block, x: Tensor, allowed: Tensor) -> Tensor:
    """One block [N, L, W] in which row i sees columns ``allowed`` [N, L, L]."""
    attention = attention_weights(block, x) * allowed[:, None]
    return run_block(block, x, attention / attention.sum(-1, keepdim=True))


@torch.no_grad()
def box_query(clip, hidden: Tensor, boxes: Tensor, size: int) -> Tensor:
    """CLIP's own pooling, of patches inside boxes alone: [N, K, D].

    ``hidden`` [N, 1 + T, W] is what the last block reads, ``boxes`` [N, K, 4]
    in pixels of a picture of ``size``.  K copies of the class token ask, each
    seeing the patches of its box and nothing else.  L2-normalised.
    """
    N, K = boxes.shape[:2]
    T = hidden.shape[1] - 1
    inside = patches_inside(boxes, size, round(T**0.5))  # [N, K, T]
    x = torch.cat([hidden[:, :1].expand(-1, K, -1), hidden], 1)
    allowed = torch.zeros(N, K + 1 + T, K + 1 + T, dtype=torch.bool)
    allowed[:, :K, K + 1 :] = inside
    allowed[:, K:, K:] = True
    block = vision_blocks(clip)[-1]
    return read_out(clip, masked_block(block, x, allowed)[:, :K])


def asked_regions(clip, pictures: DensePictures, boxes: Tensor) -> Tensor:
    """:func:`box_query` of pictures' boxes [N, K, 4], in batches: [N, K, D]."""
    hidden, size = pictures.hidden(taps(clip)[-1]), pictures.images.shape[1]
    rows = torch.arange(len(boxes)).split(16)
    return torch.cat([box_query(clip, hidden[r], boxes[r], size) for r in rows])


def roomy_squares(boxes: Tensor, size: int) -> Tensor:
    """Squares of eight times the area of boxes [R, 4], moved inside: [R, 4]."""
    sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1)
    side = (AREA * sides.prod(-1)).sqrt().clamp(max=size)[:, None]
    low = ((boxes[:, :2] + boxes[:, 2:] - side) / 2).clamp(min=0)
    low = torch.minimum(low, size - side)
    return torch.cat([low, low + side], 1)


def object_states(clip, pixels: Tensor, inside: Tensor) -> Tensor:
    """Last states of crops [R, 3, S, S], an object token first: [R, 2 + T, W].

    ``inside`` bool [R, T]: the patches that the object token sees, in every
    layer, besides itself; nobody sees it (OADP: Wang et al. 2023, arXiv
    2303.05892).
    """
    x = first_state(clip.model, pixels)
    x = torch.cat([x[:, :1], x], 1)
    allowed = torch.ones(len(x), x.shape[1], x.shape[1], dtype=torch.bool)
    allowed[:, 1:, 0] = False  # nobody sees the object token
    allowed[:, 0, 1] = False  # it does not see the class token
    allowed[:, 0, 2:] = inside
    for block in vision_blocks(clip):
        x = masked_block(block, x, allowed)
    return x


@torch.no_grad()
def object_embeds(clip, pixel_values: Tensor, picture: Tensor, boxes: Tensor) -> Tensor:
    """CLIP's view of the objects in boxes [R, 4]: [R, D], L2-normalised.

    ``pixel_values`` [N, 3, S, S], ``picture`` [R] tells whose a box is.
    """
    size, parts = pixel_values.shape[-1], []
    side = size // clip.model.config.vision_config.patch_size
    for rows in torch.arange(len(boxes)).split(BATCH):
        crops = roomy_squares(boxes[rows], size)
        pixels = crop_pixels(pixel_values[picture[rows]], crops)
        scale = size / (crops[:, 2:] - crops[:, :2])
        place = (boxes[rows].unflatten(1, (2, 2)) - crops[:, None, :2]) * scale[:, None]
        inside = patches_inside(place.flatten(1), size, side)
        parts.append(read_out(clip, object_states(clip, pixels, inside)[:, 0]))
    return torch.cat(parts)
