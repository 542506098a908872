"""OpenSeg: masks without names, and captions that name them.

Ghiasi et al. 2022, "Scaling Open-Vocabulary Image Segmentation with
Image-Level Labels", arXiv 2112.12143.  Supervision: class-agnostic masks, and
captions of other pictures.  Frozen: CLIP; trained: a proposer that groups
pixels, and a second map whose mean in a mask is what the mask is called: in
a batch, each phrase of a caption must find its regions in its own picture
(softmax over regions), among all pictures.  Phrases are left out at random.
Simplified: masks first, then words, in place of both losses at once; the
caption's phrases for its nouns and adjectives.  Novel things are in the
captions: this method sees their words, but never a mask with a name.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.inside import as_tokens
from ...seeding import generator
from ...training import minimize
from ...verdict import Check
from ..methods import STEPS, Info
from ..parts.near_map import NearMap, PixelClassifier
from ..parts.proposals import Proposals, propose
from ..parts.proposer import Proposer, shared_proposer
from ..parts.texts import text_classifier
from ..parts.two_stage import BACKGROUND, RegionNamer, count, likely
from ..supervision import Captioned, Regions

KEEP = 0.5  # how likely a phrase is kept in a step
PHRASES = 4  # a picture
CELL = 4  # side of what stands for a region where there are none

INFO = Info(
    name="OpenSeg",
    paper="Scaling Open-Vocabulary Image Segmentation with Image-Level Labels",
    year=2022,
    arxiv="2112.12143",
    table="captions",
    needs=(Regions, Captioned),
    frozen="CLIP",
    tuned="a proposer and a second map",
    simplified="masks first, then words; phrases for words; starts from CLIP's patches",
    knobs={"proposer_steps": STEPS, "background": (0.03, 0.1, 0.3, 0.5)},
    reading=("background",),
    start={"steps": 0, "proposer_steps": 0},
)
ROWS = (INFO,)


def caption_scores(
    z: Tensor, there: Tensor, words: Tensor, spoken: Tensor, scale: float
) -> Tensor:
    """How well each picture's regions fit each caption: [B, M].

    ``z`` [B, Q, D] regions, ``there`` bool [B, Q]; ``words`` [M, K, D],
    ``spoken`` bool [M, K].  Each word asks the regions, by a softmax over
    them, and takes their mean cosine; a caption is the mean of its words.
    """
    cosine = torch.einsum("bqd,mkd->bmkq", z, words)
    logits = (scale * cosine).masked_fill(~there[:, None, None], -1e4)
    heard = (logits.softmax(-1) * cosine).sum(-1)  # [B, M, K]
    some = spoken.sum(-1).clamp(min=1)
    return (heard * spoken).sum(-1) / some


@dataclass(frozen=True)
class OpenSeg(RegionNamer):
    """``regions`` "masks" pools the second map in masks; "patches" has no
    proposer: every cell is a region, and the background is one of places."""

    clip: object
    proposer: Proposer | None
    network: NearMap
    regions: str = "masks"
    background: float = BACKGROUND

    @property
    def trained(self) -> int:
        return count(*filter(None, (self.proposer, self.network)))

    def named(self, found, pictures, names, seen) -> Tensor:
        vectors = pooled(self.network(pictures), found.masks)
        W = text_classifier(self.clip, names)
        p = (self.clip.logit_scale * vectors @ W.T).softmax(-1)
        return F.pad(p, (0, 1))

    def scores(self, pictures, names, seen=None) -> Tensor:
        if self.regions == "masks":
            return super().scores(pictures, names, seen)
        return PixelClassifier(self.clip, self.network).scores(pictures, names)


def pooled(z: Tensor, masks: Tensor) -> Tensor:
    """The mean of a map [N, D, h, w] in masks [N, Q, S, S]: [N, Q, D]."""
    weights = F.adaptive_avg_pool2d(masks, z.shape[-2:]).flatten(2)
    return F.normalize(weights @ as_tokens(z), dim=-1)


def spoken_words(clip, data: Captioned) -> tuple[Tensor, Tensor]:
    """Phrases of each caption as vectors [N, K, D], and which there are."""
    phrases = [row[:PHRASES] for row in data.phrases()]
    known = list(dict.fromkeys(p for row in phrases for p in row))
    T = text_classifier(clip, known, ("{}",))
    words = torch.zeros(len(phrases), PHRASES, T.shape[1])
    spoken = torch.zeros(len(phrases), PHRASES, dtype=torch.bool)
    for i, row in enumerate(phrases):
        for k, phrase in enumerate(row):
            words[i, k] = T[known.index(phrase)]
            spoken[i, k] = True
    return words, spoken


def fit(
    clip,
    data: tuple[Regions, Captioned],
    seed=0,
    *,
    regions="masks",
    keep=KEEP,
    grounding="words",
    background=BACKGROUND,
    steps=50,
    proposer_steps=150,
) -> OpenSeg:
    """Group on regions, then learn names from captions.

    ``regions`` "patches" grounds cells, and groups nothing; ``grounding``
    "global" compares one mean vector a picture with one a caption.
    """
    shapes, captioned = data
    network, proposer, found = NearMap(clip, seed), None, None
    pictures = captioned.pictures.prepare("pixel_values")
    words, spoken = spoken_words(clip, captioned)
    if regions == "masks":
        proposer = shared_proposer(clip, shapes, seed, steps=proposer_steps)
        found = propose(proposer, pictures)
    rng, scale = generator(seed), clip.logit_scale

    def loss(rows: Tensor) -> Tensor:
        z = network(pictures[rows])
        said = spoken[rows] & (torch.rand(spoken[rows].shape, generator=rng) < keep)
        said = torch.where(said.any(1, keepdim=True), said, spoken[rows])
        vectors, there = pooled_regions(z, found, rows, regions)
        if grounding == "global":
            mean = (vectors * there[..., None]).sum(1, keepdim=True)
            vectors = F.normalize(mean, dim=-1)
            there = there.any(1, keepdim=True)
        scores = scale * caption_scores(vectors, there, words[rows], said, scale)
        target = torch.arange(len(rows))
        return (F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target)) / 2

    minimize(clip, network.parameters(), loss, len(captioned), steps, 2e-3, 20, seed)
    network.requires_grad_(False)
    return OpenSeg(clip, proposer, network, regions, background)


def pooled_regions(z: Tensor, found: Proposals | None, rows: Tensor, regions: str):
    """Vectors [B, Q, D] of what may be named, and which there are [B, Q]."""
    if regions == "masks":
        return pooled(z, found.masks[rows]), likely(found)[rows]
    cells = F.normalize(as_tokens(F.avg_pool2d(z, CELL)), dim=-1)
    return cells, torch.ones(cells.shape[:2], dtype=torch.bool)


def checks(trial) -> list[Check]:
    full = trial.result(INFO)
    return [
        # who has no proposer was told no masks: outlines are not compared
        Check(
            "words that ask masks name novel things better than those that ask patches",
            full,
            trial.result(INFO, regions="patches"),
            score="naming U",
        ),
        Check(
            "words that ask regions beat one vector a picture",
            full,
            trial.result(INFO, grounding="global"),
            score="naming",  # one background is not the same for both
        ),
        Check(
            "captions name novel things beyond CLIP's patches in the same masks",
            full,
            trial.result(INFO, steps=0),
            score="naming U",
        ),
    ]
