"""Fusioner: patches and names read each other in one transformer.

Ma et al. 2022, "Open-vocabulary Semantic Segmentation with Frozen
Vision-Language Models", arXiv 2210.15138.  Frozen: both encoders; trained:
projections, a transformer over [patches; names] in which all look at all, and
a decoder that enlarges the patches.  A pixel has a name if their cosine says
so, yes or no for each name.  Simplified: two layers of width 64, two
enlarging steps, value-path patches for the visual tokens; a picture is asked
for 12 names (the paper: one), so that names are used to each other's company.
Twenty names cannot teach again what CLIP's towers agreed on, so projections of
patches and names start as one, each enlarging step has a straight way round
its norm and ReLU, and a bias makes the first yeses rare.  The paper has none
of the three: its start is a row of its own.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...models.blocks import Transformer
from ...models.inside import as_map
from ...seeding import generator, seeded_weights
from ...training import minimize
from ...verdict import Check
from ...world import find_category
from ..methods import STEPS, Info
from ..parts.losses import bce_ignore, modest
from ..parts.refine import shrink_labels, upsample
from ..parts.texts import text_classifier
from ..pictures import BATCH, DensePictures
from ..supervision import Masked, tags_of

TEMPERATURE = 0.07
WIDTH = 64
ASKED = 12  # names a step
ENLARGED = 4  # cells a patch after the decoder, along a side

INFO = Info(
    name="Fusioner",
    paper="Open-vocabulary Semantic Segmentation with Frozen Vision-Language Models",
    year=2022,
    arxiv="2210.15138",
    table="inductive",
    needs=Masked,
    frozen="CLIP",
    tuned="a fusion transformer and a decoder",
    simplified="two layers of width 64; 12 names at once; starts from CLIP's cosines",
    knobs={"steps": STEPS, "background": (0.2, 0.35, 0.5)},
    reading=("background",),
)
AS_PUBLISHED = replace(
    INFO,
    name="Fusioner (start as published)",
    simplified="two layers of width 64; 12 names at once",
    settings={"start": "chance"},
)
ROWS = (INFO, AS_PUBLISHED)


def word_vectors(names: list[str], width: int) -> Tensor:
    """Names as bags of the words that describe them: [C, width].

    Each word has a random vector of its own, fixed by its letters, and no
    picture was ever seen: like names share words, and that is all they know.
    """
    vectors = []
    for name in names:
        category = find_category(name)
        texts = [name, *category.synonyms, *category.descriptions]
        words = sorted({w for t in texts for w in re.findall(r"\w+", t)})
        bag = [
            torch.randn(width, generator=generator(zlib.crc32(word.encode())))
            for word in words
        ]
        vectors.append(torch.stack(bag).mean(0))
    return F.normalize(torch.stack(vectors), dim=-1)


class Enlarge(nn.Module):
    """Maps [N, W, h, w] on twice the grid, after a convolution.

    With ``straight``, that is added to the map itself, at first with weight 0.
    """

    def __init__(self, width: int, straight: bool):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.InstanceNorm2d(width)
        self.gain = nn.Parameter(torch.zeros(())) if straight else None

    def forward(self, x: Tensor) -> Tensor:
        x = upsample(x, 2 * x.shape[-1])
        y = F.relu(self.norm(self.conv(x)))
        return y if self.gain is None else x + self.gain * y


class FusionNet(nn.Module):
    """``net(patches, names)``: [N, T, D], [C, D] → logits [N, C, 4 g, 4 g].

    ``names`` may be [N, C, D], others for each picture.  ``start``
    "agreement": both projections begin as one, and what follows as the
    identity, so that cosines begin as CLIP's; "chance": all is drawn.
    """

    def __init__(
        self,
        embed_dim: int,
        layers: int,
        width: int,
        seed: int,
        start: str = "agreement",
    ):
        super().__init__()
        with seeded_weights(seed):
            self.see = nn.Sequential(
                nn.LayerNorm(embed_dim),
                nn.Linear(embed_dim, width),
                nn.LayerNorm(width),
            )
            self.hear = nn.Sequential(
                nn.LayerNorm(embed_dim), nn.Linear(embed_dim, width)
            )
            self.kind = nn.Parameter(0.02 * torch.randn(width))
            self.fusion = Transformer(width, layers, heads=4)
            self.to_pixels = nn.Linear(width, width)
            self.to_names = nn.Linear(width, width)
            agree = start == "agreement"
            self.decode = nn.Sequential(*(Enlarge(width, agree) for _ in range(2)))
            self.last = nn.Conv2d(width, width, 1)
            self.bias = nn.Parameter(torch.zeros(()), requires_grad=agree)
            if agree:
                self._agree()

    @torch.no_grad()
    def _agree(self) -> None:
        nn.init.orthogonal_(self.see[1].weight)
        self.hear[1].weight.copy_(self.see[1].weight)
        for linear in (self.see[1], self.hear[1]):
            nn.init.zeros_(linear.bias)
        for block in self.fusion.blocks:
            for last in (block.attention.out, block.mlp[2]):
                nn.init.zeros_(last.weight)
                nn.init.zeros_(last.bias)
        for layer in (self.to_pixels, self.to_names):
            nn.init.eye_(layer.weight)
            nn.init.zeros_(layer.bias)
        nn.init.dirac_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def fuse(self, patches: Tensor, names: Tensor) -> tuple[Tensor, Tensor]:
        """Patches [N, T, W] and names [N, C, W] after reading each other."""
        seen = self.see(patches)
        heard = self.hear(names) + self.kind
        if heard.ndim == 2:  # the same names for every picture
            heard = heard.expand(len(seen), -1, -1)
        both = self.fusion(torch.cat([seen, heard], 1))
        T = patches.shape[1]
        return self.to_pixels(both[:, :T]), self.to_names(both[:, T:])

    def forward(self, patches: Tensor, names: Tensor) -> Tensor:
        pixels, names = self.fuse(patches, names)
        pixels = F.normalize(self.last(self.decode(as_map(pixels))), dim=1)
        names = F.normalize(names, dim=-1)
        cosine = torch.einsum("nwyx,ncw->ncyx", pixels, names)
        return cosine / TEMPERATURE + self.bias


@dataclass(frozen=True)
class Fusioner:
    """``pair`` is "clip", or "words": names that no picture was seen with."""

    clip: object
    net: FusionNet
    pair: str = "clip"
    background: float = 0.2

    @property
    def trained(self) -> int:
        return sum(p.numel() for p in self.net.parameters())

    def vectors(self, names: list[str]) -> Tensor:
        """What the pixels are compared with: [C, D]."""
        if self.pair == "words":
            return word_vectors(names, self.clip.embed_dim)
        return text_classifier(self.clip, names)

    def scores(self, pictures: DensePictures, names, seen=None) -> Tensor:
        maps = self.net(pictures.dense, self.vectors(names)).sigmoid()
        ground = maps.new_full((len(maps), 1, *maps.shape[2:]), self.background)
        maps = torch.cat([maps, ground], 1)
        return upsample(maps, pictures.images.shape[1])


def fit(
    clip,
    data: Masked,
    seed=0,
    *,
    layers=2,
    pair="clip",
    start="agreement",
    background=0.2,
    steps=150,
    lr=5e-4,
) -> Fusioner:
    """Train fusion and decoder on base masks; ``layers`` 0 has no fusion.

    A picture is asked for all that is in it and for some that is not.
    """
    net = FusionNet(clip.embed_dim, layers, WIDTH, seed, start)
    model = Fusioner(clip, net, pair, background)
    patches, vectors = data.pictures.dense, model.vectors(data.names)
    modest(net.bias, lambda: net(patches[:BATCH], vectors))
    side = ENLARGED * round(patches.shape[1] ** 0.5)
    labels = shrink_labels(data.labels, side)
    here, rng = tags_of(data.labels, len(data.names)).float(), generator(seed)
    several = min(ASKED, len(data.names))

    def loss(rows: Tensor) -> Tensor:
        luck = torch.rand(here[rows].shape, generator=rng)
        asked = (here[rows] + luck).topk(several, dim=1).indices  # [B, Q]
        logits = net(patches[rows], vectors[asked])
        y = labels[rows]
        truth = y[:, None] == asked[:, :, None, None]
        return bce_ignore(logits, truth, (y != 255)[:, None])

    learned = [p for p in net.parameters() if p.requires_grad]
    minimize(clip, learned, loss, len(data), steps, lr, BATCH, seed)
    net.requires_grad_(False)
    return model


def checks(trial) -> list[Check]:
    full = trial.result(INFO)
    words = trial.result(INFO, pair="words")
    return [
        Check(
            "fusion helps novel classes", full, trial.result(INFO, layers=0), score="U"
        ),
        Check(
            "fusion helps novel classes of a pair that never met",
            words,
            trial.result(INFO, pair="words", layers=0),
            score="U",
        ),
        Check("CLIP's pair beats one that never met", full, words),
    ]
