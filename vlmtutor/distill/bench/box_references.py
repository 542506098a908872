"""Rows that detectors are read against: floors, ceilings and oracles.

None is a method.  Most name the shared boxes by one rule or another; oracles
are told part of the truth, to show what is still wrong: boxes or names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ...naming import find_boxes
from ...naming import label_maps as name_pixels
from ...seeding import generator
from ..detection import vild
from ..parts.box_head import RegionDetector
from ..parts.box_regions import BoxRegions, shared_regions
from ..parts.box_teacher import MARGINS, seen_regions
from ..parts.boxes import pairwise_iou
from ..parts.texts import background_classifier, text_classifier
from ..supervision import Boxed
from .boxed import BoxBench
from .ranked import Ranked

VIEWS = ("crop", "wide crop", "both crops", "stretched crops", "patches")
STEPS = 300  # of the text heads


@dataclass(frozen=True)
class BoxReference:
    """``result(bench)``: what its boxes in the test pictures are worth."""

    name: str
    needs: str
    result: Callable[[BoxBench], Ranked]


@dataclass(frozen=True, kw_only=True)
class Looking(RegionDetector):
    """CLIP names the shared boxes, from one of VIEWS; nothing is trained.

    Its own rule: the softmax over names and places of the world, times the
    proposal's quality.
    """

    view: str = "both crops"

    def embeds(self, found: BoxRegions, pictures) -> Tensor:
        """CLIP's view of regions: [N, K, D]."""
        if self.view == "patches":
            return found.pooled
        margins = {"crop": MARGINS[:1], "wide crop": MARGINS[1:]}
        return seen_regions(
            self.clip,
            pictures,
            found,
            margins.get(self.view, MARGINS),
            square=self.view != "stretched crops",
        )

    def opinions(self, found, pictures, names, seen):
        texts, places = (
            text_classifier(self.clip, names),
            background_classifier(self.clip),
        )
        E = self.embeds(found, pictures)
        logits = self.clip.logit_scale * E @ torch.cat([texts, places]).T
        p = logits.softmax(-1)[..., : len(names)]
        own = p * found.quality[..., None]
        return own, logits[..., : len(names)].softmax(-1)


def looking(view: str) -> Callable[[BoxBench], Ranked]:
    """CLIP on the shared proposals, by a view."""

    def result(bench: BoxBench) -> Ranked:
        proposer = bench.proposer()[0]
        return bench.answer(Looking(clip=bench.clip, proposer=proposer, view=view))

    return result


def same(bench: BoxBench, found: list[dict], alone: list[dict]) -> Ranked:
    """Boxes with one way to rank them."""
    return bench.ranked(found, found, alone, alone)


def chance(bench: BoxBench) -> Ranked:
    """Boxes anywhere, with any name."""
    rng, size = generator(bench.protocol.seed), bench.clip.image_size

    def draw(names: int) -> list[dict]:
        found = []
        for _ in range(len(bench.test_pictures)):
            corner = 0.6 * size * torch.rand(10, 2, generator=rng)
            sides = size * (0.2 + 0.3 * torch.rand(10, 2, generator=rng))
            found.append(
                {
                    "boxes": torch.cat([corner, (corner + sides).clamp(max=size)], 1),
                    "labels": torch.randint(names, (10,), generator=rng),
                    "scores": torch.rand(10, generator=rng),
                }
            )
        return found

    return same(bench, draw(len(bench.names)), draw(len(bench.novel)))


def areas(bench: BoxBench) -> Ranked:
    """Boxes around areas of patches that CLIP names alike (notebook 07)."""
    pictures = bench.test_pictures.prepare()
    side = round(pictures.dense.shape[1] ** 0.5)
    places = background_classifier(bench.clip)

    def found(names: list[str]) -> list[dict]:
        columns = torch.cat([text_classifier(bench.clip, names), places])
        maps, size = pictures.dense.unflatten(1, (side, side)), bench.clip.image_size
        labels, sure = name_pixels(maps, columns, size, bench.clip.logit_scale)
        return [
            find_boxes(*pair, len(names)) for pair in zip(labels, sure, strict=True)
        ]

    return same(bench, found(bench.names), found(bench.novel))


def text_head(oracle: bool = False, **settings) -> Callable[[BoxBench], Ranked]:
    """A head that learned names from boxes alone (ViLD-text).

    The ``oracle`` has boxes of novel things as well.
    """

    def result(bench: BoxBench) -> Ranked:
        data = everything(bench) if oracle else bench.data(Boxed)
        proposer = bench.proposer()[0]
        seed = bench.protocol.seed
        model = vild.fit(
            bench.clip,
            data,
            seed,
            weight=0,
            steps=STEPS,
            proposer=proposer,
            **settings,
        )
        return bench.answer(model)

    return result


def everything(bench: BoxBench) -> Boxed:
    """The scenes with boxes, with the boxes of novel things too."""
    things = [
        [o for o in scene.objects if o.name in bench.names]
        for scene in bench.scenes("boxes")
    ]
    boxes = [torch.tensor([o.box for o in own], dtype=torch.float) for own in things]
    labels = [torch.tensor([bench.names.index(o.name) for o in own]) for own in things]
    return Boxed(bench.pictures("boxes"), boxes, labels, list(bench.names))


def true_boxes(bench: BoxBench) -> Ranked:
    """CLIP names the true boxes, from crops."""
    found, pictures = bench.true_regions(), bench.test_pictures
    model = Looking(clip=bench.clip, proposer=bench.proposer()[0])
    many, few = (
        model.detect_in(found, pictures, names) for names in (bench.names, bench.novel)
    )
    return same(bench, many, few)


def true_names(bench: BoxBench) -> Ranked:
    """Shared boxes, each with the name of the thing that it overlaps most."""
    found = shared_regions(bench.proposer()[0], bench.test_pictures)

    def named(names: list[str]) -> list[dict]:
        answers = []
        for k, truth in enumerate(bench.true_boxes(names)):
            there = found.quality[k] > 0
            boxes, sure = found.boxes[k][there], found.quality[k][there]
            labels = torch.tensor(truth["labels"], dtype=torch.long)
            if len(labels):
                things = torch.tensor(truth["boxes"], dtype=torch.float)
                overlap, best = pairwise_iou(boxes, things).max(1)
                kept = overlap > 0.1
                answer = boxes[kept], labels[best][kept], sure[kept]
            else:
                answer = boxes[:0], labels, sure[:0]
            answers.append(
                dict(zip(("boxes", "labels", "scores"), answer, strict=True))
            )
        return answers

    return same(bench, named(bench.names), named(bench.novel))


TEXT_HEAD, ORACLE = "text head", "text head, novel boxes too"
BOX_REFERENCES = (
    BoxReference("chance", "nothing", chance),
    BoxReference("boxes around CLIP's patches", "nothing", areas),
    *(
        BoxReference(f"proposals, CLIP's {view}", "base boxes", looking(view))
        for view in VIEWS
    ),
    BoxReference(TEXT_HEAD, "base boxes", text_head()),
    BoxReference("text head from CLIP's patches", "base boxes", text_head(near=True)),
    BoxReference(ORACLE, "boxes of all", text_head(oracle=True)),
    BoxReference("true boxes, CLIP's names", "true boxes", true_boxes),
    BoxReference("proposals, true names", "true names", true_names),
)


def find_box_reference(name: str) -> BoxReference:
    """The reference row of that name; KeyError that lists the names."""
    known = {reference.name: reference for reference in BOX_REFERENCES}
    if name not in known:
        raise KeyError(f"no reference {name!r}: {', '.join(known)}")
    return known[name]
