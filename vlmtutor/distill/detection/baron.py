"""BARON: a bag of regions is a sentence of words that nobody has written.

Wu et al. 2023, "Aligning Bag of Regions for Open-Vocabulary Object Detection",
arXiv 2302.13996.  Supervision: boxes of base names, and CLIP's view of crops.
Frozen: both towers; trained: the region half of a detector, which says for a
region a few pseudo words (vectors in place of embeddings of words).  Read by
CLIP's text encoder, they name the region: the end token's state before the
last norm is compared with that of the names, encoded alike, and with a learned
vector for the background.  Neighbouring boxes make a bag; their words, with
where each box lies in the bag, make one sentence, which should be that of
CLIP's view of the crop around them all, and of no other bag's.  Each box alone
is drawn to CLIP's patches in it.  Simplified: two words; bags are made once, of
true boxes and sure proposals with some of their eight neighbours, in one order;
all bags of the data stand in the queue, since their teacher is frozen.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...seeding import generator, seeded_weights
from ...training import frozen
from ...verdict import Check
from ..methods import Info
from ..parts.bags import Bags, make_bags
from ..parts.box_head import (
    Nothing,
    RegionDetector,
    RegionHead,
    box_loss,
    name_loss,
    train_detector,
)
from ..parts.box_regions import Lesson, lesson_of
from ..parts.pseudo_words import name_states, read
from ..supervision import Boxed

STEPS = 200
WORDS = 2  # of a region
DROPPED = 0.5  # share of words that are left out in training
MOST = 4  # boxes of a bag
BAGS = 32  # of a step
# Scales, as shares of CLIP's own: 50, 30 and 50 of 100 in the paper.
NAMES, BAG, SINGLE = 0.5, 0.3, 0.5
SINGLE_WEIGHT = 0.1

INFO = Info(
    name="BARON",
    paper="Aligning Bag of Regions for Open-Vocabulary Object Detection",
    year=2023,
    arxiv="2302.13996",
    table="boxes",
    needs=Boxed,
    frozen="CLIP",
    tuned="the region half of a detector, which says words",
    simplified="two words; bags made once, in one order; a shared proposer",
    knobs={"weight": (0.5, 2.0)},
    uses="crops of bags",
)
ROWS = (INFO,)


class Speaker(RegionHead):
    """``speaker.words(bins)``: [..., M, W] pseudo words of ``bins`` [..., F]."""

    def __init__(self, clip, features: int, seed: int = 0, width: int = 256):
        table = clip.model.text_model.embeddings.token_embedding.weight
        W = table.shape[1]
        super().__init__(features, WORDS * W, width=width, seed=seed)
        self.typical = float(table.detach().std())
        with seeded_weights(seed + 1):
            self.place = nn.Linear(16, W)
            nn.init.normal_(self.place.weight, std=0.02)

    def words(self, bins: Tensor) -> Tensor:
        """[..., M, W], as long as the embeddings of words."""
        said = self.vector(self.body(bins.float())).unflatten(-1, (WORDS, -1))
        return self.typical * F.layer_norm(said, said.shape[-1:])

    def sentence(self, bins: Tensor, places: Tensor) -> Tensor:
        """Words of a bag's boxes [B, G, F], with their places [B, G, 4].

        [B, G · M, W]; places are shares of the bag's sides.
        """
        turns = torch.pi * places[..., None] * torch.tensor([1.0, 2.0])
        waves = torch.cat([turns.sin(), turns.cos()], -1).flatten(-2)  # [B, G, 16]
        said = self.words(bins) + self.place(waves)[..., None, :]
        return said.flatten(1, 2)


def contrast(ours: Tensor, queue: Tensor, own: Tensor, same: Tensor, scale) -> Tensor:
    """InfoNCE of [B, D] with a queue [Q, D]: row i belongs to ``own[i]``.

    ``same`` bool [B, Q]: others of the same picture, which do not count.
    """
    rows = torch.arange(len(ours))
    hidden = same.clone()
    hidden[rows, own] = False
    logits = (scale * ours @ queue.T).masked_fill(hidden, -torch.inf)
    return F.cross_entropy(logits, own)


def bag_losses(
    speaker: Speaker, clip, bags: Bags, rows: Tensor, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """What bags number ``rows`` [B] pay as sentences, and their boxes alone."""
    part, scale = bags[rows], clip.logit_scale
    words = speaker.sentence(part.bins, part.places)
    spoken = part.there.repeat_interleave(WORDS, 1)
    kept = torch.rand(spoken.shape, generator=rng) >= DROPPED
    kept[:, 0] = True  # a sentence has a word
    texts, _ = read(clip, words, spoken & kept)
    same = part.picture[:, None] == bags.picture
    together = contrast(texts, bags.embeds, rows, same, BAG * scale)
    said = speaker.words(part.bins[:, 0])
    alone, _ = read(clip, said, torch.ones(said.shape[:2], dtype=torch.bool))
    first, own = part.patches[:, 0], torch.arange(len(rows))
    same = part.picture[:, None] == part.picture
    return together, contrast(alone, first, own, same, SINGLE * scale)


@dataclass(frozen=True, kw_only=True)
class Baron(RegionDetector):
    """``head`` is a :class:`Speaker`; ``nothing`` the background's vector."""

    nothing: Nothing

    def opinions(self, found, pictures, names, seen):
        words = self.head.words(found.bins).flatten(0, 1)
        spoken = torch.ones(words.shape[:2], dtype=torch.bool)
        states = [
            read(self.clip, w, s)[1]
            for w, s in zip(words.split(256), spoken.split(256), strict=True)
        ]
        states = torch.cat(states).unflatten(0, found.quality.shape)
        columns = self.nothing(name_states(self.clip, names))
        logits = NAMES * self.clip.logit_scale * states @ columns.T
        return logits.softmax(-1)[..., :-1], logits[..., :-1].softmax(-1)


def teach(clip, data: Boxed, lesson: Lesson, seed: int = 0) -> float:
    """Ask the teacher before the fit; the seconds it took when it was asked."""
    return make_bags(clip, data.pictures, lesson, MOST, seed)[1]


def fit(
    clip,
    data: Boxed,
    seed=0,
    *,
    weight=1.0,
    single=1.0,
    most=MOST,
    kind="oln",
    steps=STEPS,
) -> Baron:
    """Train the speaker.

    ``weight`` and ``single`` weigh bags and boxes alone; ``most`` boxes a bag.
    """
    proposer, lesson = lesson_of(clip, data, seed, kind)
    speaker = Speaker(clip, lesson.bins.shape[1], seed)
    states, rng = name_states(clip, data.names), generator(seed)
    nothing = Nothing(states.shape[1], seed)
    bags = make_bags(clip, data.pictures, lesson, most, seed)[0]

    def loss(part, rows):
        words = speaker.words(part.bins)
        kept = torch.rand(words.shape[:2], generator=rng) >= DROPPED
        kept[:, 0] |= ~kept.any(1)
        _, ends = read(clip, words, kept)
        scale = NAMES * clip.logit_scale
        total = name_loss(ends, nothing(states), part.labels, scale)
        shifts = speaker.shift(speaker.body(part.bins.float()))
        total = total + box_loss(shifts, part, len(states))
        picked = torch.randint(len(bags), (BAGS,), generator=rng)
        together, alone = bag_losses(speaker, clip, bags, picked, rng)
        return total + weight * together + single * SINGLE_WEIGHT * alone

    parts = {"head": speaker, "nothing": nothing}
    with frozen(clip):
        return train_detector(
            Baron, clip, proposer, lesson, loss, steps=steps, seed=seed, **parts
        )


def checks(trial) -> list[Check]:
    full = trial.result(INFO)
    return [
        Check(
            "bags help novel names beside boxes alone",
            full,
            trial.result(INFO, weight=0.0),
            score="U",
        ),
        Check(
            "bags of several boxes help more than bags of one",
            full,
            trial.result(INFO, most=1),
            score="U",
        ),
    ]
