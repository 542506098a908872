"""A smaller picture tower for a CLIP, beside its own text tower.

The student is a CLIP like its teacher, so that everything that takes one
takes the other.  It reads larger patches, and may have fewer layers.  *Weight
inheritance* starts it from the teacher's own weights: TinyCLIP, Wu et al.
2023, arXiv 2309.12314; :mod:`vlmtutor.distill.student.prune` makes its MLPs
narrower.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.clip import Clip
from ...seeding import seeded_weights


def small_clip(
    teacher: Clip,
    layers: Sequence[int] | None = None,
    merge: int = 2,
    width: int | None = None,
    inherit: bool = True,
    seed: int = 0,
    name: str = "student",
) -> Clip:
    """A student: the teacher's text tower and a small picture tower.

    It has one layer for each of the teacher's ``layers`` (by default all),
    and reads ``merge`` × ``merge`` of the teacher's patches as one.
    ``width`` is that of the tower (by default the teacher's), a multiple of
    the width of the teacher's heads.
    With ``inherit`` the tower starts from the teacher's weights, else from
    random ones drawn from ``seed``.  Only the picture tower and its
    projection have ``requires_grad``.  Raises ValueError where the sizes do
    not fit.
    """
    config = copy.deepcopy(teacher.model.config)
    vision = config.vision_config
    depth = vision.num_hidden_layers
    layers = list(range(depth) if layers is None else layers)
    if not layers or not all(0 <= k < depth for k in layers):
        raise ValueError(f"layers are some of 0 … {depth - 1}, not {layers}")
    vision.patch_size *= merge
    if vision.image_size % vision.patch_size:
        raise ValueError(
            f"patches of {vision.patch_size} px do not fill {vision.image_size} px"
        )
    head = vision.hidden_size // vision.num_attention_heads
    width = vision.hidden_size if width is None else width
    if width % head:
        raise ValueError(f"the width is a multiple of {head}, not {width}")
    if inherit and width != vision.hidden_size:
        raise ValueError("a tower of another width cannot inherit weights")
    vision.intermediate_size = width * (vision.intermediate_size // vision.hidden_size)
    vision.num_hidden_layers = len(layers)
    vision.hidden_size, vision.num_attention_heads = width, width // head
    with seeded_weights(seed):
        model = type(teacher.model)(config)
    model.set_attn_implementation("sdpa")
    own, theirs = model.state_dict(), teacher.model.state_dict()
    own |= {k: v for k, v in theirs.items() if not _of_pictures(k)}
    if inherit:
        own |= _inherited(theirs, layers, merge)
    model.load_state_dict(own)
    for key, weight in model.named_parameters():
        weight.requires_grad_(_of_pictures(key))
    return Clip(model, teacher.tokenizer, teacher.image_settings, name)


def _of_pictures(key: str) -> bool:
    return key.startswith(("vision_model.", "visual_projection."))


def _inherited(theirs: dict, layers: list[int], merge: int) -> dict:
    """The teacher's picture weights under the names of the student's."""
    found = {}
    stem = "vision_model.encoder.layers."
    for key, weight in theirs.items():
        if not _of_pictures(key) or key.endswith("position_ids"):
            continue
        if key.startswith(stem):
            number, _, rest = key.removeprefix(stem).partition(".")
            for new, old in enumerate(layers):
                if int(number) == old:
                    found[f"{stem}{new}.{rest}"] = weight
        elif key.endswith("patch_embedding.weight"):
            found[key] = wider_patches(weight, merge)
        elif key.endswith("position_embedding.weight"):
            found[key] = fewer_positions(weight, merge)
        else:
            found[key] = weight
    return found


def wider_patches(weight: Tensor, merge: int) -> Tensor:
    """A kernel [W, 3, p, p] for patches ``merge`` times as large.

    It gives the same number as the old one does on the picture after each
    ``merge`` × ``merge`` pixels have become their mean.
    """
    wide = weight.repeat_interleave(merge, 2).repeat_interleave(merge, 3)
    return wide / merge**2


def fewer_positions(table: Tensor, merge: int) -> Tensor:
    """Positions [1 + T, W] of a grid ``merge`` times as coarse: means."""
    first, grid = table[:1], table[1:]
    side = round(len(grid) ** 0.5)
    grid = grid.T.unflatten(1, (side, side))  # [W, side, side]
    return torch.cat([first, F.avg_pool2d(grid, merge).flatten(1).T])


def image_parameters(clip: Clip) -> int:
    """The numbers in a picture tower, its projection included."""
    named = clip.model.named_parameters()
    return sum(p.numel() for key, p in named if _of_pictures(key))
