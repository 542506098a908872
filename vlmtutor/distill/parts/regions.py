"""One vector a region: by cropping and encoding it, or by pooling patches."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.inside import as_tokens, grid_side

FILLS = ("mean", "zero", None)
MODES = ("cropmask", "crop", "mask")
BATCH = 32


def fill_value(clip, fill: str) -> Tensor:
    """A colour in pixel_values [3, 1, 1]: CLIP's mean pixel, or black."""
    settings = clip.image_settings
    mean, std = (torch.tensor(x) for x in (settings.mean, settings.std))
    color = torch.zeros(3) if fill == "mean" else -mean / std
    return color.view(3, 1, 1)


def mask_boxes(masks: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes (x0, y0, x1, y1) in pixels of bool masks [R, S, S]: [R, 4].

    Also which masks are empty, bool [R]; their box is the whole picture.
    """
    size = masks.shape[-1]
    edges = []
    for axis in (-2, -1):  # what a column holds, then what a row holds
        line = masks.any(axis)  # [R, S]
        places = torch.arange(size).expand_as(line)
        low = torch.where(line, places, size).amin(-1)
        high = torch.where(line, places + 1, 0).amax(-1)
        edges.append((low, high))
    (x0, x1), (y0, y1) = edges
    boxes = torch.stack([x0, y0, x1, y1], -1).float()
    empty = ~masks.flatten(1).any(1)
    boxes[empty] = torch.tensor([0.0, 0.0, size, size])
    return boxes, empty


def square_boxes(boxes: Tensor, size: int, margin: float = 1.0) -> Tensor:
    """Squares of ``margin`` times the longer side, moved inside: [R, 4]."""
    x0, y0, x1, y1 = boxes.unbind(-1)
    side = torch.maximum(x1 - x0, y1 - y0).mul(margin).clamp(max=size)
    left = ((x0 + x1 - side) / 2).clamp(min=0)
    top = ((y0 + y1 - side) / 2).clamp(min=0)
    left, top = (torch.minimum(a, size - side) for a in (left, top))
    return torch.stack([left, top, left + side, top + side], -1)


def crop_pixels(x: Tensor, boxes: Tensor) -> Tensor:
    """The boxes [R, 4] of pictures [R, C, S, S], each enlarged to S × S."""
    size = x.shape[-1]
    x0, y0, x1, y1 = (2 * boxes / size - 1).unbind(-1)
    zero = torch.zeros_like(x0)
    theta = torch.stack(
        [
            torch.stack([(x1 - x0) / 2, zero, (x0 + x1) / 2], -1),
            torch.stack([zero, (y1 - y0) / 2, (y0 + y1) / 2], -1),
        ],
        1,
    )  # [R, 2, 3]
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def region_pixels(
    clip,
    pixel_values: Tensor,
    masks: Tensor,
    fill: str | None = "mean",
    mode: str = "cropmask",
    margin: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """What CLIP is shown of regions: [R, 3, S, S], and their masks [R, S, S].

    ``pixel_values`` [R, 3, S, S], one picture a region, ``masks`` bool
    [R, S, S].  ``mode`` "mask" hides what is outside the mask, "crop"
    enlarges the region's square, "cropmask" does both; hidden pixels get
    ``fill``: CLIP's "mean" pixel or "zero" (black).  Raises ValueError for
    another mode or fill.
    """
    if mode not in MODES or fill not in FILLS:
        raise ValueError(f"mode in {MODES}, fill in {FILLS}")
    shown, inside = pixel_values, masks[:, None].to(pixel_values.dtype)
    if mode != "crop" and fill is not None:
        shown = torch.where(inside > 0.5, shown, fill_value(clip, fill))
    if mode != "mask":
        boxes, _ = mask_boxes(masks)
        boxes = square_boxes(boxes, masks.shape[-1], margin)
        shown, inside = (crop_pixels(x, boxes) for x in (shown, inside))
    return shown, inside[:, 0]


@torch.no_grad()
def crop_encode(
    clip,
    pixel_values: Tensor,
    masks: Tensor,
    fill: str | None = "mean",
    mode: str = "cropmask",
    margin: float = 1.0,
    wanted: Tensor | None = None,
    encode: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Tensor:
    """CLIP's view of each region: [N, Q, D], L2-normalised.

    ``pixel_values`` [N, 3, S, S], ``masks`` [N, Q, S, S] (bool, or
    probabilities, cut at a half); the rest as in :func:`region_pixels`.
    Empty masks, and those not in ``wanted`` bool [N, Q], give zeros and cost
    nothing.  ``encode(shown, inside)`` of :func:`region_pixels` replaces
    CLIP's own picture tower.
    """
    masks = masks if masks.dtype == torch.bool else masks > 0.5
    N, Q = masks.shape[:2]
    chosen = masks.flatten(2).any(2)
    if wanted is not None:
        chosen = chosen & wanted
    embeds = torch.zeros(N, Q, clip.embed_dim)
    for part in chosen.nonzero().split(BATCH):
        if not len(part):  # nothing was chosen at all
            break
        rows, queries = part.unbind(1)
        shown, inside = region_pixels(
            clip, pixel_values[rows], masks[rows, queries], fill, mode, margin
        )
        embeds[rows, queries] = (
            encode(shown, inside) if encode else clip.image_features(shown)
        )
    return embeds


def mask_pool(dense: Tensor, masks: Tensor) -> Tensor:
    """Mean patch of each mask: [N, Q, D], L2-normalised; gradients flow.

    ``dense`` [N, T, D] or [N, D, g, g], ``masks`` [N, Q, S, S] from 0 to 1;
    a patch counts as much as the mask covers of it.
    """
    tokens = as_tokens(dense) if dense.ndim == 4 else dense
    side = grid_side(tokens.shape[1])
    masks = masks.to(tokens.dtype)
    weights = F.adaptive_avg_pool2d(masks, side).flatten(2)  # [N, Q, T]
    return F.normalize(weights @ tokens, dim=-1)


def instance_masks(regions: Tensor, most: int | None = None) -> Tensor:
    """Region numbers [N, S, S] → bool [N, Q, S, S], empty where none is.

    Q is ``most``, or the highest number there is plus one.
    """
    most = int(regions.max()) + 1 if most is None else most
    return regions[:, None] == torch.arange(most)[:, None, None]


def region_labels(labels: Tensor, masks: Tensor) -> Tensor:
    """The class of each mask [N, Q, S, S]: [N, Q], the commonest label.

    ``labels`` [N, S, S]; 255 where a mask is empty or unlabelled.
    """
    classes = 256
    one_hot = torch.zeros(*masks.shape[:2], classes)
    spread = labels.clamp(max=classes - 1).flatten(1)[:, None]
    spread = spread.expand(-1, masks.shape[1], -1)
    one_hot.scatter_add_(2, spread, masks.flatten(2).float())
    found = one_hot.argmax(2)
    return found.masked_fill(~masks.flatten(2).any(2), 255)
