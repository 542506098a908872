"""Does a student look where its teacher looks?  Heat maps, and its patches.

Heat maps are attention relevance (Chefer, Gur and Wolf 2021, arXiv
2103.15679), as in the meme studio.  A student that inherits
weights agrees with its teacher before any lesson, so every figure here is
worth its difference to that of the untrained student.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.clip import Clip
from ...models.inside import first_state, relevance
from ...world import Scene, StickerWorld, seeds_of

SIDE = 12  # maps are brought to so many patches a side
OFFSET = 200_000  # its scenes' place in the exam's range


def two_things(split: str, n: int, seed: int = 0) -> list[Scene]:
    """``n`` scenes of two stickers of different names."""
    world, found = StickerWorld(96), []
    for number in seeds_of("student exam", split, 2 * n, seed, OFFSET):
        scene = world.scene(number, n=2)
        if scene.objects[0].name != scene.objects[1].name:
            found.append(scene)
    return found[:n]


def heat(clip: Clip, scene: Scene, k: int) -> Tensor:
    """Where the words for sticker ``k`` come from: [12, 12], 0 to 1."""
    target = clip.encode_texts([scene.objects[k].category.one])[0]  # [D]
    with torch.no_grad():
        hidden = first_state(clip.model, clip.preprocess([scene.image]))
    found = relevance(clip, hidden, lambda embeds: embeds @ target)[0]  # [T]
    side = round(len(found) ** 0.5)
    found = found.detach().float().reshape(1, 1, side, side)
    found = (found - found.min()) / (found.max() - found.min()).clamp_min(1e-12)
    return F.interpolate(found, (SIDE, SIDE), mode="bilinear")[0, 0]


def agreements(some: Sequence[Tensor], others: Sequence[Tensor]) -> list[float]:
    """Correlations of maps [12, 12], pair by pair; 0 for an even map."""
    pairs = [
        torch.stack([a.flatten(), b.flatten()])
        for a, b in zip(some, others, strict=True)
    ]
    return [torch.corrcoef(pair)[0, 1].nan_to_num().item() for pair in pairs]


def agreement(some: Sequence[Tensor], others: Sequence[Tensor]) -> float:
    """Mean of :func:`agreements` of maps [12, 12]."""
    found = agreements(some, others)
    return sum(found) / len(found)


def pointing(maps: Sequence[Tensor], scenes: Sequence[Scene]) -> float:
    """How often the hottest patch of a map [12, 12] lies in the first box."""
    hits = 0
    for found, scene in zip(maps, scenes, strict=True):
        row, column = divmod(int(found.argmax()), SIDE)
        x, y = ((2 * k + 1) * scene.size / (2 * SIDE) for k in (column, row))
        x0, y0, x1, y1 = scene.objects[0].box
        hits += x0 <= x < x1 and y0 <= y < y1
    return hits / len(maps)


def patches_right(clip: Clip, scenes: Sequence[Scene], names: Tensor) -> float:
    """Share of stickers' pixels that get the right one of the two names there.

    ``names`` [C, D] has a row a category.  Blind choice gets one half.
    """
    with torch.no_grad():
        features = clip.patch_features(clip.preprocess([s.image for s in scenes]))
    good = total = 0
    for scene, grid in zip(scenes, features, strict=True):
        rows = names[[o.category.index for o in scene.objects]]  # [2, D]
        scores = (grid @ rows.T).permute(2, 0, 1)[None]
        owners = torch.from_numpy(scene.owners)
        large = F.interpolate(scores, owners.shape, mode="bilinear")[0]
        good += (large.argmax(0) == owners)[owners >= 0].sum().item()
        total += (owners >= 0).sum().item()
    return good / total


def compared(
    clip: Clip, theirs: Sequence[Tensor], scenes: Sequence[Scene], names: Tensor
) -> dict[str, float]:
    """All of it beside the teacher's maps, each [12, 12], and ``names`` [C, D].

    "wrong words" is the agreement where the student is asked for the other
    sticker: what maps share whatever is asked.
    """
    return compared_by_scene(clip, theirs, scenes, names)[0]


def compared_by_scene(
    clip: Clip, theirs: Sequence[Tensor], scenes: Sequence[Scene], names: Tensor
) -> tuple[dict[str, float], list[float]]:
    """:func:`compared` with maps [12, 12], ``names`` [C, D]; "agrees" by scene."""
    own, other = ([heat(clip, scene, k) for scene in scenes] for k in (0, 1))
    by_scene = agreements(theirs, own)
    return {
        "agrees": sum(by_scene) / len(by_scene),
        "wrong words": agreement(theirs, other),
        "points": pointing(own, scenes),
        "patches": patches_right(clip, scenes, names),
    }, by_scene
