"""ZegCLIP: one stage, each name by itself, and words that know the picture.

Zhou et al. 2023, "ZegCLIP: Towards Adapting CLIP for Zero-shot Semantic
Segmentation", arXiv 2212.03588.  Frozen: both towers; trained: prompt tokens
in the picture tower, a linear map of [text * picture; text] (the relationship
descriptor), and a decoder in which names look at patches but not at each
other.  A mask is the decoder's attention before its softmax, judged yes or no
per name (focal and dice loss, both for each mask that is there).  The release
judges the last layer alone (those before are computed and dropped), and its
zero-shot configs have neither projection nor LayerNorm on the patches, which
their head has by default; here every layer is judged, and patches are projected
to the decoder's width and normed.  Simplified:
prompts in the last two blocks only, so that training starts from kept states;
two decoder layers, whose logits start as CLIP's cosines with a bias that makes
the first yeses rare, since so few steps from chance teach nothing; the paper's
start is a row of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...models.inside import as_map, read_out, run_block, vision_blocks
from ...objectives.alignment import focal_loss
from ...seeding import seeded_weights
from ...training import minimize
from ...verdict import Check
from ..methods import STEPS, Info
from ..parts.fusion import calibrate
from ..parts.look_layer import LookLayer
from ..parts.losses import binary_targets, dice, modest, softmax_ce_ignore
from ..parts.refine import shrink_labels, upsample
from ..parts.texts import text_classifier
from ..pictures import BATCH, DensePictures
from ..supervision import IGNORE, Masked, Partial

DEEP, PROMPTS = 2, 4  # blocks that have prompts, and how many
WIDTH, HEADS = 128, 2  # of the decoder
FOCAL = 100.0  # the paper's weight against dice 1
FINE = 2  # cells a patch at which masks are judged
SURE = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)  # how sure a name must be, to choose from

INFO = Info(
    name="ZegCLIP",
    paper="ZegCLIP: Towards Adapting CLIP for Zero-shot Semantic Segmentation",
    year=2023,
    arxiv="2212.03588",
    table="inductive",
    needs=Masked,
    frozen="CLIP",
    tuned="prompts, descriptor, decoder",
    simplified="prompts in two blocks, two decoder layers; starts from CLIP's cosines",
    knobs={
        "steps": STEPS,
        "offset": (0.0, 0.02, 0.05, 0.1, 0.2),
        "background": SURE,
    },
    reading=("offset", "background"),
    split=True,
)
AS_PUBLISHED = replace(
    INFO,
    name="ZegCLIP (start as published)",
    simplified="prompts in two blocks, two decoder layers",
    settings={"start": "chance"},
)
SELF_TRAINED = replace(
    INFO,
    name="ZegCLIP (self-training)",
    table="transductive",
    needs=Partial,  # what is unlabelled is novel, as in the paper
    settings={"self_train_at": 0.5},
    told=("names", "novel"),
    knobs={"steps": STEPS, "background": SURE},
)
ROWS = (INFO, AS_PUBLISHED, SELF_TRAINED)


class ZegNet(nn.Module):
    """``net(states, W)``: logits of masks [N, C, g, g], one per layer.

    ``states`` [N, 1 + T, width]: the hidden state that the last blocks read.
    ``start`` "agreement" or "chance": see :meth:`_agree`.
    Without ``prompts`` the tower is CLIP's own; ``descriptor`` False leaves
    the query the text alone.
    """

    def __init__(
        self, clip, prompts=True, descriptor=True, layers=2, seed=0, start="agreement"
    ):
        super().__init__()
        D, W = clip.embed_dim, clip.model.config.vision_config.hidden_size
        self.clip = [clip]  # in a list, so that it is no part of this module
        self.descriptor = descriptor
        with seeded_weights(seed):
            shape = (DEEP, PROMPTS if prompts else 0, W)
            self.prompts = nn.Parameter(0.02 * torch.randn(shape))
            self.query = nn.Linear(2 * D if descriptor else D, WIDTH)
            self.patches = nn.Linear(D, WIDTH)
            self.norm = nn.LayerNorm(WIDTH)
            self.layers = nn.ModuleList(
                LookLayer(WIDTH, HEADS, last=k == layers - 1) for k in range(layers)
            )
            agree = start == "agreement"
            self.bias = nn.Parameter(torch.zeros(()), requires_grad=agree)
            if agree:
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
        for block, prompts in zip(
            vision_blocks(clip)[-DEEP:], self.prompts, strict=True
        ):
            ours = prompts.expand(len(states), -1, -1)
            states = run_block(block, torch.cat([states[:, :tokens], ours], 1))
        embeds = read_out(clip, states[:, :tokens])
        return embeds[:, 0], embeds[:, 1:]

    def forward(self, states: Tensor, W: Tensor) -> list[Tensor]:
        picture, patches = self.embeds(states)
        names = W.expand(len(states), -1, -1)  # [N, C, D]
        if self.descriptor:
            names = torch.cat([names * picture[:, None], names], -1)
        # unit vectors times the root of D: entries of ordinary size
        root = W.shape[1] ** 0.5
        x, patches = self.query(root * names), self.norm(self.patches(root * patches))
        masks = []
        for layer in self.layers:
            x, raw = layer(x, patches)
            masks.append(as_map(raw.transpose(1, 2)) + self.bias)
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
        return maps if seen is None else calibrate(maps, seen, self.offset)


def fit(
    clip,
    data: Masked,
    seed=0,
    *,
    names=(),
    novel=(),
    descriptor=True,
    exclusive=False,
    self_train_at=None,
    start="agreement",
    offset=0.0,
    background=0.4,
    steps=150,
) -> ZegCLIP:
    """Train on base masks; with ``novel`` names also on its own guesses.

    ``self_train_at`` is the share of steps after which pixels without a label
    get the best of the novel names.  Before, they count for nothing (in the
    released code they are a no for every seen name).
    """
    net = ZegNet(clip, descriptor=descriptor, seed=seed, start=start)
    W = text_classifier(clip, names := list(names or data.names))
    states = data.pictures.hidden(len(vision_blocks(clip)) - DEEP).half()
    grid = round((states.shape[1] - 1) ** 0.5)
    labels = shrink_labels(data.labels, FINE * grid)
    labels = labels.masked_fill(labels == len(data.names), len(names))
    fresh = torch.tensor([names.index(n) for n in novel], dtype=torch.long)
    base = torch.tensor([names.index(n) for n in data.names])
    modest(net.bias, lambda: net(states[:BATCH].float(), W[base])[-1])
    taught = iter(range(steps))
    guessing = steps if self_train_at is None else self_train_at * steps

    def loss(rows: Tensor) -> Tensor:
        y = labels[rows]
        guess = len(fresh) and next(taught) >= guessing
        masks = net(states[rows].float(), W if guess else W[base])
        masks = [upsample(m, y.shape[-1]) for m in masks]
        if guess:
            best = fresh[masks[-1].detach()[:, fresh].argmax(1)]
            y = torch.where(y == IGNORE, best, y)
        else:  # names are the base ones alone
            y = y.masked_fill(y == len(names), len(base))
        return sum(mask_loss(m, y, exclusive) for m in masks)

    learned = [p for p in net.parameters() if p.requires_grad]
    minimize(clip, learned, loss, len(data), steps, 2e-3, 12, seed)
    return ZegCLIP(clip, net.requires_grad_(False), offset, background, exclusive)


def mask_loss(logits: Tensor, labels: Tensor, exclusive: bool) -> Tensor:
    """Of masks [N, C, h, w] against labels; C is the background.

    Focal losses of all names are added up and divided by the masks that are
    there, as in the released code.
    """
    if exclusive:
        return softmax_ce_ignore(F.pad(logits, (0, 0, 0, 0, 0, 1)), labels)
    targets, counts = binary_targets(labels, logits.shape[1])
    there = targets.flatten(2).any(-1)  # [N, C]
    focal = focal_loss(logits, targets, counts.expand_as(logits))
    focal = focal * there.numel() / there.sum().clamp(min=1)
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
            # one offset is not the same for scores of another kind
            "yes-or-no masks help novel classes against a softmax",
            trial.result(INFO, offset=0.0),
            trial.result(INFO, exclusive=True, offset=0.0),
            score="U",
        ),
        Check(
            "self-training on novel names helps them",
            trial.result(SELF_TRAINED),
            trial.result(SELF_TRAINED, self_train_at=None),
            score="U",
        ),
    ]
