"""P3OVD: tell the picture side what is being looked for, then label with it.

Long et al. 2022, "P3OVD: Fine-grained Visual-Text Prompt-Driven Self-Training
for Open-Vocabulary Object Detection", arXiv 2211.00849.  Supervision: boxes of
base names, and the list of novel names; the boxed pictures are those that it
labels, too.  Frozen: both towers; trained: what adapts CLIP to name patches
(vectors before each name, and a visual prompt: every patch asks the names that
are looked for, and what they answer is added through a gate), then the region
half of a detector.  The adapted CLIP names the proposals by their patches, base
and novel names competing, and the surer part of the novel ones is taken for the
truth beside the base boxes.  Simplified, after the paper's abstract, as there
is no code: one layer of attention for the visual prompt; base boxes, filled,
stand for masks, and what is in none does not count, since novel things stand
there; the shared proposer, linear layers, and one round of labels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...objectives.alignment import pool_regions
from ...seeding import generator
from ...training import minimize
from ...verdict import Check
from ..methods import Info
from ..parts.asked_patches import ADAPTED, Adapted, patch_labels, patch_loss
from ..parts.box_head import (
    STEPS,
    Nothing,
    RegionHead,
    box_loss,
    fit_regions,
    name_loss,
)
from ..parts.box_proposer import BoxProposer, timed_once
from ..parts.box_regions import lesson_of, make_lesson, shared_regions
from ..parts.boxes import pairwise_iou, without_repeats
from ..parts.pseudo import Pseudo
from ..parts.texts import text_classifier
from ..parts.two_stage import count
from ..supervision import IGNORE, Boxed
from .vild import ViLD, hand_words

ADAPT_STEPS = 100
ASKED = 0.5  # chance that a name which is not in the batch is looked for, too
REPEATED = 0.6  # from this overlap on two labels are one

INFO = Info(
    name="P3OVD",
    paper="P3OVD: Fine-grained Visual-Text Prompt-Driven Self-Training for "
    "Open-Vocabulary Object Detection",
    year=2022,
    arxiv="2211.00849",
    table="list",
    needs=Boxed,
    frozen="CLIP",
    tuned="prompts, a visual prompt, the region half of a detector",
    simplified="after the abstract: one layer of attention, filled boxes as masks",
    told=("novel",),
    knobs={"kept": (0.2, 0.4, 0.7)},
    uses="patches in proposals",
)
ROWS = (INFO,)
PARTS = {INFO.name: "boxes"}


def adapt_clip(clip, data: Boxed, adapt: str, steps: int, seed: int) -> Adapted:
    """Teach prompts to name patches, with base names looked for at random."""
    adapted, dense = Adapted(clip, adapt, seed), data.pictures.dense
    labels = patch_labels(data, round(dense.shape[1] ** 0.5))
    rng, C = generator(seed), len(data.names)

    def loss(rows: Tensor) -> Tensor:
        own = labels[rows]
        there = torch.zeros(C, dtype=torch.bool)
        there[own[own != IGNORE]] = True
        asked = there | (torch.rand(C, generator=rng) < ASKED)
        place = torch.full((IGNORE + 1,), IGNORE)
        place[:C][asked] = torch.arange(int(asked.sum()))
        names = [name for name, yes in zip(data.names, asked, strict=True) if yes]
        return patch_loss(adapted, dense[rows], place[own], names)

    if adapted.tuned():
        minimize(clip, adapted.tuned(), loss, len(data), steps, 2e-3, 16, seed)
    return adapted.requires_grad_(False)


@torch.no_grad()
def label(
    adapted: Adapted,
    data: Boxed,
    proposer: BoxProposer,
    novel: list[str],
    kept: float = 0.2,
) -> Pseudo:
    """Proposals that suit a novel name best; the surest part ``kept`` of all."""
    found, pictures = shared_regions(proposer, data.pictures), data.pictures
    names = [*data.names, *novel]
    patches, texts = adapted(pictures.dense, names)
    pooled = pool_regions(patches, found.boxes / pictures.images.shape[1])
    p = (adapted.clip.logit_scale * pooled @ texts.T).softmax(-1)
    belief, name = p.max(-1)
    sure = belief * found.quality
    sure = without_repeats(sure, pairwise_iou(found.boxes, found.boxes), REPEATED)
    bar = torch.quantile(sure[sure > 0], 1 - kept)
    good = (name >= len(data.names)) & (sure > 0) & (sure >= bar)
    picture, place = good.nonzero(as_tuple=True)
    own = found.boxes, name - len(data.names), sure
    return Pseudo(pictures, list(novel), picture, *(v[picture, place] for v in own))


def adapted_clip(clip, data: Boxed, adapt: str, seed: int, steps=ADAPT_STEPS):
    """:func:`adapt_clip`, made once, and the seconds it took."""
    return timed_once(
        data.pictures,
        ("adapted", adapt, seed, steps),
        lambda: adapt_clip(clip, data, adapt, steps, seed),
    )


def teach(clip, data: Boxed, lesson, seed: int = 0) -> float:
    """Adapt the teacher before the fit; the seconds it took when it was adapted."""
    return adapted_clip(clip, data, "both", seed)[1]


def fit(
    clip,
    data: Boxed,
    seed=0,
    *,
    novel,
    adapt="both",
    kept=0.2,
    kind="oln",
    adapt_steps=ADAPT_STEPS,
    steps=STEPS,
) -> ViLD:
    """Adapt, label, learn; with nothing ``kept`` from base boxes alone."""
    proposer, lesson = lesson_of(clip, data, seed, kind)
    names, labels = data.names, None
    if kept:
        adapted = adapted_clip(clip, data, adapt, seed, adapt_steps)[0]
        labels = label(adapted, data, proposer, novel, kept)
        both = labels.beside(data)[0]
        lesson, names = make_lesson(proposer, both), both.names
    head = RegionHead(lesson.bins.shape[1], clip.embed_dim, seed=seed)
    nothing, texts = Nothing(clip.embed_dim, seed), text_classifier(clip, names)

    def loss(part, rows):
        vectors, shifts = head(part.bins, part.pooled)
        named = name_loss(vectors, nothing(texts), part.labels, clip.logit_scale)
        return named + box_loss(shifts, part, len(texts))

    parameters = [*head.parameters(), *nothing.parameters()]
    fit_regions(parameters, lesson, loss, steps=steps, seed=seed)
    return ViLD(
        clip=clip,
        proposer=proposer,
        head=head.requires_grad_(False),
        trained=count(proposer, head, nothing),
        words=hand_words(clip),
        nothing=nothing.requires_grad_(False),
        labels=labels,
    )


def checks(trial) -> list[Check]:
    bench, data = trial.bench, trial.bench.data(Boxed)
    full, seed = trial.model(INFO), bench.protocol.seed
    judged = {}
    for adapt in ADAPTED:
        adapted = adapted_clip(bench.clip, data, adapt, seed)[0]
        own = label(adapted, data, full.proposer, bench.novel, kept=1.0)
        judged[adapt] = bench.judge_labels(own, PARTS[INFO.name])
    return [
        Check(
            "learned prompts make better labels than CLIP as it is",
            judged["text"],
            judged["none"],
            score="U",
        ),
        Check(
            "a visual prompt makes better labels beside learned prompts",
            judged["both"],
            judged["text"],
            score="U",
        ),
        Check(
            "its own labels help novel names beside base boxes",
            trial.result(INFO),
            trial.result(INFO, kept=0.0),
            score="U",
        ),
    ]
