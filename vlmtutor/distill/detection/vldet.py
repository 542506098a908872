"""VLDet: the nouns of a sentence and the regions of its picture, paired off.

Lin et al. 2022, "Learning Object-Language Alignments for Open-Vocabulary
Object Detection", arXiv 2211.14843.  Supervision: boxes of base names, and
other pictures with a sentence each; no list of names, the nouns of all
sentences are the vocabulary.  Frozen: both towers; trained: the region half of
a detector, first on boxes alone, then on both.  In each picture nouns and
regions are matched one to one at the least total cost; a matched region should
say yes to its noun and no to the nouns of the batch's other sentences, but for
those that its own sentence has too.  The whole picture, as one region more,
should say yes to its sentence and no to the others; it takes no part in the
matching.  Sentences teach no boxes.  Simplified: the proposer is the shared
one; linear layers; phrases are reduced to nouns by the world's dictionary; 32
sentences beside 256 regions.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor

from ...seeding import generator
from ...verdict import Check
from ..methods import Info
from ..parts.box_head import STEPS, fit_regions
from ..parts.box_regions import BoxRegions, lesson_of, look_into, timed_regions
from ..parts.nouns import spoken_nouns
from ..parts.one_stage import cosines
from ..parts.pseudo import Pseudo
from ..parts.spoken import MATCHINGS, Spoken, paired
from ..parts.texts import text_classifier
from ..parts.two_stage import count
from ..parts.yes_no import (
    SCALE,
    YesNoDetector,
    boxed_loss,
    drawn,
    prepare_start,
    shared_start,
)
from ..pictures import DensePictures, once
from ..supervision import Boxed, Captioned

PICTURES = 32  # with sentences, of a step
WHOLE = 1.0  # weight of whole pictures and sentences
PAPER = {"weight": 0.01}

INFO = Info(
    name="VLDet",
    paper="Learning Object-Language Alignments for Open-Vocabulary Object Detection",
    year=2022,
    arxiv="2211.14843",
    table="sentences",
    needs=(Boxed, Captioned),
    frozen="CLIP",
    tuned="the region half of a detector",
    simplified="a shared proposer; linear layers; the world's dictionary of nouns",
    knobs={"weight": (0.01, 0.1)},
)
ROWS = (INFO,)
PARTS = {INFO.name: "captions"}


def noun_loss(logits: Tensor, region: Tensor, spoken: Spoken) -> Tensor:
    """What the matched regions [M] of ``logits`` [B, K, M] pay, by picture.

    A yes to their noun and a no to each of the others, repeats counted.
    """
    own = logits[spoken.picture, region]  # [M, M]
    loss = F.softplus(-own.diagonal()) + (F.softplus(own) * spoken.others()).sum(1)
    return loss.sum() / spoken.pictures


def whole_loss(vectors: Tensor, sentences: Tensor, scale: float) -> Tensor:
    """Whole pictures [B, D] say yes to their sentences [B, D] alone."""
    logits = scale * cosines(vectors, sentences)
    yes = torch.eye(len(logits))
    loss = F.binary_cross_entropy_with_logits(logits, yes, reduction="none")
    return loss.sum(1).mean()


def whole_regions(pictures: DensePictures) -> BoxRegions:
    """Each picture as one region."""

    def make() -> BoxRegions:
        size = float(pictures.images.shape[1])
        boxes = torch.tensor([[[0.0, 0.0, size, size]]]).expand(len(pictures), 1, 4)
        return look_into(pictures, boxes, torch.ones(len(pictures), 1))

    return once(pictures, "whole", make)


prepare = prepare_start  # as the bench calls it


def fit(
    clip,
    data: tuple[Boxed, Captioned],
    seed=0,
    *,
    weight=0.01,
    matching="one to one",
    kind="oln",
    steps=STEPS,
) -> YesNoDetector:
    """Go on from a head that knows boxes; without ``weight`` on boxes alone."""
    boxed, captioned = data
    proposer, lesson = lesson_of(clip, boxed, seed, kind)
    head = copy.deepcopy(shared_start(clip, boxed, seed, kind)[0]).requires_grad_(True)
    found = timed_regions(proposer, captioned.pictures)[0]
    whole = whole_regions(captioned.pictures)
    said = spoken_nouns(captioned)
    vocabulary = list(dict.fromkeys(word for own in said for word in own))
    places = [[vocabulary.index(word) for word in own] for own in said]
    base, words = (text_classifier(clip, n) for n in (boxed.names, vocabulary))
    sentences = clip.encode_texts(captioned.captions)
    scale, rng = SCALE * clip.logit_scale, generator(seed)
    every = torch.arange(len(captioned))

    def logits(rows: Tensor, spoken: Spoken) -> Tensor:
        vectors = head(found.bins[rows], found.pooled[rows])[0]
        return scale * cosines(vectors, words[spoken.noun])

    def loss(part, _):
        total = boxed_loss(head, part, base, scale)
        if weight:
            rows = drawn(every, PICTURES, rng)
            spoken = Spoken.of([places[k] for k in rows.tolist()])
            own = logits(rows, spoken)
            region = paired(own, found[rows], spoken, matching)
            total = total + weight * noun_loss(own, region, spoken)
            vectors = head(whole.bins[rows, 0], whole.pooled[rows, 0])[0]
            total = total + WHOLE * whole_loss(vectors, sentences[rows], scale)
        return total

    fit_regions(head.parameters(), lesson, loss, steps=steps, seed=seed)
    head.requires_grad_(False)
    labels = []
    for rows in every.split(PICTURES):
        spoken = Spoken.of([places[k] for k in rows.tolist()])
        own = logits(rows, spoken)
        region = paired(own, found[rows], spoken, matching)
        sure = own[spoken.picture, region].diagonal().sigmoid()
        boxes = found.boxes[rows][spoken.picture, region]
        labels.append((rows[spoken.picture], boxes, spoken.noun, sure))
    labels = map(torch.cat, zip(*labels, strict=True))
    return YesNoDetector(
        clip=clip,
        proposer=proposer,
        head=head,
        trained=count(proposer, head),
        scale=scale,
        labels=Pseudo(captioned.pictures, vocabulary, *labels),
    )


def checks(trial) -> list[Check]:
    models = {
        matching: trial.model(INFO, **({} if matching == MATCHINGS[0] else own))
        for matching, own in ((m, {"matching": m}) for m in MATCHINGS)
    }
    labels = models[MATCHINGS[0]].labels
    truth = trial.bench.things("captions", labels.names)
    pairs = zip(labels.picture.tolist(), labels.labels.tolist(), strict=True)
    named = torch.tensor([word in truth[k]["labels"] for k, word in pairs])
    right = {m: o.labels.right(truth)[named].float() for m, o in models.items()}
    return [
        Check(
            "pairs one to one find a noun's thing better than the best region",
            right["one to one"],
            right["best"],
        ),
        Check(
            "pairs one to one find a noun's thing better than the largest region",
            right["one to one"],
            right["largest"],
        ),
        Check(
            "sentences help novel names beside boxes",
            trial.result(INFO),
            trial.result(INFO, weight=0.0),
            score="U",
        ),
    ]
