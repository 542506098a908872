"""PromptDet: learn how to ask, search the web for it, and box what comes back.

Feng et al. 2022, "PromptDet: Towards Open-vocabulary Detection using Uncurated
Images", arXiv 2203.16513.  Supervision: boxes of base names, the list of novel
names, and a pool of pictures that nobody labelled.  Frozen: both towers;
trained: two vectors around each name, before a description of it, on crops of
base things; then the region half of a detector.  The pictures of the pool that
suit a novel name best are taken to show it.  Half-way through training they
come in: the proposal that looks most like the name, moved to where the head
would have it, is taken for the truth.  Only what overlaps it by half is taught,
its name and its box: nothing in the pool is a negative.  Simplified: a shared
proposer and linear layers; one scale; one round of searching; a half is a
training of its own, with a cycle of step sizes; 32 pictures of the pool beside
256 regions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...seeding import generator
from ...training import minimize
from ...verdict import Check
from ..box_supervision import Pool
from ..methods import Info
from ..parts.box_head import (
    STEPS,
    RegionHead,
    box_loss,
    fit_regions,
    shift_loss,
)
from ..parts.box_regions import (
    BoxRegions,
    Lesson,
    lesson_of,
    timed_regions,
)
from ..parts.box_teacher import taught, teach_crops
from ..parts.boxes import iou, shifted
from ..parts.described import Described
from ..parts.one_stage import cosines
from ..parts.pseudo import Pseudo
from ..parts.texts import text_classifier
from ..parts.two_stage import count
from ..parts.yes_no import SCALE, YesNoDetector, drawn, yes_no
from ..pictures import DensePictures
from ..supervision import Boxed

KEPT = 15  # pictures of the pool for each novel name
OVERLAP = 0.5  # with what is taken for the truth, from which on a region is taught
PICTURES = 32  # of the pool, of a step
PROMPT_STEPS = 100
PROMPTS = ("learned", "hand")
RARE = -4.6  # the bias at first: a chance of 1 %

INFO = Info(
    name="PromptDet",
    paper="PromptDet: Towards Open-vocabulary Detection using Uncurated Images",
    year=2022,
    arxiv="2203.16513",
    table="list",
    needs=(Boxed, Pool),
    frozen="CLIP",
    tuned="two vectors around names, the region half of a detector",
    simplified="one scale, one search; a shared proposer; linear layers",
    told=("novel",),
    knobs={"weight": (0.1, 1.0)},
    uses="crops of proposals",
)
ROWS = (INFO,)
PARTS = {INFO.name: "pool"}


def learn_words(clip, data: Boxed, lesson: Lesson, steps: int, seed: int) -> Described:
    """Tune the two vectors on CLIP's views of true base boxes."""
    words = Described(clip)
    E = taught(clip, data.pictures, lesson)[0][lesson.true]
    labels = lesson.labels[lesson.true]

    def loss(rows: Tensor) -> Tensor:
        logits = clip.logit_scale * E[rows] @ words(data.names).T
        return F.cross_entropy(logits, labels[rows])

    minimize(clip, [words.vectors], loss, len(E), steps, 2e-3, 64, seed)
    return words.requires_grad_(False)


def sourced(pictures: DensePictures, texts: Tensor, kept: int = KEPT) -> Tensor:
    """The pictures that suit each of ``texts`` [C, D] best: numbers [C, kept]."""
    found = texts @ pictures.image_embeds.T
    return found.topk(min(kept, len(pictures)), 1).indices


def taken(
    scores: Tensor, shifts: Tensor, found: BoxRegions, size: int
) -> tuple[Tensor, Tensor]:
    """What is taken for the truth in B pictures: places [B] and boxes [B, 4].

    The region with the best of ``scores`` [B, K], moved by its ``shifts``
    [B, K, 4].
    """
    scores = scores.detach().masked_fill(found.quality <= 0, -torch.inf)
    rows, place = torch.arange(len(scores)), scores.argmax(1)
    boxes = shifted(found.boxes[rows, place], shifts.detach()[rows, place], size)
    return place, boxes


def pool_loss(
    logits: Tensor, shifts: Tensor, found: BoxRegions, name: Tensor, size: int
) -> Tensor:
    """What regions of B pictures pay, each for the ``name`` [B] it was found by.

    ``logits`` [B, K, C], ``shifts`` [B, K, 4].  Regions that do not overlap
    what is taken for the truth pay nothing.
    """
    own = logits[torch.arange(len(name)), :, name]
    goals = taken(own, shifts, found, size)[1][:, None].expand_as(found.boxes)
    near = (iou(found.boxes, goals) >= OVERLAP) & (found.quality > 0)
    if not near.any():
        return logits.sum() * 0
    labels = name[:, None].expand(near.shape)[near]
    named = yes_no(logits[near], labels).mean()
    return named + shift_loss(shifts[near], found.boxes[near], goals[near]).mean()


@dataclass(frozen=True, kw_only=True)
class PromptDet(YesNoDetector):
    """``words`` are :class:`Described`, or None for CLIP's own texts."""

    words: Described | None

    def texts(self, names: list[str]) -> Tensor:
        return words_of(self.clip, self.words, names)


@torch.no_grad()
def words_of(clip, words: Described | None, names: list[str]) -> Tensor:
    """Texts of names, learned or CLIP's own: [C, D]."""
    return text_classifier(clip, names) if words is None else words(names)


def teach(clip, data: tuple[Boxed, Pool], lesson: Lesson, seed: int = 0) -> float:
    """Ask the teacher before the fit; the seconds it took when it was asked."""
    return teach_crops(clip, data[0], lesson, seed)


def prepare(clip, data: tuple[Boxed, Pool], lesson: Lesson, seed: int = 0) -> float:
    """Make what other methods use too; the seconds it took when it was made."""
    boxed, pool = data
    return timed_regions(lesson_of(clip, boxed, seed)[0], pool.pictures)[1]


def fit(
    clip,
    data: tuple[Boxed, Pool],
    seed=0,
    *,
    novel,
    weight=1.0,
    prompts="learned",
    kept=KEPT,
    prompt_steps=PROMPT_STEPS,
    kind="oln",
    steps=STEPS,
) -> PromptDet:
    """Learn words, search, train; without ``weight`` nothing of the pool.

    ``prompts`` "hand" are CLIP's own texts; ``steps`` are those of a half.
    Raises ValueError for other prompts.
    """
    if prompts not in PROMPTS:
        raise ValueError(f"prompts is one of {PROMPTS}, not {prompts!r}")
    boxed, pool = data
    proposer, lesson = lesson_of(clip, boxed, seed, kind)
    words = None
    if prompts == "learned":
        words = learn_words(clip, boxed, lesson, prompt_steps, seed)
    base, more = (words_of(clip, words, names) for names in (boxed.names, novel))
    every = torch.cat([base, more])
    found, size = timed_regions(proposer, pool.pictures)[0], proposer.size
    picture = sourced(pool.pictures, more, kept).flatten()
    name = torch.arange(len(base), len(every)).repeat_interleave(
        len(picture) // len(novel)
    )
    head = RegionHead(lesson.bins.shape[1], clip.embed_dim, seed=seed)
    scale = nn.Parameter(torch.tensor(SCALE * clip.logit_scale))
    bias, rng = nn.Parameter(torch.tensor(RARE)), generator(seed)
    sources = torch.arange(len(picture))

    def base_loss(part, rows):
        vectors, shifts = head(part.bins, part.pooled)
        logits = scale * cosines(vectors, base) + bias
        return yes_no(logits, part.labels).mean() + box_loss(shifts, part, len(base))

    def read(rows):
        own = found[picture[rows]]
        vectors, shifts = head(own.bins, own.pooled)
        return scale * cosines(vectors, every) + bias, shifts, own, name[rows]

    def loss(part, rows):
        total = base_loss(part, rows)
        if weight:
            some = drawn(sources, PICTURES, rng)
            total = total + weight * pool_loss(*read(some), size)
        return total

    for own in (base_loss, loss):
        parameters = [*head.parameters(), scale, bias]
        fit_regions(parameters, lesson, own, steps=steps, seed=seed)
    head.requires_grad_(False)
    learned = 2 + (0 if words is None else words.vectors.numel())
    with torch.no_grad():
        logits, shifts, own, names = read(sources)
        logits = logits[sources, :, names]
        place, boxes = taken(logits, shifts, own, size)
    return PromptDet(
        clip=clip,
        proposer=proposer,
        head=head,
        trained=count(proposer, head) + learned,
        scale=float(scale.detach()),
        bias=float(bias.detach()),
        words=words,
        labels=Pseudo(
            pool.pictures,
            [*boxed.names, *novel],
            picture,
            boxes,
            name,
            logits[sources, place].sigmoid(),
        ),
    )


def checks(trial) -> list[Check]:
    full, alone = trial.result(INFO), trial.result(INFO, weight=0.0)
    return [
        Check(
            "learned words help novel names beside hand-written ones",
            alone,
            trial.result(INFO, weight=0.0, prompts="hand"),
            score="U",
        ),
        Check("pictures of the pool help novel names", full, alone, score="U"),
        Check(
            "pictures of the pool do no harm to base names",
            full,
            alone,
            score="S",
            at_least=True,
            effect=0.02,
        ),
    ]
