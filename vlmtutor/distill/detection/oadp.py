"""OADP: a better look at an object, and lessons from blocks and the whole.

Wang et al. 2023, "Object-Aware Distillation Pyramid for Open-Vocabulary Object
Detection", arXiv 2303.05892.  Supervision: boxes of base names, and CLIP's view
of objects, blocks and pictures.  Frozen: both towers; trained: the region half
of a detector.  A crop is a square of eight times the box's area, moved inside
the picture; in it an extra token, a copy of the class token, sees in every
layer only itself and the patches of the box, while nobody sees it: what it
reads out is the object, neither stretched nor with what is around.  Vectors of
blocks and of the whole picture are taught as well, with which base names are
in them, by heads of their own on the same layers; when predicting, the text
head and the object head alone are asked, two thirds to one third.  Simplified:
the stride is the model's own; five blocks (the picture and its quarters, which
overlap); two linear layers in place of a pyramid of maps.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...seeding import seeded_weights
from ...verdict import Check
from ..methods import Info
from ..parts.box_head import (
    STEPS,
    Nothing,
    RegionDetector,
    RegionHead,
    box_loss,
    name_loss,
    train_detector,
)
from ..parts.box_regions import Lesson, lesson_of, region_bins
from ..parts.box_teacher import crop_embeds, object_embeds, seen_regions
from ..parts.boxes import content
from ..parts.fusion import fuse
from ..parts.texts import text_classifier
from ..pictures import once
from ..supervision import Boxed

SHARE = 2 / 3  # of the text head for base names, of the object head for others
BLOCK = 2 / 3  # of a picture's side, that of its quarters
OBJECT, BLOCKS, WHOLE = 256.0, 128.0, 0.5  # weights, as the paper has them
GRAM, BLOCK_NAMES, WHOLE_NAMES = 8.0, 16.0, 4.0

INFO = Info(
    name="OADP",
    paper="Object-Aware Distillation Pyramid for Open-Vocabulary Object Detection",
    year=2023,
    arxiv="2303.05892",
    table="boxes",
    needs=Boxed,
    frozen="CLIP",
    tuned="the region half of a detector",
    simplified="the model's own stride; five blocks; linear layers",
    knobs={"pyramid": (0.1, 1.0)},
    split=True,
    uses="object tokens, blocks and whole pictures",
)
ROWS = (INFO,)


def blocks_of(size: int) -> Tensor:
    """The whole picture, and its quarters, which overlap: [5, 4]."""
    near, far = 0.0, size * (1 - BLOCK)
    corners = [(x, y) for y in (near, far) for x in (near, far)]
    quarters = [[x, y, x + size * BLOCK, y + size * BLOCK] for x, y in corners]
    return torch.tensor([[0.0, 0.0, size, size], *quarters])


@dataclass(frozen=True)
class Taught:
    """What CLIP sees: of regions [R, D], and of five blocks [N, 5, D].

    ``bins`` [N, 5, F] of the blocks, ``present`` [N, 5, C] the base names
    with the middle of a box in them; ``seconds`` it took.
    """

    objects: Tensor
    blocks: Tensor
    bins: Tensor
    present: Tensor
    seconds: float


def views(clip, data: Boxed, lesson: Lesson) -> Taught:
    """The teacher's view of the boxed pictures, made once."""
    key = "pyramid", content(lesson.boxes)
    return once(data.pictures, key, lambda: _views(clip, data, lesson))


def teach(clip, data: Boxed, lesson: Lesson, seed: int = 0) -> float:
    """Ask the teacher before the fit; the seconds it took when it was asked."""
    return views(clip, data, lesson).seconds


def _views(clip, data: Boxed, lesson: Lesson) -> Taught:
    begun, pictures = time.perf_counter(), data.pictures
    pixels, N = pictures.pixel_values, len(data)
    blocks = blocks_of(pictures.images.shape[1])
    objects = object_embeds(clip, pixels, lesson.picture, lesson.boxes)
    shown = blocks.repeat(N, 1)
    picture = torch.arange(N).repeat_interleave(len(blocks))
    embeds = crop_embeds(clip, pixels, picture, shown, margins=(1.0,))
    present = torch.zeros(N, len(blocks), len(data.names))
    for k, (boxes, names) in enumerate(zip(data.boxes, data.labels, strict=True)):
        middle = boxes.unflatten(1, (2, 2)).mean(1)
        within = (middle >= blocks[:, None, :2]) & (middle <= blocks[:, None, 2:])
        place, thing = within.all(-1).nonzero(as_tuple=True)
        present[k, place, names[thing]] = 1
    bins = region_bins(pictures, blocks.expand(N, -1, -1))
    seconds = round(time.perf_counter() - begun, 2)
    return Taught(objects, embeds.unflatten(0, (N, -1)), bins, present, seconds)


class Pyramid(RegionHead):
    """A head for texts and boxes, and three more for what CLIP sees.

    ``pyramid.seen(bins, "object")`` is [..., D] of ``bins`` [..., F]; the
    others are "block" and "whole".
    """

    def __init__(self, features: int, dim: int, seed: int = 0, width: int = 256):
        super().__init__(features, dim, width=width, seed=seed)
        with seeded_weights(seed + 1):
            self.views = nn.ModuleDict(
                {name: nn.Linear(width, dim) for name in ("object", "block", "whole")}
            )
        self.scale = nn.Parameter(torch.tensor(10.0))
        self.bias = nn.Parameter(torch.tensor(-5.0))

    def seen(self, bins: Tensor, view: str) -> Tensor:
        """A view's vectors [..., D] of ``bins`` [..., F], L2-normalised."""
        return F.normalize(self.views[view](self.body(bins.float())), dim=-1)

    def named(self, vectors: Tensor, texts: Tensor) -> Tensor:
        """Which names are there: logits [..., C] of ``texts`` [C, D]."""
        return self.scale * vectors @ texts.T + self.bias


def names_loss(logits: Tensor, present: Tensor, gamma=4.0, clip_at=0.05) -> Tensor:
    """Asymmetric loss [..., C]: what is surely absent costs nothing.

    Ben-Baruch et al. 2020, arXiv 2009.14119.
    """
    yes = logits.sigmoid()
    no = (1 - yes + clip_at).clamp(max=1)
    loss = present * yes.clamp(min=1e-8).log()
    loss = loss + (1 - present) * (1 - no) ** gamma * no.clamp(min=1e-8).log()
    return -loss.mean()


def pyramid_loss(
    head: Pyramid, bins: Tensor, goals: Tensor, present: Tensor, texts: Tensor
) -> Tensor:
    """What blocks and the whole pay, for ``bins`` [B, 5, F] of B pictures.

    ``goals`` [B, 5, D] are CLIP's views, ``present`` [B, 5, C].
    """
    blocks, whole = head.seen(bins, "block"), head.seen(bins[:, 0], "whole")
    gram, goal = (x @ x.transpose(1, 2) for x in (blocks, goals))
    return (
        BLOCKS * (blocks - goals).abs().mean()
        + GRAM * F.mse_loss(gram, goal)
        + BLOCK_NAMES * names_loss(head.named(blocks, texts), present)
        + WHOLE * (whole - goals[:, 0]).square().sum(-1).mean()
        + WHOLE_NAMES * names_loss(head.named(whole, texts), present[:, 0])
    )


@dataclass(frozen=True, kw_only=True)
class OADP(RegionDetector):
    """``head`` is a :class:`Pyramid`; ``nothing`` the background's vector."""

    nothing: Nothing

    def opinions(self, found, pictures, names, seen):
        texts, scale = text_classifier(self.clip, names), self.clip.logit_scale
        vectors = F.normalize(self.head(found.bins, found.pooled)[0], dim=-1)
        logits = scale * vectors @ self.nothing(texts).T
        q = (scale * self.head.seen(found.bins, "object") @ texts.T).softmax(-1)
        seen = torch.zeros(len(names), dtype=torch.bool) if seen is None else seen
        both = logits.softmax(-1)[..., :-1], logits[..., :-1].softmax(-1)
        return tuple(fuse(p, q, seen, SHARE, "zsseg") for p in both)


def fit(
    clip, data: Boxed, seed=0, *, objects=1.0, pyramid=1.0, kind="oln", steps=STEPS
) -> OADP:
    """Train the heads; ``objects`` and ``pyramid`` weigh their lessons."""
    proposer, lesson = lesson_of(clip, data, seed, kind)
    head = Pyramid(lesson.bins.shape[1], clip.embed_dim, seed)
    nothing = Nothing(clip.embed_dim, seed)
    texts, told = text_classifier(clip, data.names), views(clip, data, lesson)

    def loss(part, rows):
        vectors, shifts = head(part.bins, part.pooled)
        columns = nothing(texts)
        total = name_loss(vectors, columns, part.labels, clip.logit_scale)
        total = total + box_loss(shifts, part, len(texts))
        away = (head.seen(part.bins, "object") - told.objects[rows]).abs().mean()
        total = total + objects * OBJECT * away
        if pyramid:
            some = part.picture.unique()[:32]
            lessons = (x[some] for x in (told.bins, told.blocks, told.present))
            total = total + pyramid * pyramid_loss(head, *lessons, texts)
        return total

    parts = {"head": head, "nothing": nothing}
    return train_detector(
        OADP, clip, proposer, lesson, loss, steps=steps, seed=seed, **parts
    )


def checks(trial) -> list[Check]:
    full, alone = trial.result(INFO), trial.result(INFO, pyramid=0.0)
    bench, clip = trial.bench, trial.bench.clip
    found, pictures = bench.true_regions(), bench.test_pictures
    labels = bench.true_labels()
    picture, place = (found.quality > 0).nonzero(as_tuple=True)
    boxes = found.boxes[picture, place]
    own = object_embeds(clip, pictures.pixel_values, picture, boxes)
    stretched = seen_regions(clip, pictures, found, square=False)[picture, place]
    texts, novel = text_classifier(clip, bench.names), labels >= len(bench.base)
    right = [
        ((E @ texts.T).argmax(1) == labels)[novel].float() for E in (own, stretched)
    ]
    return [
        Check(
            "the object token names novel things better than a stretched crop", *right
        ),
        Check(
            "object lessons help novel names",
            alone,
            trial.result(INFO, pyramid=0.0, objects=0.0),
            score="U",
        ),
        Check(
            "lessons from blocks and the whole help novel names", full, alone, score="U"
        ),
    ]
