"""The bench for boxes: who may see what, beside :mod:`.protocol`'s.

Classes and test scenes are those of the masks.  New are the scenes with
boxes, where detection differs most from segmentation: things of novel classes
stand in them unlabelled, so whoever takes all else for background learns that
they are none.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ...world import Scene, StickerWorld, seeds_of
from ..box_supervision import CaptionedPool, Outlined, Pool, TaggedPool
from ..parts.box_proposer import timed_shared
from ..parts.box_regions import BoxRegions, look_into
from ..parts.boxes import padded
from ..parts.pseudo import Pseudo, Quality
from ..pictures import DensePictures, once
from ..supervision import Boxed, BoxedCaptioned
from .box_masks import region_masks, with_masks
from .box_oracles import oracles
from .boxes import Boxes, judge_boxes
from .fates import fates, shares
from .names import NOVEL
from .pool import pool_scenes
from .protocol import PART_STRIDE, PARTS, STICKERS, Bench, Protocol, describe
from .ranked import Ranked, rank

SPARE = 2  # seeds that are looked at for a scene with a base sticker


@dataclasses.dataclass(frozen=True)
class BoxProtocol(Protocol):
    """:class:`.protocol.Protocol` and ``boxes`` scenes with boxes.

    Each has a sticker of a base class at least.  Without ``background`` they
    have no other: an ablation in which novel things are never background.
    ``pool`` scenes are found by a search, a share ``noise`` of them badly
    shown (:func:`.pool.pool_scenes`).
    """

    boxes: int = 300
    background: bool = True
    pool: int = 600
    noise: float = 1 / 3

    def scenes(self, part: str, size: int, domain: str = "sticker") -> list[Scene]:
        """The scenes of "boxes" or "pool", or of the other protocol's parts."""
        split = "val" if self.stage == "val" else "train"
        if part == "pool":  # which has a domain of its own
            offset = (len(PARTS) + 2) * PART_STRIDE
            seeds = seeds_of("dense bench", split, self.pool, self.seed, offset)
            return pool_scenes(self.novel, NOVEL, seeds, size, self.noise)
        if part != "boxes":
            return super().scenes(part, size, domain)
        offset = (len(PARTS) + (not self.background)) * PART_STRIDE
        seeds = seeds_of("dense bench", split, SPARE * self.boxes, self.seed, offset)
        names = (*self.base, *(self.novel if self.background else ()))
        world, found = StickerWorld(size), []
        for seed in seeds:
            n = STICKERS[len(found) % len(STICKERS)]
            scene = world.scene(seed, n, domain, names, discs=0.0)
            if {o.name for o in scene.objects} & {*self.base}:
                found.append(scene)
            if len(found) == self.boxes:
                break
        return found


class BoxBench(Bench):
    """:class:`.protocol.Bench` for methods that draw boxes."""

    def __init__(self, clip, protocol: BoxProtocol | None = None):
        super().__init__(clip, protocol or BoxProtocol())

    def prepare(self) -> BoxBench:
        """Make the first pass over what everyone needs; itself."""
        for part in ("boxes", "test"):
            self.pictures(part).prepare("pixel_values")
        return self

    def proposer(self, kind: str = "oln"):
        """The shared proposer of a kind, and the seconds of its training."""
        return timed_shared(self.clip, self.data(Boxed), self.protocol.seed, kind)

    def _make(self, kind):
        if kind in (Pool, TaggedPool, CaptionedPool):
            return self._pool(kind)
        if kind not in (Boxed, BoxedCaptioned, Outlined):
            return super()._make(kind)
        scenes = self.scenes("boxes")
        own = [[o for o in s.objects if o.name in self.base] for s in scenes]
        boxes = [torch.tensor([o.box for o in some], dtype=torch.float) for some in own]
        labels = [torch.tensor([self.base.index(o.name) for o in some]) for some in own]
        parts = [self.pictures("boxes"), boxes, labels, list(self.base)]
        if kind is BoxedCaptioned:
            parts.append([describe(scene)[0] for scene in scenes])
        if kind is Outlined:
            masks = [np.stack([o.mask for o in some]) for some in own]
            parts.append([torch.from_numpy(some) for some in masks])
        return kind(*parts)

    def _pool(self, kind):
        scenes, pictures = self.scenes("pool"), self.pictures("pool")
        if kind is Pool:
            return Pool(pictures)
        if kind is CaptionedPool:
            texts, spans = zip(*map(describe, scenes), strict=True)
            return CaptionedPool(pictures, list(texts), list(spans))
        shown = [{o.name for o in scene.objects} for scene in scenes]
        tags = [[name in own for name in self.names] for own in shown]
        return TaggedPool(pictures, torch.tensor(tags), list(self.names))

    def things(self, part: str, names: list[str]) -> list[dict]:
        """What stands in the pictures of a part, as :meth:`true_boxes` has it.

        For the quality of labels: no method is handed it.
        """
        things = [
            [o for o in scene.objects if o.name in names] for scene in self.scenes(part)
        ]
        return [
            {
                "boxes": [o.box for o in some],
                "labels": [names.index(o.name) for o in some],
            }
            for some in things
        ]

    def quality(self, labels: Pseudo, part: str) -> Quality:
        """How right a method's own labels of novel things in a part are."""
        truth = self.things(part, labels.names)
        return labels.quality(truth, self.novel)

    def judge_labels(self, labels: Pseudo, part: str) -> Boxes:
        """The same labels, judged as a detector's boxes."""
        truth = self.things(part, self.novel)
        place = {name: k for k, name in enumerate(self.novel)}
        new = torch.tensor([place.get(name, -1) for name in labels.names])
        labels = labels[new[labels.labels] >= 0]
        found = [
            {**own, "labels": new[own["labels"]].tolist()}
            for own in labels.by_picture()
        ]
        return judge_boxes(found, truth, 0, self.novel)

    def oracles(self, model) -> dict[str, dict[str, float]]:
        """What a model's boxes would be worth with one thing mended."""
        found = model.detect(self.test_pictures, self.names, self.seen)
        truths = self.true_boxes(self.names)
        return oracles(found, truths, len(self.base), self.names)

    def fates(self, model, seen=None) -> dict[str, float]:
        """What becomes of the novel things: see :mod:`.fates`."""
        found = model.proposed(self.test_pictures, self.names, seen)
        truths = self.true_boxes(self.names)
        return shares(fates(*found, truths, len(self.base)))

    def judge_own(self, model) -> Boxes:
        """The test pictures' boxes by the model's own rule alone: for knobs."""
        found = model.detect(self.test_pictures, self.names, self.seen)
        truths = self.true_boxes(self.names)
        return judge_boxes(found, truths, len(self.base), self.names)

    def true_regions(self) -> BoxRegions:
        """The true boxes of the test pictures; a quality of 0 fills up."""
        truths = self.true_boxes(self.names)
        boxes = [torch.tensor(t["boxes"], dtype=torch.float) for t in truths]
        table, there = padded([own.reshape(-1, 4) for own in boxes])
        return look_into(self.test_pictures, table, there.float())

    def true_labels(self) -> Tensor:
        """The classes [R] of the true boxes, picture by picture."""
        truths = self.true_boxes(self.names)
        return torch.tensor([k for truth in truths for k in truth["labels"]])

    def in_domain(self, domain: str) -> DensePictures:
        """The test pictures in another domain, say "noisy"."""

        def draw() -> DensePictures:
            world, size = self.scenes("test"), self.clip.image_size
            scenes = [Scene(s.layout, size, domain, s.seed) for s in world]
            images = np.stack([scene.array for scene in scenes])
            return DensePictures(self.clip, images)

        return once(self, ("domain", domain), draw)

    def answer(self, model, pictures=None, names=None, seen=None) -> Ranked:
        """What a detector's boxes of the test pictures are worth.

        Arguments as in :meth:`.protocol.Bench.answer`; the boxes are ranked by
        the model's own rule, by the common one, and with novel names alone.
        """
        pictures = self.test_pictures if pictures is None else pictures
        names = self.names if names is None else names
        novel = [name for name in names if name in self.novel]
        own = model.detect(pictures, names, seen)
        common = dataclasses.replace(model, ranking="common")
        alone = None if seen is None else torch.zeros(len(novel), dtype=torch.bool)
        return self.ranked(
            own,
            common.detect(pictures, names, seen),
            model.detect(pictures, novel, alone),
            common.detect(pictures, novel, alone),
            names,
            pictures,
        )

    def ranked(
        self,
        own: Sequence[dict],
        common: Sequence[dict],
        alone: Sequence[dict],
        common_alone: Sequence[dict],
        names: list[str] | None = None,
        pictures: DensePictures | None = None,
    ) -> Ranked:
        """Boxes of the test pictures, ranked in two ways, beside the truth.

        Two lists have all ``names``, two novel ones alone; ``pictures`` are
        the test pictures as the model has seen them.
        """
        names = self.names if names is None else names
        novel = [name for name in names if name in self.novel]
        base, truths = self._base(names), self.true_boxes(names)
        few = self.true_boxes(novel)
        masks = region_masks(self, pictures or self.test_pictures)
        own, common = (with_masks(found, masks) for found in (own, common))
        return Ranked(
            rank(own, truths, alone, few, base, names, novel),
            rank(common, truths, common_alone, few, base, names, novel),
        )
