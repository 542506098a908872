"""The world of the dense bench: classes, splits and who may see what.

Masks exist for base classes alone; novel ones are words.  Every world seed
has scenes of its own for masks, captions, an archive without either, and
tests, at numbers that neither pre-training nor the transfer tasks get to.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ...world import (
    CaptionMix,
    Scene,
    StickerWorld,
    random_caption,
    seeds_of,
)
from ..pictures import DensePictures, once
from ..supervision import (
    IGNORE,
    Captioned,
    Masked,
    Partial,
    Regions,
    Tagged,
    Unlabeled,
    tags_of,
)
from .answers import detect, predict_both
from .boxes import Boxes, judge_boxes
from .names import BASE, NOVEL, PSEUDO_NOVEL, further_names
from .score import Result, judge

PARTS = ("masks", "archive", "test", "captions")
REPEATS = 0.4  # of mask scenes show a name more than once: things are not names
DISTRACTORS = 30  # names that captions speak of and nobody asks for
PART_STRIDE = 100_000
STICKERS = (2, 2, 3, 4)  # in a scene, in turn
# Sentences name what is there and where; jokes and riddles would not help.
MIX = CaptionMix(meme=0.0, description=0.0, synonym=0.1, place=0.6)


@dataclass(frozen=True)
class Bounds:
    """Sizes of the splits, in scenes; an archive is as large as the captions."""

    masks: int = 300
    captions: int = 400
    test: int = 160

    @property
    def archive(self) -> int:
        """Pictures without sentences, as many as with them."""
        return self.captions


@dataclass(frozen=True)
class Protocol:
    """Which classes, which scenes.  ``seed`` is the world seed.

    ``stage`` "test" is for tables; "val" is for choosing knobs: its novel
    classes are base classes of the tables, and none of its scenes is theirs.
    ``more`` names beyond the base ones have masks and stand in no test;
    captions speak of ``distractors`` that no test asks for.
    """

    seed: int = 0
    base: tuple[str, ...] = BASE
    novel: tuple[str, ...] = NOVEL
    sizes: Bounds = Bounds()
    stage: str = "test"
    more: int = 0
    distractors: int = DISTRACTORS

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

    def names(self, part: str) -> tuple[str, ...]:
        """What the scenes of a part show."""
        if part == "masks":
            return *self.base, *further_names(self.more)
        own = *self.base, *self.novel
        return own + further_names(self.distractors) if part == "captions" else own

    def scenes(self, part: str, size: int, domain: str = "sticker") -> list[Scene]:
        """The scenes of a part, on ``size`` px, drawn as ``domain``.

        "masks", "archive" (pictures alone, or with tags), "captions", "test".
        """
        n = getattr(self.sizes, part)
        split = "test" if part == "test" else "train"
        split = "val" if self.stage == "val" else split
        offset = PARTS.index(part) * PART_STRIDE
        seeds = seeds_of("dense bench", split, n, self.seed, offset)
        names, world = self.names(part), StickerWorld(size)
        more = {"repeats": REPEATS} if part == "masks" else {}
        return [
            world.scene(seed, STICKERS[k % 4], domain, names, discs=0.0, **more)
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
    ``data(kind)``; ``test_pictures``; ``answer(model)`` compares with the
    truth.  Everything is made when first asked for.  ``scenes``, ``truth``
    and ``oracle_tags`` are for gates, references and figures: no method is
    handed them, but for rows that say "oracle".
    """

    def __init__(self, clip, protocol: Protocol = Protocol()):
        self.clip, self.protocol = clip, protocol
        self.base, self.novel = list(protocol.base), list(protocol.novel)
        self.names = self.base + self.novel
        self.seen = torch.arange(len(self.names)) < len(self.base)

    def scenes(self, part: str, domain: str = "sticker") -> list[Scene]:
        """The scenes of a part: see :meth:`Protocol.scenes`."""
        arguments = part, self.clip.image_size, domain
        key = "scenes", part, domain
        return once(self, key, lambda: self.protocol.scenes(*arguments))

    def pictures(self, part: str, domain: str = "sticker") -> DensePictures:
        """Their pictures, for this CLIP."""

        def draw() -> DensePictures:
            images = np.stack([scene.array for scene in self.scenes(part, domain)])
            return DensePictures(self.clip, images)

        return once(self, ("pictures", part, domain), draw)

    @property
    def test_pictures(self) -> DensePictures:
        """What all models are judged on."""
        return self.pictures("test")

    @property
    def truth(self) -> Tensor:
        """Label maps of the test pictures, [N, S, S]: see :func:`label_maps`."""
        return self.label_maps(self.names)

    def label_maps(self, names: list[str]) -> Tensor:
        """The test pictures' labels [N, S, S]; 255: stickers not in ``names``."""
        key = "truth", tuple(names)
        return once(self, key, lambda: label_maps(self.scenes("test"), names))

    @property
    def oracle_tags(self) -> Tensor:
        """bool [N, C], the names in a test picture: for rows marked "oracle"."""
        return once(self, "tags", lambda: tags_of(self.truth, len(self.names)))

    def data(self, kind):
        """The training data of a type, or a tuple of several."""
        if isinstance(kind, tuple):
            return tuple(self.data(k) for k in kind)
        return once(self, kind, lambda: self._make(kind))

    def _make(self, kind):
        if kind is Regions:
            return self.data(Masked).regions_only()
        part = {Masked: "masks", Captioned: "captions"}.get(kind, "archive")
        scenes, pictures = self.scenes(part), self.pictures(part)
        if kind is Unlabeled:
            return Unlabeled(pictures)
        if kind is Captioned:
            texts, spans = zip(*map(describe, scenes), strict=True)
            return Captioned(pictures, list(texts), list(spans))
        if kind is Tagged:
            tags = tags_of(label_maps(scenes, self.names), len(self.names))
            return Tagged(pictures, tags, list(self.names))
        if kind is Partial:
            scenes = scenes[: self.protocol.sizes.masks]
            pictures = pictures[: len(scenes)]
        elif kind is not Masked:
            raise TypeError(f"no data of type {kind}")
        names = list(self.protocol.names("masks"))
        labels, regions = label_maps(scenes, names), region_maps(scenes)
        regions = regions.masked_fill(labels == IGNORE, -1)
        return kind(pictures, labels, regions, names)

    def prepare(self) -> Bench:
        """Make the features that everyone needs now; itself."""
        for part in PARTS:
            self.pictures(part).prepare()
        return self

    def forget(self) -> None:
        """Drop features that only some methods ask for."""
        for part in PARTS:
            self.pictures(part).forget()

    def answer(
        self,
        model,
        pictures: DensePictures | None = None,
        names: list[str] | None = None,
        seen: Tensor | None = None,
    ) -> Result | Boxes:
        """What a model's answers to the test pictures are worth.

        Boxes of a model that can ``detect``, label maps of one that gives
        ``scores`` (:mod:`vlmtutor.distill.methods`).  ``pictures`` are the
        test pictures, with tags if the model may see them.  ``names``, all by
        default, is what competes; stickers with other names are not judged.
        ``seen`` bool [len(names)].
        """
        pictures = self.test_pictures if pictures is None else pictures
        names = self.names if names is None else names
        if hasattr(model, "detect"):
            found = detect(model, pictures, names, seen)
            return judge_boxes(found, self.true_boxes(names), self._base(names), names)
        return self.judge(*predict_both(model, pictures, names, seen), names)

    def judge(
        self,
        labels: Tensor,
        named: Tensor | None = None,
        names: list[str] | None = None,
    ) -> Result:
        """Compare label maps of the test pictures with the truth.

        ``labels`` [N, S, S], len(names) being background; ``named`` the same
        without background, for the naming score.
        """
        names = self.names if names is None else names
        truth = self.label_maps(names)
        return judge(labels, truth, self._base(names), names, named)

    def true_boxes(self, names: list[str]) -> list[dict]:
        """The test pictures' "boxes" [n, 4] and "labels" [n], in ``names``.

        Beside them "masks", n of bool [S, S], of what is visible.
        """
        S = self.clip.image_size
        things = [
            [o for o in scene.objects if o.name in names]
            for scene in self.scenes("test")
        ]
        return [
            {
                "boxes": [o.box for o in some],
                "labels": [names.index(o.name) for o in some],
                "masks": np.array([o.mask for o in some], bool).reshape(-1, S, S),
            }
            for some in things
        ]

    def _base(self, names: list[str]) -> int:
        """How many of ``names`` are base; ValueError unless they come first."""
        base = [name for name in names if name in self.base]
        if names[: len(base)] != base:
            raise ValueError("base names come before novel ones")
        return len(base)
