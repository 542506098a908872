"""VL-PLM: CLIP names proposals, and the surer ones are taken for the truth.

Zhao et al. 2022, "Exploiting Unlabeled Data with Vision and Language Models for
Object Detection", arXiv 2207.08954.  Supervision: boxes of base names, and the
list of novel names; the boxed pictures are the unlabelled ones, too.  Frozen:
both towers; trained: the region half of a detector.  A box head that knows no
names is applied to each proposal ten times, so that boxes fit; CLIP sees crops
of margins 1 and 1.5, and its softmax over the novel names gives a name.  The
mean of that probability and of the proposal's own says which labels are kept.
The detector learns from both kinds of boxes, those of its own with their
confidence as weight; its names are inner products, of no fixed length, and the
background is nothing.  Simplified: the proposer is the shared one, its box head
that of a text head; a share of the labels is kept, as the paper's .8 is a
figure of its own CLIP.  Two rows: as the paper has it, and without labels that
stand where a base box is.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ...verdict import Check
from ..methods import Info
from ..parts.box_head import (
    STEPS,
    RegionDetector,
    RegionHead,
    fit_regions,
    shift_loss,
)
from ..parts.box_proposer import BoxProposer, timed_once
from ..parts.box_regions import (
    Lesson,
    lesson_of,
    lesson_with,
    make_lesson,
    region_bins,
    shared_regions,
)
from ..parts.box_teacher import crop_embeds, taught
from ..parts.boxes import pairwise_iou, shifted, without_repeats
from ..parts.pseudo import Pseudo
from ..parts.texts import text_classifier
from ..parts.two_stage import count
from ..parts.yes_no import shared_start
from ..pictures import DensePictures, batched
from ..supervision import Boxed

REPEATS = 10  # of the box head
REPEATED = 0.6  # from this overlap on two labels are one
OVER = 0.5  # overlap with a base box from which on a label stands where it is
PAPER = {"share": 0.5, "bar": 0.8}

_PAPER = {
    "paper": "Exploiting Unlabeled Data with Vision and Language Models for "
    "Object Detection",
    "year": 2022,
    "arxiv": "2207.08954",
    "table": "list",
    "needs": Boxed,
    "frozen": "CLIP",
    "tuned": "the region half of a detector",
    "simplified": "a shared proposer; linear layers; a share of labels is kept",
    "told": ("novel",),
    "knobs": {"kept": (0.1, 0.2, 0.4)},
    "uses": "crops of refined proposals",
}
INFO = Info(name="VL-PLM", **_PAPER)
APART = Info(name="VL-PLM, apart from base boxes", **_PAPER, settings={"apart": True})
ROWS = (INFO, APART)
PARTS = dict.fromkeys((INFO.name, APART.name), "boxes")


@torch.no_grad()
def refined(
    head: RegionHead, pictures: DensePictures, boxes: Tensor, times: int
) -> Tensor:
    """Boxes [N, K, 4] after the box head was applied to them, again and again."""
    size, boxes = pictures.images.shape[1], boxes.clone()
    for _ in range(times):
        for rows in batched(len(boxes), 32):
            bins = region_bins(pictures[rows], boxes[rows])
            shifts = head.shift(head.body(bins.float()))
            boxes[rows] = shifted(boxes[rows], shifts, size)
    return boxes


@dataclass(frozen=True)
class Seen:
    """R refined proposals: whose they are, where, how sure, what CLIP sees.

    ``picture`` [R], ``boxes`` [R, 4], ``quality`` [R], ``embeds`` [R, D].
    """

    picture: Tensor
    boxes: Tensor
    quality: Tensor
    embeds: Tensor


def views(
    clip, data: Boxed, proposer: BoxProposer, seed: int, repeats: int = REPEATS
) -> tuple[Seen, float]:
    """CLIP's view of refined proposals, made once, and the seconds it took."""

    def make() -> Seen:
        pictures = data.pictures
        found = shared_regions(proposer, pictures)
        head = shared_start(clip, data, seed)[0]
        boxes = refined(head, pictures, found.boxes, repeats)
        picture, place = (found.quality > 0).nonzero(as_tuple=True)
        boxes, quality = boxes[picture, place], found.quality[picture, place]
        if repeats:
            embeds = crop_embeds(clip, pictures.pixel_values, picture, boxes)
        else:  # as others see them
            lesson = lesson_with(proposer, data)
            embeds = taught(clip, pictures, lesson)[0][~lesson.true]
        return Seen(picture, boxes, quality, embeds)

    return timed_once(data.pictures, ("refined", proposer, seed, repeats), make)


def label(
    clip,
    data: Boxed,
    seen: Seen,
    novel: list[str],
    *,
    share: float = 0.5,
    kept: float = 0.2,
    apart: bool = False,
) -> Pseudo:
    """A novel name for each proposal; the surest part ``kept`` of them.

    ``share`` is the proposal's own in the confidence, CLIP has the rest.
    """
    logits = clip.logit_scale * seen.embeds @ text_classifier(clip, novel).T
    p, name = logits.softmax(-1).max(-1)
    sure = share * seen.quality + (1 - share) * p
    good = sure >= torch.quantile(sure, 1 - kept)
    for k in range(len(data)):
        rows = (seen.picture == k).nonzero()[:, 0]
        boxes = seen.boxes[rows]
        good[rows] &= (
            without_repeats(sure[rows], pairwise_iou(boxes, boxes), REPEATED) > 0
        )
        if apart:
            good[rows] &= pairwise_iou(boxes, data.boxes[k]).amax(1) < OVER
    own = seen.picture, seen.boxes, name, sure
    return Pseudo(data.pictures, list(novel), *(value[good] for value in own))


def weighted_loss(
    head: RegionHead, part: Lesson, texts: Tensor, weights: Tensor
) -> Tensor:
    """Name and box loss of regions, things by their weight [R].

    Inner products with ``texts`` [C, D]; the background's logit is 0.
    """
    vectors, shifts = head(part.bins, part.pooled)
    logits = F.pad(vectors @ texts.T, (0, 1))
    things = part.labels < len(texts)
    weights = torch.where(things, weights, 1.0)
    named = F.cross_entropy(logits, part.labels, reduction="none")
    error = shift_loss(shifts, part.boxes, part.goals) * things
    moved = (weights * error).sum() / things.sum().clamp(min=1)
    return (weights * named).mean() + moved


@dataclass(frozen=True, kw_only=True)
class VLPLM(RegionDetector):
    """Names by inner products, beside a background of nothing."""

    def opinions(self, found, pictures, names, seen):
        vectors = self.head(found.bins, found.pooled)[0]
        logits = F.pad(vectors @ text_classifier(self.clip, names).T, (0, 1))
        return logits.softmax(-1)[..., :-1], logits[..., :-1].softmax(-1)


def prepare(clip, data: Boxed, lesson: Lesson, seed: int = 0) -> float:
    """Make what other methods use too; the seconds it took when it was made."""
    return shared_start(clip, data, seed)[1]


def teach(clip, data: Boxed, lesson: Lesson, seed: int = 0) -> float:
    """Ask the teacher before the fit; the seconds it took when it was asked."""
    return views(clip, data, lesson_of(clip, data, seed)[0], seed)[1]


def fit(
    clip,
    data: Boxed,
    seed=0,
    *,
    novel,
    share=0.5,
    kept=0.2,
    apart=False,
    repeats=REPEATS,
    kind="oln",
    steps=STEPS,
) -> VLPLM:
    """Label novel things, then learn from both; with nothing ``kept`` from base
    boxes alone."""
    proposer, lesson = lesson_of(clip, data, seed, kind)
    texts, labels = text_classifier(clip, data.names), None
    weights = torch.ones(len(lesson))
    if kept:
        seen = views(clip, data, proposer, seed, repeats)[0]
        labels = label(clip, data, seen, novel, share=share, kept=kept, apart=apart)
        both, each = labels.beside(data)
        lesson = make_lesson(proposer, both)
        weights = each[lesson.owner]
        texts = text_classifier(clip, both.names)
    head = RegionHead(lesson.bins.shape[1], clip.embed_dim, seed=seed)
    fit_regions(
        head.parameters(),
        lesson,
        lambda part, rows: weighted_loss(head, part, texts, weights[rows]),
        steps=steps,
        seed=seed,
    )
    return VLPLM(
        clip=clip,
        proposer=proposer,
        head=head.requires_grad_(False),
        trained=count(proposer, head),
        labels=labels,
    )


def checks(trial) -> list[Check]:
    bench, model = trial.bench, trial.model(INFO)
    data = bench.data(Boxed)

    def judged(share: float, repeats: int = REPEATS):
        seed = bench.protocol.seed
        seen = views(bench.clip, data, model.proposer, seed, repeats)[0]
        own = label(bench.clip, data, seen, bench.novel, share=share, kept=1.0)
        return bench.judge_labels(own, PARTS[INFO.name])

    return [
        Check(
            "labels are ranked better with the proposal's own confidence",
            judged(0.5),
            judged(0.0),
            score="U",
        ),
        Check(
            "labels are better when boxes were refined again and again",
            judged(0.5),
            judged(0.5, repeats=0),
            score="U",
        ),
        Check(
            "labels of its own help novel names beside base boxes",
            trial.result(INFO),
            trial.result(INFO, kept=0.0),
            score="U",
        ),
    ]
