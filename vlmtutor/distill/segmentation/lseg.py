"""LSeg: an image network learns to say, for every pixel, where words lie.

Li et al. 2022, "Language-driven Semantic Segmentation", arXiv 2201.03546.
Frozen: CLIP's text encoder, and nothing else of CLIP is used; trained: a dense
image encoder from pixels, and blocks that smooth the scores with one filter
for all labels.  Pixels meet words in a product; a softmax over all labels,
background among them, is the loss.  Simplified: a residual network of
0.3 M parameters for a DPT with a ViT-L; the label "other" is the best of the
background phrases.  A second row puts the encoder on CLIP's hidden states.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...models.inside import as_map, as_tokens
from ...seeding import seeded_weights
from ...training import minimize
from ...verdict import Check
from ..methods import STEPS, Info
from ..parts.losses import softmax_ce_ignore
from ..parts.refine import shrink_labels, upsample
from ..parts.texts import background_classifier, class_scores, text_classifier
from ..pictures import DensePictures, taps
from ..supervision import Masked

TEMPERATURE = 0.07  # fixed: the released code never updates it
FINE = 2  # cells of the encoder a patch of CLIP

_PAPER = "Language-driven Semantic Segmentation"
_FACTS = {
    "paper": _PAPER,
    "year": 2022,
    "arxiv": "2201.03546",
    "table": "inductive",
    "needs": Masked,
    "frozen": "CLIP's text encoder",
    "reading": ("answers", "shuffled"),
}
INFO = Info(
    name="LSeg",
    tuned="an image encoder from pixels",
    simplified="a small residual network for DPT",
    knobs={"steps": STEPS},
    **_FACTS,
)
ON_CLIP = Info(
    name="LSeg (on CLIP's states)",
    tuned="an encoder of CLIP's hidden states",
    simplified="not the paper's encoder: convolutions on frozen states",
    settings={"encoder": "states"},
    knobs={"steps": STEPS},
    **_FACTS,
)
ROWS = (INFO, ON_CLIP)


class Residual(nn.Module):
    """Two convolutions beside a straight way through: [N, W, h, w]."""

    def __init__(self, width: int, dilation: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.GroupNorm(8, width),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation),
            nn.GroupNorm(8, width),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class DenseEncoder(nn.Module):
    """Pictures → a vector a cell, [N, D, 2 g, 2 g], L2-normalised.

    ``encoder`` is what it sees: "pixels" or CLIP's hidden "states"; raises
    ValueError for another.
    """

    def __init__(self, clip, encoder: str, width: int = 64):
        super().__init__()
        config = clip.model.config.vision_config
        self.encoder, self.layers = encoder, taps(clip)
        self.side = FINE * config.image_size // config.patch_size
        if encoder == "pixels":
            self.stem = nn.Sequential(
                nn.Conv2d(3, width // 2, 3, stride=2, padding=1),
                nn.GELU(),
                nn.Conv2d(width // 2, width, 3, stride=2, padding=1),
            )
        elif encoder == "states":
            wide = len(self.layers) * config.hidden_size
            self.stem = nn.Conv2d(wide, width, 1)
        else:
            raise ValueError(f"encoder is pixels or states, not {encoder!r}")
        self.body = nn.Sequential(*(Residual(width, d) for d in (1, 2, 4)))
        self.head = nn.Conv2d(width, clip.embed_dim, 1)

    def forward(self, pictures: DensePictures) -> Tensor:
        if self.encoder == "pixels":
            x = self.stem(pictures.pixel_values)
        else:
            states = [
                F.layer_norm(h, h.shape[-1:])
                for h in (pictures.hidden(k)[:, 1:] for k in self.layers)
            ]
            x = self.stem(as_map(torch.cat(states, -1)))
        if x.shape[-1] != self.side:
            x = upsample(x, self.side)
        return F.normalize(self.head(self.body(x)), dim=1)


class Smoothing(nn.Module):
    """Scores [N, C, h, w] pass one 3 x 3 filter, the same for every label.

    Every label also gets the largest score of its cell (the paper's
    bottleneck block), so labels can be permuted, and their number change.
    """

    def __init__(self, last: bool):
        super().__init__()
        self.filter = nn.Conv2d(1, 1, 3, padding=1)
        self.last = last
        with torch.no_grad():  # start near the identity
            self.filter.weight.mul_(0.1)
            self.filter.weight[0, 0, 1, 1] += 1
            self.filter.bias.zero_()

    def forward(self, scores: Tensor) -> Tensor:
        N, C, h, w = scores.shape
        filtered = self.filter(scores.reshape(N * C, 1, h, w))
        mixed = filtered.reshape(N, C, h, w) + scores.amax(1, keepdim=True)
        return mixed if self.last else F.leaky_relu(mixed)


class LSegNet(nn.Module):
    """``net(pictures, W, places)`` is [N, C + 1, 4 g, 4 g]."""

    def __init__(self, clip, encoder: str, reg_depth: int, seed: int):
        super().__init__()
        with seeded_weights(seed):
            self.encode = DenseEncoder(clip, encoder)
            self.smooth = nn.Sequential(
                *(Smoothing(k == reg_depth - 1) for k in range(reg_depth))
            )

    def forward(self, pictures, W: Tensor, places: Tensor) -> Tensor:
        cells = as_tokens(self.encode(pictures))
        scores = class_scores(cells, W, places, 0.0) / TEMPERATURE
        return upsample(self.smooth(scores), 2 * scores.shape[-1])


@dataclass(frozen=True)
class LSeg:
    """``answers`` "base" forbids novel names; "all" is the method.

    ``shuffled`` gives each novel name the embedding of another one.
    ``learned`` holds label vectors that were trained in place of words.
    """

    clip: object
    net: LSegNet
    base: tuple[str, ...]
    learned: tuple[Tensor, Tensor] | None = None
    answers: str = "all"
    shuffled: bool = False

    @property
    def trained(self) -> int:
        extra = self.learned or ()
        tensors = [*self.net.parameters(), *extra]
        return sum(t.numel() for t in tensors)

    def vectors(self, names: list[str]) -> tuple[Tensor, Tensor]:
        """What cells are compared with: of names [C, D], of places [P, D]."""
        W = text_classifier(self.clip, names).clone()
        places = background_classifier(self.clip)
        new = [k for k, name in enumerate(names) if name not in self.base]
        if self.shuffled:
            W[new] = W[new[1:] + new[:1]]
        if self.learned is not None:
            ours, places = self.learned
            known = [k for k, name in enumerate(names) if name in self.base]
            W[known] = ours[[self.base.index(names[k]) for k in known]]
        return W, places

    def scores(self, pictures, names, seen=None) -> Tensor:
        W, places = self.vectors(names)
        scores = self.net(pictures, W, places)
        scores = upsample(scores, pictures.images.shape[1])
        if self.answers == "base":
            new = [k for k, name in enumerate(names) if name not in self.base]
            scores[:, new] = -torch.inf
        return scores


def fit(
    clip,
    data: Masked,
    seed=0,
    *,
    encoder="pixels",
    reg_depth=2,
    classifier="words",
    answers="all",
    shuffled=False,
    steps=150,
) -> LSeg:
    """Train the encoder on base masks.

    ``classifier`` "words" is the method; "learned" trains a vector a label
    instead, and one for each place, as any segmenter does, to see what words
    cost.
    """
    net = LSegNet(clip, encoder, reg_depth, seed)
    W, places = text_classifier(clip, data.names), background_classifier(clip)
    parameters, learned = list(net.parameters()), None
    if classifier == "learned":
        with seeded_weights(seed):
            learned = tuple(
                nn.Parameter(F.normalize(torch.randn(known.shape), dim=-1))
                for known in (W, places)
            )
        parameters += learned
    data.pictures.prepare("pixel_values")
    labels = shrink_labels(data.labels, 2 * net.encode.side)

    def loss(rows: Tensor) -> Tensor:
        vectors = (W, places)
        if learned is not None:
            vectors = [F.normalize(v, dim=-1) for v in learned]
        scores = net(data.pictures[rows], *vectors)
        return softmax_ce_ignore(scores, labels[rows])

    minimize(clip, parameters, loss, len(data), steps, 2e-3, 16, seed)
    net.requires_grad_(False)
    if learned is not None:
        learned = tuple(F.normalize(v.detach(), dim=-1) for v in learned)
    return LSeg(clip, net, tuple(data.names), learned, answers, shuffled)


def checks(trial) -> list[Check]:
    return [
        Check(
            "words cost nothing on seen classes against learned labels",
            trial.result(INFO, answers="base"),
            trial.result(INFO, classifier="learned", answers="base"),
            at_least=True,
            score="S",
        ),
        Check(
            "novel classes are found by their own words, not by any",
            trial.result(INFO),
            trial.result(INFO, shuffled=True),
            score="U",
        ),
        Check(
            "CLIP's states carry novel classes further than pixels",
            trial.result(ON_CLIP),
            trial.result(INFO),
            score="U",
        ),
    ]
