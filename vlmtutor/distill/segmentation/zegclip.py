"""ZegCLIP: one stage, each name by itself, and words that know the picture.

Zhou et al. 2023, "ZegCLIP: Towards Adapting CLIP for Zero-shot Semantic
Segmentation", arXiv 2212.03588.  Frozen: both towers; trained: prompt tokens
in the picture tower, a linear map of [text * picture; text] (the relationship
descriptor), and a decoder in which names look at patches but not at each
other.  A mask is the decoder's attention before its softmax, judged yes or no
per name (focal and dice loss).  Simplified: prompts in the last two blocks
only, so that training starts from kept states; two decoder layers, whose
logits start as CLIP's cosines, since so few steps from chance teach nothing.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...models.inside import as_map, read_out, run_block, vision_blocks
from ...objectives.alignment import focal_loss
from ...seeding import seeded_weights
from ...training import minimize
from ...verdict import Check
from ..methods import Info
from ..parts.losses import binary_targets, dice, softmax_ce_ignore
from ..parts.refine import shrink_labels, upsample
from ..parts.texts import text_classifier
from ..pictures import DensePictures
from ..supervision import IGNORE, Masked, Partial

PROMPTS, HEADS = 4, 2
DEEP = 2  # blocks that have prompts
FOCAL = 100.0  # the paper's weight against dice 1
FINE = 2  # cells a patch at which masks are judged

_FACTS = {
    "paper": "ZegCLIP: Towards Adapting CLIP for Zero-shot Semantic Segmentation",
    "year": 2023,
    "arxiv": "2212.03588",
    "frozen": "CLIP",
    "tuned": "prompts, descriptor, decoder",
    "simplified": "prompts in two blocks, two decoder layers; starts from "
    "CLIP's cosines",
    "reading": ("offset", "background"),
    "split": True,
}
INFO = Info(
    name="ZegCLIP",
    table="inductive",
    needs=Masked,
    knobs={"offset": (0.0, 0.02, 0.1), "background": (0.4, 0.5)},
    **_FACTS,
)
SELF_TRAINED = Info(
    name="ZegCLIP (self-training)",
    table="transductive",
    needs=Partial,
    settings={"self_train_at": 0.5},
    told=("names", "novel"),
    knobs={"background": (0.4, 0.5)},
    **_FACTS,
)
ROWS = (INFO, SELF_TRAINED)


class LookLayer(nn.Module):
    """Names [N, C, W] look at patches [N, T, W], each name for itself.

    The ``last`` layer only looks: its attention is the mask.
    """

    def __init__(self, width: int, heads: int, last: bool = False):
        super().__init__()
        self.heads, self.last = heads, last
        self.query, self.key = (nn.Linear(width, width) for _ in range(2))
        if last:
            return
        self.value, self.out = (nn.Linear(width, width) for _ in range(2))
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, names: Tensor, patches: Tensor):
        """Names, and the attention before its softmax: [N, C, T]."""
        q, k = self._split(self.query(names)), self._split(self.key(patches))
        raw = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        if self.last:
            return names, raw.mean(1)
        v = self._split(self.value(patches))
        seen = (raw.softmax(-1) @ v).transpose(1, 2).flatten(2)
        names = self.norm1(names + self.out(seen))
        return self.norm2(names + self.mlp(names)), raw.mean(1)

    def _split(self, x: Tensor) -> Tensor:
        """[N, L, W] → [N, heads, L, W / heads]."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class ZegNet(nn.Module):
    """``net(states, W)``: logits of masks [N, C, g, g], one per layer.

    ``states`` [N, 1 + T, width]: the hidden state that the last blocks read.
    ``start`` "agreement" or "chance": see :meth:`_agree`.
    ``tune`` says what of the tower moves: "prompts", "blocks" (copies of
    them) or "nothing".  ``descriptor`` False leaves the query the text alone.
    Raises ValueError for another ``tune``.
    """

    def __init__(
        self,
        clip,
        tune="prompts",
        descriptor=True,
        layers=2,
        width=128,
        seed=0,
        start="agreement",
    ):
        super().__init__()
        D, W = clip.embed_dim, clip.model.config.vision_config.hidden_size
        self.clip = [clip]  # in a list, so that it is no part of this module
        self.descriptor = descriptor
        self.tower = None
        self.prompts = None
        with seeded_weights(seed):
            if tune == "prompts":
                shape = (DEEP, PROMPTS, W)
                self.prompts = nn.Parameter(0.02 * torch.randn(shape))
            elif tune == "blocks":
                blocks = copy.deepcopy(vision_blocks(clip)[-DEEP:])
                self.tower = nn.ModuleList(blocks).requires_grad_(True)
            elif tune != "nothing":
                raise ValueError(f"cannot tune {tune!r}")
            self.query = nn.Linear(2 * D if descriptor else D, width)
            self.patches = nn.Linear(D, width)
            self.layers = nn.ModuleList(
                LookLayer(width, HEADS, last=k == layers - 1) for k in range(layers)
            )
            if start == "agreement":
                self._agree()

    @torch.no_grad()
    def _agree(self) -> None:
        """Names and patches start in one space: logits follow cosines."""
        D = self.patches.in_features
        nn.init.orthogonal_(self.patches.weight)
        if self.descriptor:
            self.query.weight[:, :D].mul_(0.1)
        self.query.weight[:, -D:].copy_(self.patches.weight)
        for linear in (self.query, self.patches):
            nn.init.zeros_(linear.bias)
        for layer in self.layers:
            for linear in (layer.query, layer.key):
                nn.init.eye_(linear.weight)
                nn.init.zeros_(linear.bias)
            if not layer.last:
                layer.out.weight.mul_(0.1)
                layer.mlp[-1].weight.mul_(0.1)

    def embeds(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Joint embeddings of class token [N, D] and patches [N, T, D]."""
        clip, tokens = self.clip[0], states.shape[1]
        blocks = self.tower or vision_blocks(clip)[-DEEP:]
        for k, block in enumerate(blocks):
            if self.prompts is not None:
                ours = self.prompts[k].expand(len(states), -1, -1)
                states = torch.cat([states[:, :tokens], ours], 1)
            states = run_block(block, states)
        embeds = read_out(clip, states[:, :tokens])
        return embeds[:, 0], embeds[:, 1:]

    def forward(self, states: Tensor, W: Tensor) -> list[Tensor]:
        picture, patches = self.embeds(states)
        names = W.expand(len(states), -1, -1)  # [N, C, D]
        if self.descriptor:
            names = torch.cat([names * picture[:, None], names], -1)
        # unit vectors times the root of D: entries of ordinary size
        root = W.shape[1] ** 0.5
        x, patches = self.query(root * names), self.patches(root * patches)
        masks = []
        for layer in self.layers:
            x, raw = layer(x, patches)
            masks.append(as_map(raw.transpose(1, 2)))
        return masks


@dataclass(frozen=True)
class ZegCLIP:
    """``offset`` is taken off names that had masks; ``background`` is how
    sure a name must be.  ``exclusive``: a softmax over names and background
    (logit 0) in place of a yes or no per name."""

    clip: object
    net: ZegNet
    offset: float = 0.0
    background: float = 0.4
    exclusive: bool = False

    @property
    def trained(self) -> int:
        return sum(p.numel() for p in self.net.parameters())

    def logits(self, pictures: DensePictures, names: list[str]) -> Tensor:
        """Of the masks, before the sigmoid: [N, C, g, g]."""
        start = len(vision_blocks(self.clip)) - DEEP
        W = text_classifier(self.clip, names)
        with torch.no_grad():
            return self.net(pictures.hidden(start), W)[-1]

    def scores(self, pictures, names, seen=None) -> Tensor:
        logits = upsample(self.logits(pictures, names), pictures.images.shape[1])
        if self.exclusive:
            maps = F.pad(logits, (0, 0, 0, 0, 0, 1)).softmax(1)
        else:
            maps = F.pad(logits.sigmoid(), (0, 0, 0, 0, 0, 1), value=self.background)
        if seen is not None:
            off = self.offset * F.pad(seen.float(), (0, 1))
            maps = maps - off[:, None, None]
        return maps


def fit(
    clip,
    data: Masked,
    seed=0,
    *,
    names=(),
    novel=(),
    tune="prompts",
    descriptor=True,
    exclusive=False,
    self_train_at=None,
    start="agreement",
    offset=0.0,
    background=0.4,
    steps=150,
    batch_size=12,
    lr=2e-3,
) -> ZegCLIP:
    """Train on base masks; with ``novel`` names also on its own guesses.

    ``self_train_at`` is the share of steps after which pixels without a label
    get the best of the novel names.  Before, they count for nothing (in the
    released code they are a no for every seen name).
    """
    net = ZegNet(clip, tune, descriptor, seed=seed, start=start)
    names = list(names) or list(data.names)
    W = text_classifier(clip, names)
    states = data.pictures.hidden(len(vision_blocks(clip)) - DEEP).half()
    grid = round((states.shape[1] - 1) ** 0.5)
    labels = shrink_labels(data.labels, FINE * grid)
    labels = labels.masked_fill(labels == len(data.names), len(names))
    fresh = torch.tensor([names.index(n) for n in novel], dtype=torch.long)
    base = torch.tensor([names.index(n) for n in data.names])
    taught = iter(range(steps))
    guessing = steps if self_train_at is None else self_train_at * steps

    def loss(rows: Tensor) -> Tensor:
        y, step = labels[rows], next(taught)
        free = y == IGNORE
        guess = len(fresh) and step >= guessing
        masks = net(states[rows].float(), W if guess else W[base])
        masks = [upsample(m, y.shape[-1]) for m in masks]
        if guess:
            best = fresh[masks[-1].detach()[:, fresh].argmax(1)]
            y = torch.where(free, best, y)
        else:  # names are the base ones alone
            y = y.masked_fill(y == len(names), len(base))
        return sum(mask_loss(m, y, exclusive) for m in masks)

    minimize(clip, net.parameters(), loss, len(data), steps, lr, batch_size, seed)
    net.requires_grad_(False)
    return ZegCLIP(clip, net, offset, background, exclusive)


def mask_loss(logits: Tensor, labels: Tensor, exclusive: bool) -> Tensor:
    """Of masks [N, C, h, w] against labels; C is the background."""
    if exclusive:
        return softmax_ce_ignore(F.pad(logits, (0, 0, 0, 0, 0, 1)), labels)
    targets, counts = binary_targets(labels, logits.shape[1])
    focal = focal_loss(logits, targets, counts.expand_as(logits))
    there = targets.flatten(2).any(-1)  # [N, C]
    overlap = dice(logits[there], targets[there], counts.expand_as(logits)[there])
    return FOCAL * focal + overlap


def checks(trial) -> list[Check]:
    full = trial.result(INFO)
    return [
        Check(
            "the relationship descriptor helps novel classes",
            full,
            trial.result(INFO, descriptor=False),
            score="U",
        ),
        Check(
            "yes-or-no masks help novel classes against a softmax",
            full,
            trial.result(INFO, exclusive=True),
            score="U",
        ),
        Check(
            "prompts keep novel classes better than tuned blocks",
            full,
            trial.result(INFO, tune="blocks"),
            score="U",
        ),
        Check(
            "the paper's offset of 0.1 against seen names helps",
            trial.result(INFO, offset=0.1),
            trial.result(INFO, offset=0.0),
        ),
        Check(
            "self-training on novel names helps them",
            trial.result(SELF_TRAINED),
            full,
            score="U",
        ),
    ]
