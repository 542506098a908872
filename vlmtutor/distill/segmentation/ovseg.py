"""OVSeg: teach CLIP to read masked crops, from captions.

Liang et al. 2023, "Open-Vocabulary Semantic Segmentation with Mask-adapted
CLIP", arXiv 2210.04150.  Naming masked crops is the bottleneck of two stages,
so the picture tower is adapted: phrases of captions are paired with the
proposal that CLIP finds nearest, and the tower is tuned on them (``ft``);
or tokens without any foreground are replaced by learned ones, one a place,
and nothing else moves (``mpt``); or both, the tower first and then, in what it
has become, the tokens, as the authors' scripts do.  Frozen: the text tower.
One exponent fuses all names alike.  The first of a place's tokens stands where its
patch's content would, so its position is added to it.  Simplified: tuned are
the last block and the projection; learned tokens at two depths for three;
phrases are found by the caption's own spans; a batch may hold a phrase several
times, and then all its crops belong to it.
"""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...models.inside import as_tokens, grid_side, run_block, vision_blocks
from ...objectives.contrastive import unicl_loss
from ...seeding import generator
from ...training import minimize
from ...verdict import Check
from ..methods import STEPS, Info
from ..parts.proposals import propose
from ..parts.proposer import Proposer, shared_proposer
from ..parts.regions import crop_encode, instance_masks, region_labels, region_pixels
from ..parts.texts import text_classifier
from ..parts.two_stage import BACKGROUND, TwoStage, count, likely
from ..pictures import BATCH, once
from ..supervision import IGNORE, Captioned, Masked

MODES = ("none", "mpt", "ft", "both")
MOST = 400  # pairs to learn from
DEPTH = 2  # times that tokens are replaced: before the first block, and after
MARGIN = 1.5  # of crops
TOKEN_LR = 5e-3
LAMS = (0.3, 0.45, 0.6, 0.7, 0.85)  # the release has 0.45 to 0.7, by test set

INFO = Info(
    name="OVSeg",
    paper="Open-Vocabulary Semantic Segmentation with Mask-adapted CLIP",
    year=2023,
    arxiv="2210.04150",
    table="captions",
    needs=(Masked, Captioned),
    frozen="CLIP's text tower",
    tuned="a proposer; CLIP's last block; mask tokens",
    simplified="last block only, two depths of tokens; starts from CLIP's patches",
    knobs={"proposer_steps": STEPS, "lam": LAMS, "background": (0.03, 0.1, 0.3)},
    reading=("lam", "branch", "background"),
    start={"steps": 0, "token_steps": 0, "proposer_steps": 0},
)
ROWS = (INFO,)


@dataclass(frozen=True)
class Pairs:
    """Masked crops [P, 3, S, S], what is foreground [P, S, S], and texts."""

    shown: Tensor
    inside: Tensor
    texts: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.shown)


def mine(clip, proposer: Proposer, data: Captioned, margin=MARGIN) -> Pairs:
    """Each phrase of a caption with the proposal that CLIP finds nearest."""
    phrases = data.phrases()
    spoken = itertools.accumulate(map(len, phrases))
    needed = 1 + sum(total < MOST for total in spoken)  # pictures
    phrases, pictures = phrases[:needed], data.pictures[:needed]
    found = propose(proposer, pictures)
    pixels, masks = pictures.pixel_values, found.binary
    asked = likely(found)
    E = crop_encode(clip, pixels, masks, "mean", "cropmask", margin, asked)
    known = list(dict.fromkeys(p for row in phrases for p in row))
    T = text_classifier(clip, known, ("{}",))
    rows, queries, labels = [], [], []
    for i, row in enumerate(phrases):
        for phrase in row:
            k = known.index(phrase)
            cosine = (E[i] @ T[k]).masked_fill(~asked[i], -torch.inf)
            if asked[i].any():
                rows.append(i)
                queries.append(int(cosine.argmax()))
                labels.append(k)
    rows, queries = rows[:MOST], queries[:MOST]
    shown, inside = region_pixels(
        clip, pixels[rows], masks[rows, queries], "mean", "cropmask", margin
    )
    labels = torch.tensor(labels[:MOST])
    return Pairs(shown, inside, T[labels], labels)


def labeled_pairs(clip, data: Masked) -> Pairs:
    """True masks of base classes with their names: what mining replaces."""
    masks = instance_masks(data.regions)
    labels = region_labels(data.labels, masks)
    rows, queries = (
        ((labels < len(data.names)) & (labels != IGNORE)).nonzero()[:MOST].unbind(1)
    )
    shown, inside = region_pixels(
        clip,
        data.pictures.pixel_values[rows],
        masks[rows, queries],
        "mean",
        "cropmask",
        MARGIN,
    )
    labels = labels[rows, queries]
    return Pairs(shown, inside, text_classifier(clip, data.names)[labels], labels)


class MaskedTower(nn.Module):
    """CLIP's picture tower for masked crops: (shown, inside) → [R, D].

    ``mode`` says what of it may move; the rest is CLIP's own, and not part
    of this module.  Raises ValueError for another mode.
    """

    def __init__(self, clip, mode: str, seed: int = 0):
        super().__init__()
        if mode not in MODES:
            raise ValueError(f"mode is one of {MODES}, not {mode!r}")
        self.clip = [clip]  # in a list, so that it is no part of the module
        vision = clip.model.vision_model
        self.patch = vision.config.patch_size
        self.tokens = self.last = self.norm = self.project = None
        if mode in ("mpt", "both"):
            places = (vision.config.image_size // self.patch) ** 2
            shape = (DEPTH, places, vision.config.hidden_size)
            tokens = torch.zeros(shape)
            tokens.normal_(std=0.02, generator=generator(seed))
            self.tokens = nn.Parameter(tokens)
        if mode in ("ft", "both"):
            self.last, self.norm, self.project = (
                copy.deepcopy(part).requires_grad_(True)
                for part in (
                    vision_blocks(clip)[-1],
                    vision.post_layernorm,
                    clip.model.visual_projection,
                )
            )

    def empty(self, inside: Tensor) -> Tensor:
        """Which patches hold no foreground pixel: bool [R, T, 1]."""
        some = F.max_pool2d(inside[:, None], self.patch)  # [R, 1, g, g]
        return (some <= 0).flatten(1)[..., None]

    def before(self, shown: Tensor, inside: Tensor, tokens: bool = True) -> Tensor:
        """What the last block reads: [R, 1 + T, W].

        Empty patches are replaced if there are ``tokens`` to do so.
        """
        clip, empty = self.clip[0], self.empty(inside) & tokens
        vision = clip.model.vision_model
        parts = vision.embeddings
        patches = as_tokens(parts.patch_embedding(shown))
        grid_side(empty.shape[1])  # the crop has the size that CLIP takes
        first = parts.class_embedding.expand(len(patches), 1, -1)
        hidden = torch.cat([first, self.replaced(0, patches, empty)], 1)
        hidden = vision.pre_layrnorm(hidden + parts.position_embedding.weight)
        blocks = vision_blocks(clip)
        for k, block in enumerate(blocks[:-1], start=1):
            hidden = run_block(block, hidden)
            patches = self.replaced(k, hidden[:, 1:], empty)
            hidden = torch.cat([hidden[:, :1], patches], 1)
        return hidden

    def replaced(self, k: int, patches: Tensor, empty: Tensor) -> Tensor:
        """Patches [R, T, W] after ``k`` blocks: learned where they are empty."""
        if self.tokens is None or k >= DEPTH:
            return patches
        return torch.where(empty, self.tokens[k], patches)

    def after(self, hidden: Tensor) -> Tensor:
        """The last block and what follows: [R, D], L2-normalised."""
        model = self.clip[0].model
        last, norm, project = self.last, self.norm, self.project
        if last is None:
            last = vision_blocks(self.clip[0])[-1]
            norm = model.vision_model.post_layernorm
            project = model.visual_projection
        hidden = run_block(last, hidden)
        return F.normalize(project(norm(hidden[:, 0])), dim=-1)

    def forward(self, shown: Tensor, inside: Tensor) -> Tensor:
        return self.after(self.before(shown, inside))


def fit(
    clip,
    data: tuple[Masked, Captioned],
    seed=0,
    *,
    mode="both",
    pairs="captions",
    lam=0.5,
    branch="both",
    background=BACKGROUND,
    steps=80,
    token_steps=200,
    proposer_steps=150,
) -> TwoStage:
    """Train the proposer on masks, then the tower on mined pairs.

    ``pairs`` "labels" learns from named base masks instead of captions.
    """
    masked, captioned = data
    proposer = shared_proposer(
        clip, masked, seed, names=masked.names, steps=proposer_steps
    )
    tower = MaskedTower(clip, mode, seed)
    if mode != "none":
        if pairs == "captions":
            key = "pairs", captioned.pictures
            learned = once(proposer, key, lambda: mine(clip, proposer, captioned))
        else:
            learned = labeled_pairs(clip, masked)
        _tune(clip, tower, learned, (token_steps, steps), seed)
    tower.requires_grad_(False)
    return TwoStage(
        clip,
        proposer,
        "ovseg",
        lam,
        count(proposer, tower),
        margin=MARGIN,
        branch=branch,
        background=background,
        encode=tower,
    )


def _tune(clip, tower, pairs, steps, seed) -> None:
    """Pairs belong together, others not (text frozen): weights, then tokens.

    Each has a round of its own, ``steps`` (of tokens, of weights): weights see
    crops as they are, and stay as they have become while tokens are learned.
    """

    def learn(parameters, embed, turns: int, lr: float) -> None:
        def loss(rows: Tensor) -> Tensor:
            texts, labels = pairs.texts[rows], pairs.labels[rows]
            return unicl_loss(embed(rows), texts, clip.logit_scale, labels)

        minimize(clip, parameters, loss, len(pairs), turns, lr, BATCH, seed)

    if tower.last is not None:
        with torch.no_grad():  # nothing before the last block moves
            crops = zip(
                pairs.shown.split(BATCH), pairs.inside.split(BATCH), strict=True
            )
            states = torch.cat([tower.before(*some, tokens=False) for some in crops])
        weights = [
            p for m in (tower.last, tower.norm, tower.project) for p in m.parameters()
        ]
        learn(weights, lambda rows: tower.after(states[rows]), steps[1], 3e-4)
    if tower.tokens is not None:
        learn(
            [tower.tokens],
            lambda rows: tower(pairs.shown[rows], pairs.inside[rows]),
            steps[0],
            TOKEN_LR,
        )


def checks(trial) -> list[Check]:
    def named(**changes):
        return trial.result(INFO, branch="clip", **changes)

    tuned, tokens, both = (named(mode=m) for m in ("ft", "mpt", "both"))
    return [
        Check(
            "mined phrases teach novel names more than true base labels",
            tuned,
            named(mode="ft", pairs="labels"),
            score="U",
        ),
        Check("mask tokens help novel names", tokens, named(mode="none"), score="U"),
        Check(
            "tuning and tokens together are as good as tuning alone",
            both,
            tuned,
            at_least=True,
            score="U",
        ),
    ]
