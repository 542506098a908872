"""ZSD-YOLO: one stage, and boxes that have no name but a picture.

Xie and Zheng 2021, "Zero-Shot Object Detection Through Vision-Language
Embedding Alignment", arXiv 2109.12066.  Supervision: boxes of base names, and
CLIP's view of crops.  Frozen: both towers; trained: a one-stage detector.  A
cell in a true box is compared with the base names, and its raw vector drawn to
CLIP's view of the crop, length and all.  Boxes of a detector that knows base
things alone, where they overlap no truth by .2, are self-labels: they have no
name, and teach by their crop alone.  When predicting, a box passes by its
objectness times its best similarity, and is ranked by similarity.  Simplified:
one level; starts from the shared boxes, whose proposals are the self-labels;
the gate is a quantile, since its scale is the paper's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ...verdict import Check
from ..methods import Info
from ..parts.box_proposer import box_losses, shared_boxes
from ..parts.box_regions import Lesson, lesson_with
from ..parts.box_teacher import taught, teach_crops
from ..parts.one_stage import (
    STEPS,
    CellDetector,
    OneStage,
    Targets,
    cosines,
    fit_cells,
    named_cells,
    targets_of,
    true_targets,
)
from ..parts.texts import text_classifier
from ..parts.two_stage import count
from ..supervision import Boxed

SELF = 0.2  # overlap with the truth up to which a proposal is a self-label
SOME = 64  # training pictures from which the gate's scale is read
REPEATED = 0.4  # from this overlap on two boxes of a name are one
RANKS = ("similarity", "product")

teach = teach_crops
INFO = Info(
    name="ZSD-YOLO",
    paper="Zero-Shot Object Detection Through Vision-Language Embedding Alignment",
    year=2021,
    arxiv="2109.12066",
    table="boxes",
    needs=Boxed,
    frozen="CLIP",
    tuned="a one-stage detector",
    simplified="one level; starts from the shared boxes; the gate is a quantile",
    knobs={"image": (1.0, 4.0), "gate": (0.5, 0.7, 0.85)},
    reading=("gate", "rank"),
    uses="crops of proposals",
)
ROWS = (INFO,)


@dataclass(frozen=True, kw_only=True)
class ZsdYolo(CellDetector):
    """``gate``: the share of boxes in training pictures that do not pass.

    ``passing`` [P] is what those have: objectness times best similarity.
    ``rank`` "similarity", or "product" with objectness, which passes all.
    """

    passing: Tensor
    gate: float = 0.7
    rank: str = "similarity"

    def opinions(self, vectors, quality, names, seen):
        texts = text_classifier(self.clip, names)
        similarity = cosines(vectors, texts)  # [N, K, C]
        belief = (self.clip.logit_scale * similarity).softmax(-1)
        return self.ranked(similarity, quality), belief

    def ranked(self, similarity: Tensor, quality: Tensor) -> Tensor:
        """Scores [N, K, C] of similarities and of ``quality`` [N, K].

        Raises ValueError for another rank.
        """
        if self.rank not in RANKS:
            raise ValueError(f"rank is one of {RANKS}, not {self.rank!r}")
        scores = (1 + similarity) / 2  # above 0, in the same order
        if self.rank == "product":
            return scores * quality[..., None]
        bar = torch.quantile(self.passing, self.gate)
        return scores * (quality * scores.amax(-1) >= bar)[..., None]


def self_labels(lesson: Lesson, least: float = 0.5) -> Tensor:
    """Rows [R'] of a lesson that have a crop and no name.

    Proposals that overlap no true box by .2, of the better share ``least``
    by their quality.
    """
    free = ~lesson.true & (lesson.overlap < SELF)
    if not free.any():
        return free.nonzero()[:, 0]
    bar = torch.quantile(lesson.quality[free], 1 - least)
    return (free & (lesson.quality >= bar)).nonzero()[:, 0]


def text_loss(vectors: Tensor, targets: Targets, texts: Tensor, scale: float) -> Tensor:
    """Cross-entropy over base names of the cells [N, M, D] in true boxes."""
    things = targets.middle >= 0
    if not things.any():
        return vectors.sum() * 0
    labels = targets.cell_labels(0)[things]
    return F.cross_entropy(scale * cosines(vectors[things], texts), labels)


def image_loss(vectors: Tensor, targets: Targets, teacher: Tensor) -> Tensor:
    """How far raw vectors [N, M, D] are from the teacher's table [R, D].

    The sum of absolute differences, mean over cells in boxes of any kind.
    """
    things = targets.middle >= 0
    if not things.any():
        return vectors.sum() * 0
    goals = teacher[targets.cell_rows()[things]]
    return (vectors[things] - goals).abs().sum(-1).mean()


def fit(
    clip,
    data: Boxed,
    seed=0,
    *,
    image=1.0,
    selves=True,
    gate=0.7,
    rank="similarity",
    kind="oln",
    steps=STEPS,
) -> ZsdYolo:
    """Train the detector; ``selves`` off leaves out the self-labels."""
    start = shared_boxes(clip, data, seed, kind)
    net, lesson = OneStage(clip, start, seed), lesson_with(start, data)
    texts = text_classifier(clip, data.names)
    targets = true_targets(net, data)
    shown = lesson.true.nonzero()[:, 0]
    if selves:
        shown = torch.cat([shown, self_labels(lesson)])
    teacher = torch.zeros(0, clip.embed_dim)
    if image:
        teacher = taught(clip, data.pictures, lesson)[0]
    rows = [shown[lesson.picture[shown] == k] for k in range(len(data))]
    every = targets_of(
        net, [lesson.boxes[r] for r in rows], [lesson.labels[r] for r in rows], rows
    )

    def loss(pictures, picked):
        cells, vectors = net(pictures)
        own = targets[picked]
        total = box_losses(cells, own.boxes, own.whole, own.middle, kind)
        total = total + text_loss(vectors, own, texts, clip.logit_scale)
        if image:
            total = total + image * image_loss(vectors, every[picked], teacher)
        return total

    fit_cells(net.parameters(), data, loss, steps=steps, seed=seed)
    net.requires_grad_(False)
    return ZsdYolo(
        clip=clip,
        net=net,
        passing=_passing(net, data, texts),
        trained=count(net),
        overlap=REPEATED,
        gate=gate,
        rank=rank,
    )


@torch.no_grad()
def _passing(net: OneStage, data: Boxed, texts: Tensor) -> Tensor:
    """Objectness times best similarity of boxes in some training pictures."""
    spots, vectors = named_cells(net, data.pictures[:SOME])
    best = (1 + cosines(vectors, texts).amax(-1)) / 2
    there = spots.quality > 0
    return (spots.quality * best)[there] if there.any() else torch.zeros(1)


def checks(trial) -> list[Check]:
    full = trial.result(INFO)
    return [
        Check(
            "boxes without a name help novel names",
            full,
            trial.result(INFO, selves=False),
            score="U",
        ),
        Check(
            "crops help novel names beside texts",
            full,
            trial.result(INFO, image=0.0),
            score="U",
        ),
        Check(
            "a gate and similarity rank novel things better than the product",
            full,
            trial.result(INFO, rank="product"),
            score="U",
        ),
    ]
