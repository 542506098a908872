"""ViLD: copy what CLIP sees in crops of all proposals into a detector.

Gu et al. 2021, "Open-vocabulary Object Detection via Vision and Language
Knowledge Distillation", arXiv 2104.13921.  Supervision: boxes of base names,
and CLIP's view of crops.  Frozen: both towers; trained: the region half of a
detector.  The text loss compares a region's vector with the base names and a
learned vector for the background; the image loss draws the vectors of all
proposals, also those that overlap no box, to CLIP's view of their crops (mean
of margins 1 and 1.5).  Plain ViLD has one head for both, and its softmax keeps
the background; the ensemble has a second head for the image loss, without
one, and weighs the two by who has seen the name.  Simplified: the proposer is
the shared one, trained apart; two linear layers in place of convolutions;
crops are squares (``square`` off stretches them, as a plain resize does).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ...verdict import Check
from ..methods import Info
from ..parts.box_head import (
    STEPS,
    Nothing,
    RegionDetector,
    RegionHead,
    box_loss,
    fit_regions,
    name_loss,
)
from ..parts.box_proposer import shared_boxes
from ..parts.box_regions import Lesson, lesson_with
from ..parts.box_teacher import taught, teach_crops
from ..parts.fusion import fuse
from ..parts.texts import text_classifier
from ..parts.two_stage import count
from ..supervision import Boxed

SHARE = 2 / 3  # of the head that knows more of a name, in the ensemble
PAPER = {"weight": 0.5}
Words = Callable[[list[str]], Tensor]  # names → texts [C, D], L2-normalised

_PAPER = {
    "paper": "Open-vocabulary Object Detection via Vision and Language Knowledge "
    "Distillation",
    "year": 2021,
    "arxiv": "2104.13921",
    "table": "boxes",
    "needs": Boxed,
    "frozen": "CLIP",
    "tuned": "the region half of a detector",
    "simplified": "a shared proposer; linear layers; square crops",
    "uses": "crops of proposals",
}
teach = teach_crops
INFO = Info(
    name="ViLD", **_PAPER, knobs={"weight": (0.5, 1.0, 4.0)}, reading=("background",)
)
ENSEMBLE = Info(
    name="ViLD, ensemble",
    **_PAPER,
    settings={"heads": 2},
    knobs={"weight": (0.5, 1.0, 4.0)},
    split=True,
)
ROWS = (INFO, ENSEMBLE)


@dataclass(frozen=True, kw_only=True)
class ViLD(RegionDetector):
    """``image`` is the second head of the ensemble, or None.

    ``background`` "column" keeps the background in the softmax, as the paper
    does; "quality" leaves it to the proposal's quality.
    """

    words: Words
    nothing: Nothing
    image: RegionHead | None = None
    background: str = "column"

    def opinions(self, found, pictures, names, seen):
        texts, scale = self.words(names), self.clip.logit_scale
        vectors = F.normalize(self.head(found.bins, found.pooled)[0], dim=-1)
        logits = scale * vectors @ self.nothing(texts).T  # [N, K, C + 1]
        own, belief = logits.softmax(-1)[..., :-1], logits[..., :-1].softmax(-1)
        if self.background == "quality":
            own = belief * found.quality[..., None]
        if self.image is None:
            return own, belief
        seen = torch.zeros(len(names), dtype=torch.bool) if seen is None else seen
        second = F.normalize(self.image(found.bins, found.pooled)[0], dim=-1)
        q = (scale * second @ texts.T).softmax(-1)
        return tuple(fuse(p, q, seen, SHARE, "zsseg") for p in (own, belief))


def losses(
    model: ViLD, lesson: Lesson, targets: Tensor, texts: Tensor, weight: float
) -> Tensor:
    """Text, image and box loss of a batch; ``targets`` [R, D] are CLIP's views,
    ``texts`` [C, D] those of the base names."""
    vectors, shifts = model.head(lesson.bins, lesson.pooled)
    columns, scale = model.nothing(texts), model.clip.logit_scale
    total = name_loss(vectors, columns, lesson.labels, scale)
    total = total + box_loss(shifts, lesson, len(texts))
    if weight:
        drawn = vectors
        if model.image is not None:
            drawn = model.image(lesson.bins, lesson.pooled)[0]
        away = (F.normalize(drawn, dim=-1) - targets).abs().sum(-1).mean()
        total = total + weight * away
    return total


def hand_words(clip) -> Words:
    """Names by CLIP's own texts."""
    return lambda names: text_classifier(clip, names)


def fit(
    clip,
    data: Boxed,
    seed=0,
    *,
    weight=1.0,
    heads=1,
    kind="oln",
    square=True,
    near=False,
    words=None,
    proposer=None,
    background="column",
    steps=STEPS,
) -> ViLD:
    """Train the region half; ``weight`` 0 is ViLD-text.

    ``kind`` is the shared proposer's; ``near`` starts from CLIP's patches;
    ``words`` replaces CLIP's texts of names, ``proposer`` the shared one.
    """
    if proposer is None:
        proposer = shared_boxes(clip, data, seed, kind)
    lesson = lesson_with(proposer, data)
    words = words or hand_words(clip)
    texts = words(data.names)
    shape = lesson.bins.shape[1], clip.embed_dim
    head = RegionHead(*shape, near=near, seed=seed)
    image = RegionHead(*shape, near=near, seed=seed + 1) if heads == 2 else None
    nothing = Nothing(clip.embed_dim, seed)
    targets = torch.zeros(len(lesson), clip.embed_dim)
    if weight:
        targets = taught(clip, data.pictures, lesson, square=square)[0]
    trained = [m for m in (head, nothing, image) if m is not None]
    model = ViLD(
        clip=clip,
        proposer=proposer,
        head=head,
        trained=count(proposer, *trained),
        words=words,
        nothing=nothing,
        image=image,
        background=background,
    )
    fit_regions(
        [p for m in trained for p in m.parameters()],
        lesson,
        lambda part, rows: losses(model, part, targets[rows], texts, weight),
        steps=steps,
        seed=seed,
    )
    for module in trained:
        module.requires_grad_(False)
    return model


def checks(trial) -> list[Check]:
    full, text = trial.result(INFO), trial.result(INFO, weight=0)
    return [
        Check("copied crops help novel names", full, text, score="U"),
        Check(
            "copied crops do no harm to base names",
            full,
            text,
            score="S",
            at_least=True,
        ),
        Check(
            "two heads are as good on novel names as one",
            trial.result(ENSEMBLE),
            full,
            score="U",
            at_least=True,
        ),
    ]
