"""PB-OVD: what speaks for a word in a picture makes a box for it.

Gao et al. 2021, "Open Vocabulary Object Detection with Pseudo Bounding-Box
Labels", arXiv 2111.09452.  Supervision: pictures with a sentence each and a
list of names, novel ones too; then boxes of base names.  Frozen: both towers;
trained: the region half of a detector, first on the boxes that it made for
the names in sentences, then on base boxes with a small step size, while the
layer that leads to the joint space stands still.  The map of a name (where
gradients of the match speak for it; from 0 to 1, below a half nothing) is
summed in each proposal and divided by the root of its area; the best proposal
is the name's.  Simplified: the paper reads the cross-attention of ALBEF, one
backward pass a sentence and the rows of a noun's own tokens; a CLIP has none,
so each name has a Grad-CAM of its own cosine at the last block.  The proposer
is the shared one; linear layers.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...objectives.alignment import patch_cover
from ...verdict import Check
from ..methods import Info
from ..parts.box_head import (
    STEPS,
    Nothing,
    RegionHead,
    box_loss,
    fit_regions,
    name_loss,
)
from ..parts.box_proposer import BoxProposer, timed_once
from ..parts.box_regions import lesson_of, make_lesson, shared_regions, timed_regions
from ..parts.explain import grad_cam, min_max
from ..parts.nouns import spoken_nouns
from ..parts.pseudo import Pseudo
from ..parts.texts import text_classifier
from ..parts.two_stage import count
from ..pictures import taps
from ..supervision import Boxed, Captioned
from .vild import ViLD, hand_words

HALF = 0.5  # of a map's maximum: what lies below is nothing
ROOT = 0.5  # power of the area that a sum is divided by
BACKGROUND = 0.2  # its weight in the loss
LR = 1e-3
BATCH = 32  # maps that are made at once
PAPER = {"slower": 40.0}

INFO = Info(
    name="PB-OVD",
    paper="Open Vocabulary Object Detection with Pseudo Bounding-Box Labels",
    year=2021,
    arxiv="2111.09452",
    table="list",
    needs=(Boxed, Captioned),
    frozen="CLIP",
    tuned="the region half of a detector",
    simplified="Grad-CAM of a cosine for cross-attention; a shared proposer",
    told=("names",),
    knobs={"slower": (40.0, 4.0)},
    uses="its gradients on sentences",
)
ROWS = (INFO,)
PARTS = {INFO.name: "captions"}


def maps_of(clip, hidden: Tensor, texts: Tensor) -> Tensor:
    """What speaks for a text in a picture, patch by patch: [P, T], 0 to 1.

    ``hidden`` [P, 1 + T, W] is what the last block reads, ``texts`` [P, D].
    """
    cam = min_max(grad_cam(clip, hidden, lambda embeds: (embeds * texts).sum(-1)))
    return torch.where(cam < HALF, 0.0, cam)


def worth(maps: Tensor, boxes: Tensor, size: int, power: float = ROOT) -> Tensor:
    """What is in boxes [P, K, 4] of maps [P, T], by area to a power: [P, K].

    Power 0 is the plain sum, 1 the mean.
    """
    side = round(maps.shape[-1] ** 0.5)
    inside = (patch_cover(boxes / size, side) @ maps[..., None])[..., 0]
    area = ((boxes[..., 2:] - boxes[..., :2]) / size).prod(-1)
    return inside / area.clamp(min=1e-6) ** power


def label(
    clip,
    proposer: BoxProposer,
    data: Captioned,
    names: list[str],
    power: float = ROOT,
) -> tuple[Pseudo, float]:
    """A box for each of the ``names`` in a sentence, and the seconds it took.

    Made once.
    """
    key = "boxes of words", proposer, tuple(names), power
    return timed_once(
        data.pictures, key, lambda: _label(clip, proposer, data, names, power)
    )


def _label(clip, proposer, data, names, power) -> Pseudo:
    found, size = shared_regions(proposer, data.pictures), proposer.size
    spoken = [
        (k, names.index(word))
        for k, words in enumerate(spoken_nouns(data))
        for word in words
        if word in names
    ]
    pairs = torch.tensor(spoken, dtype=torch.long).reshape(-1, 2)
    texts = text_classifier(clip, names)
    hidden = data.pictures.hidden(taps(clip)[-1])
    parts = [torch.zeros(0, dtype=torch.long)]
    for rows in pairs.split(BATCH):
        picture, name = rows.unbind(1)
        maps = maps_of(clip, hidden[picture], texts[name])
        score = worth(maps, found.boxes[picture], size, power)
        score = score.masked_fill(found.quality[picture] <= 0, -1)
        parts.append(score.argmax(1))
    place, (picture, name) = torch.cat(parts), pairs.unbind(1)
    boxes = found.boxes[picture, place]
    return Pseudo(data.pictures, names, picture, boxes, name, torch.ones(len(name)))


def prepare(clip, data: tuple[Boxed, Captioned], lesson, seed: int = 0) -> float:
    """Make what other methods use too; the seconds it took when it was made."""
    boxed, captioned = data
    return timed_regions(lesson_of(clip, boxed, seed)[0], captioned.pictures)[1]


def fit(
    clip,
    data: tuple[Boxed, Captioned],
    seed=0,
    *,
    names,
    own=True,
    slower=40.0,
    kind="oln",
    steps=STEPS,
) -> ViLD:
    """Learn from its ``own`` boxes, then from base boxes, ``slower`` by so much.

    Without ``own`` from base boxes alone, as others do.
    """
    boxed, captioned = data
    proposer, lesson = lesson_of(clip, boxed, seed, kind)
    labels = label(clip, proposer, captioned, names)[0]
    head = RegionHead(lesson.bins.shape[1], clip.embed_dim, seed=seed)
    nothing = Nothing(clip.embed_dim, seed)

    def learn(lesson, texts, parameters, lr):
        def loss(part, rows):
            vectors, shifts = head(part.bins, part.pooled)
            columns, scale = nothing(texts), clip.logit_scale
            named = name_loss(vectors, columns, part.labels, scale, BACKGROUND)
            return named + box_loss(shifts, part, len(texts))

        fit_regions(parameters, lesson, loss, steps=steps, seed=seed, lr=lr)

    base, lr, tuned = text_classifier(clip, boxed.names), LR, head
    if own:
        everything = make_lesson(proposer, labels.beside()[0])
        things = everything[everything.labels < len(names)]  # nothing is negative
        texts = text_classifier(clip, names)
        learn(things, texts, [*head.parameters(), *nothing.parameters()], LR)
        head.vector.requires_grad_(False)  # the way to the joint space
        lr = LR / slower
    tuned = [p for p in head.parameters() if p.requires_grad]
    learn(lesson, base, [*tuned, *nothing.parameters()], lr)
    head.requires_grad_(False)
    return ViLD(
        clip=clip,
        proposer=proposer,
        head=head,
        trained=count(proposer, head, nothing),
        words=hand_words(clip),
        nothing=nothing.requires_grad_(False),
        labels=labels,
    )


def checks(trial) -> list[Check]:
    bench, model = trial.bench, trial.model(INFO)
    data = bench.data(Captioned)
    quality = {
        power: bench.quality(
            label(bench.clip, model.proposer, data, model.labels.names, power)[0],
            PARTS[INFO.name],
        )
        for power in (0.0, ROOT, 1.0)
    }
    return [
        Check(
            "by the root of the area more boxes are right than by the sum",
            quality[ROOT],
            quality[0.0],
            score="precision",
        ),
        Check(
            "by the root of the area more boxes are right than by the mean",
            quality[ROOT],
            quality[1.0],
            score="precision",
        ),
        Check(
            "boxes of its own help novel names",
            trial.result(INFO),
            trial.result(INFO, own=False),
            score="U",
        ),
    ]
