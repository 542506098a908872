"""Detic: a label of a picture is the name of its largest box.

Zhou et al. 2022, "Detecting Twenty-thousand Classes using Image-level
Supervision", arXiv 2201.02605.  Supervision: boxes of base names, and other
pictures with the names of what is in them, novel ones too, and no box.
Frozen: both towers; trained: the region half of a detector, first on boxes
alone, then on both: in a picture with labels the largest proposal, whatever it
looks like, is told each of them (yes to it, no to all other names; the mean
over labels).  Labels of pictures teach names alone, never boxes.  Simplified:
the proposer is the shared one; linear layers; neither a whole-picture box nor
captions; 32 labelled pictures beside 256 regions.  Two rows: scenes of several
things, as photographs are, and the pool, where most things stand alone.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from ...seeding import generator
from ...verdict import Check
from ..box_supervision import TaggedPool
from ..methods import Info
from ..parts.box_head import STEPS, RegionHead, fit_regions
from ..parts.box_regions import BoxRegions, lesson_of, shared_regions
from ..parts.one_stage import cosines
from ..parts.pseudo import Pseudo
from ..parts.texts import text_classifier
from ..parts.two_stage import count
from ..parts.yes_no import (
    SCALE,
    YesNoDetector,
    boxed_loss,
    drawn,
    largest,
    prepare_start,
    shared_start,
    tagged_rows,
    yes_no,
)
from ..supervision import Boxed, Tagged

PICTURES = 32  # with labels, of a step
PICKS = ("largest", "surest")
PAPER = {"weight": 0.1}

_PAPER = {
    "paper": "Detecting Twenty-thousand Classes using Image-level Supervision",
    "year": 2022,
    "arxiv": "2201.02605",
    "table": "list",
    "frozen": "CLIP",
    "tuned": "the region half of a detector",
    "simplified": "a shared proposer; linear layers; no whole-picture box",
    "knobs": {"weight": (0.1, 1.0)},
}
INFO = Info(name="Detic", needs=(Boxed, Tagged), **_PAPER)
POOL = Info(name="Detic, pool", needs=(Boxed, TaggedPool), **_PAPER)
ROWS = (INFO, POOL)
PARTS = {INFO.name: "archive", POOL.name: "pool"}


@dataclass(frozen=True)
class Told:
    """P labels of B pictures: whose each is, and what it says: [P] each."""

    picture: Tensor
    label: Tensor
    pictures: int

    @classmethod
    def of(cls, tags: Tensor) -> Told:
        """Those of ``tags`` bool [B, C]."""
        picture, label = tags.nonzero(as_tuple=True)
        return cls(picture, label, len(tags))


def picked(
    found: BoxRegions, told: Told, pick: str, scores: Tensor | None = None
) -> Tensor:
    """The region that each label is given to: [P].

    The "largest" of its picture, or the "surest" of the name by ``scores``
    [B, K, C].  Raises ValueError for another rule.
    """
    if pick not in PICKS:
        raise ValueError(f"pick is one of {PICKS}, not {pick!r}")
    if pick == "largest":
        return largest(found)[told.picture]
    there = found.quality[told.picture] > 0  # [P, K]
    own = scores[told.picture, :, told.label]
    return own.masked_fill(~there, -torch.inf).argmax(1)


def label_loss(
    head: RegionHead, found: BoxRegions, told: Told, texts: Tensor, scale, pick
) -> Tensor:
    """What the regions of B pictures pay for their labels; ``texts`` [C, D]."""

    def logits(bins: Tensor, pooled: Tensor) -> Tensor:
        return scale * cosines(head(bins, pooled)[0], texts)

    scores = None
    if pick == "surest":
        with torch.no_grad():
            scores = logits(found.bins, found.pooled)
    place = told.picture, picked(found, told, pick, scores)
    each = yes_no(logits(found.bins[place], found.pooled[place]), told.label)
    labels = torch.bincount(told.picture, minlength=told.pictures)
    return (each / labels[told.picture]).sum() / told.pictures


prepare = prepare_start  # as the bench calls it


def fit(
    clip,
    data: tuple[Boxed, Tagged],
    seed=0,
    *,
    weight=0.1,
    pick="largest",
    kind="oln",
    steps=STEPS,
) -> YesNoDetector:
    """Go on from a head that knows boxes; without ``weight`` on boxes alone."""
    boxed, labeled = data
    proposer, lesson = lesson_of(clip, boxed, seed, kind)
    head = copy.deepcopy(shared_start(clip, boxed, seed, kind)[0]).requires_grad_(True)
    found = shared_regions(proposer, labeled.pictures)
    base, names = (text_classifier(clip, d.names) for d in (boxed, labeled))
    scale, rng = SCALE * clip.logit_scale, generator(seed)
    rows = tagged_rows(labeled.tags)

    def loss(part, _):
        total = boxed_loss(head, part, base, scale)
        if weight:
            some = drawn(rows, PICTURES, rng)
            told = Told.of(labeled.tags[some])
            own = label_loss(head, found[some], told, names, scale, pick)
            total = total + weight * own
        return total

    fit_regions(head.parameters(), lesson, loss, steps=steps, seed=seed)
    head.requires_grad_(False)
    return YesNoDetector(
        clip=clip,
        proposer=proposer,
        head=head,
        trained=count(proposer, head),
        scale=scale,
        labels=labels_of(head, found, labeled, names, scale, pick),
    )


@torch.no_grad()
def labels_of(head, found, data: Tagged, names: Tensor, scale, pick) -> Pseudo:
    """What the pictures' labels are given to in the end; ``names`` [C, D]."""
    told = Told.of(data.tags)
    scores = (scale * cosines(head(found.bins, found.pooled)[0], names)).sigmoid()
    place = picked(found, told, pick, scores)
    return Pseudo(
        data.pictures,
        list(data.names),
        told.picture,
        found.boxes[told.picture, place],
        told.label,
        scores[told.picture, place, told.label],
    )


def checks(trial) -> list[Check]:
    full, boxes = trial.result(INFO), trial.result(INFO, weight=0.0)
    return [
        Check("labels of pictures help novel names", full, boxes, score="U"),
        Check(
            "labels of pictures do no harm to base names",
            full,
            boxes,
            score="S",
            at_least=True,
            effect=0.02,
        ),
        Check(
            "the largest box is as good as the surest where things stand alone",
            trial.result(POOL),
            trial.result(POOL, pick="surest"),
            score="U",
            at_least=True,
        ),
    ]
