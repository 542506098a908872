"""The world of the dense bench: classes, splits and who may see what.

Masks exist for base classes alone; novel ones are words.  Every world seed
has scenes of its own for masks, captions and tests, at numbers that neither
pre-training nor the transfer tasks get to.
"""

from __future__ import annotations

import functools
import random
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ...world import CaptionMix, Scene, StickerWorld, random_caption, seeds_of
from ..supervision import (
    IGNORE,
    Captioned,
    DensePictures,
    Masked,
    Partial,
    Regions,
    Tagged,
    Unlabeled,
    tags_of,
)
from .score import Result, judge

# Each novel class has a near relative among the base classes.
NOVEL = (
    "tiger",
    "zebra",
    "panda",
    "duck",
    "bee",
    "strawberry",
    "bus",
    "tulip",
    "guitar",
    "basketball",
)
BASE = (
    "lion", "horse", "bear", "swan", "ladybug", "cherries", "car", "rose",
    "violin", "soccer ball",
    "cat", "cow", "penguin", "butterfly", "apple", "pizza", "airplane",
    "umbrella", "elephant", "snowman",
)  # fmt: skip
# Base classes that play novel ones where knobs are chosen; they too have
# near relatives (lion, horse, swan, ladybug, cherries).
PSEUDO_NOVEL = ("cat", "cow", "penguin", "butterfly", "apple")

PART_STRIDE = 100_000
STICKERS = (2, 2, 3, 4)  # in a scene, in turn
# Sentences name what is there and where; jokes and riddles would not help.
MIX = CaptionMix(meme=0.0, description=0.0, synonym=0.1, place=0.6)


@dataclass(frozen=True)
class Bounds:
    """Sizes of the splits, in scenes."""

    masks: int = 300
    captions: int = 400
    test: int = 160


@dataclass(frozen=True)
class Protocol:
    """Which classes, which scenes.  ``seed`` is the world seed.

    ``stage`` "test" is for tables; "val" is for choosing knobs: its novel
    classes are base classes of the tables, and none of its scenes is theirs.
    """

    seed: int = 0
    base: tuple[str, ...] = BASE
    novel: tuple[str, ...] = NOVEL
    sizes: Bounds = Bounds()
    stage: str = "test"

    @classmethod
    def small(cls, seed: int = 0) -> Protocol:
        """A tenth of everything, to try code on."""
        return cls(seed, sizes=Bounds(masks=32, captions=40, test=24))

    def pseudo(self) -> Protocol:
        """The same game on validation scenes of base classes only."""
        sizes = self.sizes
        return replace(
            self,
            base=tuple(n for n in self.base if n not in PSEUDO_NOVEL),
            novel=PSEUDO_NOVEL,
            stage="val",
            sizes=replace(sizes, captions=sizes.captions // 2),
        )

    def scenes(self, part: str, size: int) -> list[Scene]:
        """The scenes of "masks", "captions" or "test" on ``size`` px."""
        order = ("masks", "captions", "test")
        n = getattr(self.sizes, part)
        split = "test" if part == "test" else "train"
        if self.stage == "val":
            split = "val"
        offset = order.index(part) * PART_STRIDE
        seeds = seeds_of("dense bench", split, n, self.seed, offset)
        names = self.base if part == "masks" else (*self.base, *self.novel)
        world = StickerWorld(size)
        return [
            world.scene(seed, n=STICKERS[k % 4], categories=names, discs=0.0)
            for k, seed in enumerate(seeds)
        ]


def label_maps(scenes: list[Scene], names: list[str]) -> Tensor:
    """[N, S, S]: index into ``names``; background len(names); else 255."""
    maps = []
    for scene in scenes:
        lookup = [
            names.index(o.name) if o.name in names else IGNORE for o in scene.objects
        ]
        lookup = torch.tensor([*lookup, len(names)])  # owner -1 is the last
        maps.append(lookup[torch.from_numpy(scene.owners).long()])
    return torch.stack(maps)


def region_maps(scenes: list[Scene]) -> Tensor:
    """[N, S, S]: which sticker, -1 for none."""
    return torch.stack([torch.from_numpy(s.owners).long() for s in scenes])


def describe(scene: Scene) -> tuple[str, tuple[tuple[int, int], ...]]:
    """A sentence for a scene, and where its phrases are, in its order."""
    caption = random_caption(random.Random(scene.seed), scene.layout, MIX)
    spans = {span for span in caption.spans if span is not None}
    return caption.text, tuple(sorted(spans))


class Bench:
    """What a method may ask of the protocol, for one CLIP.

    ``base``, ``novel``, ``names`` (both), ``seen`` bool [C];
    ``data(kind)``; ``test_pictures``; ``judge(labels, named)`` compares with
    the truth, which stays inside.  Everything is made when first asked for.
    """

    def __init__(self, clip, protocol: Protocol = Protocol()):
        self.clip, self.protocol = clip, protocol
        self.base, self.novel = list(protocol.base), list(protocol.novel)
        self.names = self.base + self.novel
        self.seen = torch.arange(len(self.names)) < len(self.base)
        self._scenes = functools.cache(
            lambda part: protocol.scenes(part, clip.image_size)
        )
        self._pictures = functools.cache(self._draw)

    def _draw(self, part: str) -> DensePictures:
        images = np.stack([scene.array for scene in self._scenes(part)])
        return DensePictures(self.clip, images)

    @functools.cached_property
    def _truth(self) -> Tensor:
        return label_maps(self._scenes("test"), self.names)

    @property
    def test_pictures(self) -> DensePictures:
        return self._pictures("test")

    @functools.cached_property
    def oracle_tags(self) -> Tensor:
        """Which names are in each test picture: for rows marked "oracle"."""
        return tags_of(self._truth, len(self.names))

    def data(self, kind):
        """The training data of a type, or a tuple of several."""
        if isinstance(kind, tuple):
            return tuple(self.data(k) for k in kind)
        return self._make(kind)

    @functools.cache  # noqa: B019 - a bench lives as long as its run
    def _make(self, kind):
        if kind is Unlabeled:
            return Unlabeled(self._pictures("captions"))
        scenes = self._scenes("masks" if kind in (Masked, Regions) else "captions")
        if kind is Captioned:
            texts, spans = zip(*map(describe, scenes), strict=True)
            return Captioned(self._pictures("captions"), list(texts), list(spans))
        if kind is Tagged:
            tags = tags_of(label_maps(scenes, self.names), len(self.names))
            return Tagged(self._pictures("captions"), tags, list(self.names))
        if kind is Regions:
            return self._make(Masked).regions_only()
        if kind is Masked:
            return Masked(
                self._pictures("masks"),
                label_maps(scenes, self.base),
                region_maps(scenes),
                list(self.base),
            )
        if kind is Partial:
            scenes = scenes[: self.protocol.sizes.masks]
            labels, regions = (label_maps(scenes, self.base), region_maps(scenes))
            regions = regions.masked_fill(labels == IGNORE, -1)
            pictures = self._pictures("captions")[: len(scenes)]
            return Partial(pictures, labels, regions, list(self.base))
        raise TypeError(f"no data of type {kind}")

    def prepare(self) -> Bench:
        """Make the features that everyone needs now; itself."""
        for part in ("masks", "captions", "test"):
            self._pictures(part).prepare()
        return self

    def forget(self) -> None:
        """Drop features that only some methods ask for."""
        for part in ("masks", "captions", "test"):
            self._pictures(part).forget()

    def judge(self, labels: Tensor, named: Tensor | None = None) -> Result:
        """Compare label maps of the test pictures with the truth.

        ``labels`` [N, S, S], len(names) being background; ``named`` the same
        without background, for the naming score.
        """
        return judge(labels, self._truth, len(self.base), self.names, named)
