"""RKD: crops teach regions, labels teach names, and weights write weights.

Rasheed et al. 2022, "Bridging the Gap between Object and Image-level
Representations for Open-Vocabulary Detection", arXiv 2207.03482.  Supervision:
boxes of base names, pictures with labels of all names, and CLIP's view of
crops.  Frozen: both towers; trained: the region half of a detector, in two
stages.  First regions are drawn to CLIP's view of their crops, one by one and
in how they resemble each other (the region-based distillation that gives the
survey its name; it uses the loss of relational distillation, Park et al. 2019,
arXiv 1904.05068, and is another method).  Then labels of pictures teach names,
by the box that suits the words "every <name>" best.  The projection of the
first stage stays as it is, and goes on teaching the trunk what crops look
like; the projection that names are read by is written from it by a small
network.  Simplified: grad-CAM over the shared proposals stands for MAVL's
boxes; two linear layers; equal steps for both stages.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...seeding import generator, seeded_weights
from ...verdict import Check
from ..methods import Info
from ..parts.box_head import (
    RegionDetector,
    RegionHead,
    among,
    box_loss,
    fit_regions,
)
from ..parts.box_regions import Lesson, lesson_of, timed_regions
from ..parts.box_teacher import taught, teach_crops
from ..parts.locate import labelled
from ..parts.texts import text_classifier
from ..parts.two_stage import count
from ..parts.yes_no import SCALE, yes_no
from ..pictures import once
from ..supervision import Boxed, Tagged

STEPS = 300  # of each stage
POINT, RELATION, LABELS = 15.0, 15.0, 0.1  # weights
RELATED = 80  # regions of a step that are distilled: five a picture
SHOWN = 128  # labels of a step

INFO = Info(
    name="RKD",
    paper="Bridging the Gap between Object and Image-level Representations for "
    "Open-Vocabulary Detection",
    year=2022,
    arxiv="2207.03482",
    table="list",
    needs=(Boxed, Tagged),
    frozen="CLIP",
    tuned="the region half of a detector, in two stages",
    simplified="grad-CAM over shared proposals for MAVL; linear layers",
    uses="crops of proposals, and grad-CAM",
)
ROWS = (INFO,)


class Written(nn.Module):
    """``net(weight, states)``: vectors [..., D] by weights that it writes.

    From ``weight`` [D, F], row by row, for ``states`` [..., F]; a short cut of
    its own is added.
    """

    def __init__(self, features: int, dim: int, seed: int = 0):
        super().__init__()
        with seeded_weights(seed):
            self.writer, self.short = (
                nn.Sequential(
                    nn.Linear(features, features),
                    nn.LeakyReLU(0.1),
                    nn.Linear(features, out),
                )
                for out in (features, dim)
            )

    def forward(self, weight: Tensor, states: Tensor) -> Tensor:
        return states @ self.writer(weight).T + self.short(states)


@dataclass(frozen=True, kw_only=True)
class RKD(RegionDetector):
    """``written`` is the network that writes weights, or None.

    ``ranking`` "own" is the sigmoid: the paper multiplies no objectness.
    """

    written: Written | None = None

    def vectors(self, bins: Tensor) -> tuple[Tensor, Tensor]:
        """What names are read by, and what crops teach: two unit [..., D].

        ``bins`` [..., F] of regions.
        """
        states = self.head.body(bins.float())
        taught = named = self.head.vector(states)
        if self.written is not None:
            named = self.written(self.head.vector.weight, states)
        return F.normalize(named, dim=-1), F.normalize(taught, dim=-1)

    def logits(self, vectors: Tensor, texts: Tensor) -> Tensor:
        """Whether unit vectors [..., D] have names [C, D]; the background is 0."""
        return SCALE * self.clip.logit_scale * vectors @ texts.T

    def opinions(self, found, pictures, names, seen):
        texts = text_classifier(self.clip, names)
        logits = self.logits(self.vectors(found.bins)[0], texts)
        return logits.sigmoid(), among(logits / SCALE)


def relation_loss(ours: Tensor, theirs: Tensor) -> Tensor:
    """How differently two sets of unit vectors [R, D] resemble each other."""
    a, b = (F.normalize(x @ x.T, p=1, dim=-1) for x in (ours, theirs))
    return (a - b).square().sum()


def distil(ours: Tensor, theirs: Tensor) -> Tensor:
    """Both of the first stage's losses on unit vectors [R, D]."""
    return POINT * (ours - theirs).abs().mean() + RELATION * relation_loss(ours, theirs)


def train(
    model: RKD,
    lesson: Lesson,
    base: Tensor,
    weights: list[nn.Parameter],
    *,
    teacher: Tensor | None = None,
    shown: tuple[Tensor, Tensor, Tensor] | None = None,
    steps: int = STEPS,
    seed: int = 0,
) -> RKD:
    """One stage: boxes, and what else there is; the model, trained in place.

    ``base`` [C, D] are texts of the boxes' names.  ``teacher`` [L, D]: CLIP's
    views of the lesson's regions.  ``shown``: bins [P, F], labels [P] and
    texts [C', D] of all names.
    """
    rng = generator(seed)

    def loss(part, rows):
        named, like_crops = model.vectors(part.bins)
        shifts = model.head.shift(model.head.body(part.bins.float()))
        total = yes_no(model.logits(named, base), part.labels).mean()
        total = total + box_loss(shifts, part, len(base))
        if teacher is not None:
            total = total + distil(like_crops[:RELATED], teacher[rows[:RELATED]])
        if shown is not None:
            bins, labels, texts = shown
            some = torch.randint(len(labels), (SHOWN,), generator=rng)
            vectors = model.vectors(bins[some])[0]
            own = yes_no(model.logits(vectors, texts), labels[some])
            total = total + LABELS * own.mean()
        return total

    fit_regions(weights, lesson, loss, steps=steps, seed=seed)
    return model


def fit(
    clip,
    data: tuple[Boxed, Tagged],
    seed=0,
    *,
    crops=True,
    labels=True,
    transfer=True,
    kind="oln",
    steps=STEPS,
) -> RKD:
    """Two stages: boxes and ``crops``; then ``labels``, too.

    ``transfer``: names are read by weights that are written from the first
    stage's; without it both stages train one projection.
    """
    boxed, tagged = data
    proposer, lesson = lesson_of(clip, boxed, seed, kind)
    base = text_classifier(clip, boxed.names)
    teacher = taught(clip, boxed.pictures, lesson)[0] if crops else None

    def first() -> RKD:
        head = RegionHead(lesson.bins.shape[1], clip.embed_dim, seed=seed)
        model = RKD(clip=clip, proposer=proposer, head=head)
        weights = [*head.parameters()]
        told = {"teacher": teacher, "steps": steps, "seed": seed}
        return train(model, lesson, base, weights, **told)

    key = "first stage", seed, kind, crops, steps
    head = copy.deepcopy(once(boxed.pictures, key, first).head)
    written = Written(head.vector.in_features, clip.embed_dim, seed + 1)
    written = written if transfer else None
    head.vector.requires_grad_(not transfer)
    model = RKD(clip=clip, proposer=proposer, head=head, written=written)
    shown = None
    if labels:
        texts = text_classifier(clip, tagged.names)
        shown = (*labelled(clip, tagged, proposer)[0], texts)
    modules = [m for m in (head, written) if m is not None]
    weights = [p for m in modules for p in m.parameters() if p.requires_grad]
    told = {"teacher": teacher, "shown": shown, "steps": steps, "seed": seed + 1}
    train(model, lesson, base, weights, **told)
    for module in modules:
        module.requires_grad_(False)
    trained = count(proposer, *modules)
    return RKD(
        clip=clip, proposer=proposer, head=head, written=written, trained=trained
    )


def prepare(clip, data: tuple[Boxed, Tagged], lesson, seed: int = 0) -> float:
    """Make what other methods use too; the seconds it took when it was made."""
    proposer = lesson_of(clip, data[0], seed)[0]
    return timed_regions(proposer, data[1].pictures)[1]


def teach(clip, data: tuple[Boxed, Tagged], lesson, seed: int = 0) -> float:
    """Look at crops, and for labels' boxes; the seconds it took when it did."""
    boxed, tagged = data
    proposer = lesson_of(clip, boxed, seed)[0]
    seconds = teach_crops(clip, boxed, lesson, seed)
    return seconds + labelled(clip, tagged, proposer)[1]


def checks(trial) -> list[Check]:
    plain = trial.result(INFO, crops=False, labels=False, transfer=False)
    crops = trial.result(INFO, labels=False, transfer=False)
    named = trial.result(INFO, crops=False, transfer=False)
    both = trial.result(INFO, transfer=False)
    return [
        Check("crops of regions help novel names", crops, plain, score="U"),
        Check("labels of pictures help novel names", named, plain, score="U"),
        Check(
            "weights written from weights help novel names more than one for both",
            trial.result(INFO),
            both,
            score="U",
        ),
    ]
