"""Scenes of several stickers, for multi-label and dense tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from ..world import Scene, StickerWorld, find_category, seeds_of
from ..world.domains import apply_domain
from .pictures import Pictures


@dataclass(frozen=True)
class SceneSet:
    """Pictures of scenes with everything the scenes know.

    ``labels`` [N, C]: 1 where a class is in the picture, else 0; ``captions``
    one a scene.
    """

    pictures: Pictures
    scenes: list[Scene]
    captions: list[str]
    labels: Tensor
    classes: list[str]

    def __len__(self) -> int:
        return len(self.scenes)

    def label_maps(self, background: int | None = None) -> Tensor:
        """The class of every pixel: [N, H, W].

        Pixels without a sticker are ``background``, or -1 (left out).
        """
        empty = -1 if background is None else background
        maps = []
        for scene in self.scenes:
            # -1, no sticker, takes the last entry
            lookup = [self.classes.index(o.name) for o in scene.objects]
            lookup = torch.tensor([*lookup, empty])
            maps.append(lookup[torch.from_numpy(scene.owners).long()])
        return torch.stack(maps)


def scene_set(
    clip,
    classes: Sequence[str],
    n: int,
    split: str = "train",
    seed: int = 0,
    stickers: int | None = None,
    domain: str = "sticker",
    strength: float | None = None,
) -> SceneSet:
    """``n`` scenes of 1 to 4 stickers (or just ``stickers``) of some classes.

    Splits and seeds never share a scene.  ``strength`` overrides how far the
    domain lies from the stickers (0 to 1).
    """
    world = StickerWorld(clip.image_size)
    classes = list(classes)
    scenes = [
        world.scene(s, n=stickers, categories=classes)
        for s in seeds_of("scene sets", split, n, seed)
    ]
    drawn = [apply_domain(s.array, domain, s.seed, strength) for s in scenes]
    labels = torch.zeros(n, len(classes))
    for row, scene in enumerate(scenes):
        for thing in scene.objects:
            labels[row, classes.index(thing.name)] = 1
    return SceneSet(
        pictures=Pictures(clip, [Image.fromarray(pixels) for pixels in drawn]),
        scenes=scenes,
        captions=[scene.caption for scene in scenes],
        labels=labels,
        classes=classes,
    )


def scene_captions(clip, classes: Sequence[str], n: int, seed: int = 0) -> list[str]:
    """Captions of the training scenes of :func:`scene_set`; nothing is drawn."""
    world = StickerWorld(clip.image_size)
    return [
        world.scene(s, categories=list(classes)).caption
        for s in seeds_of("scene sets", "train", n, seed)
    ]


def other_words(classes: Sequence[str]) -> dict[str, list[str]]:
    """What captions may call a class besides its name."""
    words = {}
    for name in classes:
        category = find_category(name)
        nouns = [category.one, category.many]
        bare = [n.removeprefix("a ").removeprefix("an ") for n in nouns]
        others = [*category.synonyms, *bare]
        words[name] = [w for w in dict.fromkeys(others) if w != name]
    return words
