"""CLIMS: masks that make CLIP say yes to what is inside and no to the rest.

Xie et al. 2022, "CLIMS: Cross Language Image Matching for Weakly Supervised
Semantic Segmentation", arXiv 2203.02668.  Supervision: which names are in a
training picture.  Frozen: CLIP; trained, through CLIP down to the pixels: a
layer that gives each name a soft mask P.  P * picture must match the name,
(1 - P) * picture must not, P * picture must not match places, and P should be
small.  A student learns the masks; at test no image label is needed.
Simplified: one linear layer on CLIP's last states for a ResNet-50, started
from a plain classifier; cosines become probabilities by a logistic curve
fitted to the training labels, since this CLIP's are no chances by themselves.
Against them the area has to weigh more than in the release; how much, the
tags decide: masks shrink until CLIP no longer names what they show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...models.inside import as_map
from ...seeding import generator
from ...training import minimize
from ...verdict import Check
from ..methods import Info
from ..parts.dense_student import Student, train_student
from ..parts.refine import shrink_labels, upsample
from ..parts.texts import background_classifier, text_classifier
from ..pictures import DensePictures, batched, once, taps
from ..supervision import Tagged

WEIGHTS = {"match": 10.0, "mismatch": 24.0, "places": 1.0}  # as released
AREAS = (2.0, 20.0, 200.0)  # weights to choose from; 0.2 in the release
SLACK = 0.05  # share of names that smaller masks may lose
ABSENT = 0.5  # a mask is where P is above it

INFO = Info(
    name="CLIMS",
    paper="CLIMS: Cross Language Image Matching for Weakly Supervised "
    "Semantic Segmentation",
    year=2022,
    arxiv="2203.02668",
    table="free",
    needs=Tagged,
    frozen="CLIP",
    tuned="a mask layer through CLIP, then a student",
    simplified="a linear layer on CLIP's states for a ResNet-50; tags of all names",
    start={"steps": 0, "student_steps": 0, "area": 0.0},
)
ROWS = (INFO,)


@dataclass(frozen=True)
class Curve:
    """From cosine to probability: sigmoid(slope * (cosine - middle))."""

    slope: float
    middle: float

    def log(self, cosine: Tensor) -> Tensor:
        """Logarithm of the probability of a match: [...] → [...]."""
        return F.logsigmoid(self.slope * (cosine - self.middle))

    def log_not(self, cosine: Tensor) -> Tensor:
        """Logarithm of the probability that there is none: [...] → [...]."""
        return F.logsigmoid(-self.slope * (cosine - self.middle))


def fit_curve(cosines: Tensor, truth: Tensor) -> Curve:
    """Logistic regression of bools [...] on cosines [...], both sides equal."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=1e4, class_weight="balanced")
    model.fit(cosines.flatten()[:, None].numpy(), truth.flatten().numpy())
    slope = float(model.coef_[0, 0])
    return Curve(slope, -float(model.intercept_[0]) / slope)


class MaskLayer(nn.Module):
    """``layer(pictures)`` is P before its sigmoid: [N, C, g, g]."""

    def __init__(self, clip, classes: int):
        super().__init__()
        self.state = taps(clip)[-1]
        width = clip.model.config.vision_config.hidden_size
        self.linear = nn.Linear(width, classes)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def inputs(self, pictures: DensePictures) -> Tensor:
        """CLIP's hidden states of the patches, normalised: [N, T, W]."""
        states = pictures.hidden(self.state)[:, 1:]
        return F.layer_norm(states, states.shape[-1:])

    def forward(self, pictures: DensePictures) -> Tensor:
        return as_map(self.linear(self.inputs(pictures)))


def start_as_classifier(layer: MaskLayer, data: Tagged, steps=200) -> None:
    """Class activation maps: a linear classifier of the mean patch."""
    pooled = layer.inputs(data.pictures).mean(1)
    optimizer = torch.optim.AdamW(layer.parameters(), 0.02, weight_decay=0.01)
    for _ in range(steps):
        loss = F.binary_cross_entropy_with_logits(
            layer.linear(pooled), data.tags.float()
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


class Through:
    """CLIP's opinion of masked pictures; gradients reach the mask."""

    def __init__(self, clip):
        self.clip = clip

    def __call__(self, pixel_values: Tensor, mask: Tensor) -> Tensor:
        """pixel_values [N, 3, S, S], mask [N, S, S] → embeddings [N, D].

        Pixels are normalised, so what is hidden turns to CLIP's mean colour.
        """
        return self.clip.image_features(mask[:, None] * pixel_values)


@dataclass(frozen=True)
class Masks:
    """The mask layer itself, asked for names that are known to be there."""

    clip: object
    layer: MaskLayer
    names: tuple[str, ...]

    @property
    def trained(self) -> int:
        return sum(p.numel() for p in self.layer.parameters())

    @torch.no_grad()
    def named(self, data: Tagged, most: int = 64) -> float:
        """How many tagged names CLIP gives to what their masks show."""
        pictures, tags = data.pictures[:most], data.tags[:most]
        rows, k = tags.nonzero().unbind(1)
        P = upsample(self.layer(pictures).sigmoid(), pictures.images.shape[1])
        W, look = text_classifier(self.clip, self.names), Through(self.clip)
        hits = [
            (look(pictures.pixel_values[n], P[n, c]) @ W.T).argmax(1) == c
            for n, c in zip(rows.split(64), k.split(64), strict=True)
        ]
        return float(torch.cat(hits).float().mean())

    def labels(self, pictures: DensePictures, tags: Tensor) -> Tensor:
        """The surest of the tagged names, or background: [N, S, S]."""
        with torch.no_grad():
            P = upsample(self.layer(pictures), pictures.images.shape[1])
            P = P.sigmoid().masked_fill(~tags[:, :, None, None], 0.0)
        P = F.pad(P, (0, 0, 0, 0, 0, 1), value=ABSENT)
        return P.argmax(1)


def fit(
    clip,
    data: Tagged,
    seed=0,
    *,
    student=True,
    mismatch=True,
    places=True,
    area=None,
    steps=30,
    student_steps=120,
):
    """Train the masks of tagged names; then a student, unless told not to.

    ``area`` weighs their size; None: :func:`choose_area`.
    """
    if area is None:
        area = choose_area(clip, data, seed, steps=steps)
    masks = once(
        data.pictures,
        ("CLIMS", seed, steps, mismatch, places, area),
        lambda: train(clip, data, seed, steps, area, mismatch, places),
    )
    if not student:
        return masks
    labels = torch.cat(
        [
            masks.labels(data.pictures[rows], data.tags[rows])
            for rows in batched(len(data), 64)
        ]
    )
    labels = shrink_labels(labels, Student(clip).fine)
    names = list(data.names)
    return train_student(
        clip, data.pictures, labels, names, steps=student_steps, seed=seed
    )


def choose_area(
    clip, data: Tagged, seed: int = 0, weights: Sequence = AREAS, steps: int = 30
) -> float:
    """The largest weight at which CLIP names what the masks show about as well.

    Image labels are all that it looks at: no mask, no validation scene.
    """
    named = {}
    for weight in weights:
        key = "CLIMS", seed, steps, True, True, weight
        masks = once(
            data.pictures, key, lambda w=weight: train(clip, data, seed, steps, w)
        )
        named[weight] = masks.named(data)
    enough = max(named.values()) - SLACK
    return max(weight for weight, share in named.items() if share >= enough)


def train(clip, data: Tagged, seed, steps, area, mismatch=True, places=True) -> Masks:
    """The mask layer, from a classifier of the tags on."""
    layer = MaskLayer(clip, len(data.names))
    start_as_classifier(layer, data)
    pictures = data.pictures.prepare("pixel_values")
    W, ground = text_classifier(clip, data.names), background_classifier(clip)
    curve = fit_curve(pictures.image_embeds @ W.T, data.tags)
    look, rng = Through(clip), generator(seed)
    side = pictures.images.shape[1]

    def loss(rows: Tensor) -> Tensor:
        k = torch.multinomial(data.tags[rows].float(), 1, generator=rng)[:, 0]
        batch = pictures[rows]
        P = layer(batch)[torch.arange(len(rows)), k].sigmoid()
        P = upsample(P[:, None], side)[:, 0]  # [B, S, S]
        pixels, text = batch.pixel_values, W[k]
        inside = look(pixels, P)
        found = (inside * text).sum(-1)
        total = area * P.mean((1, 2)) - WEIGHTS["match"] * curve.log(found)
        if mismatch:
            left = (look(pixels, 1 - P) * text).sum(-1)
            total = total - WEIGHTS["mismatch"] * curve.log_not(left)
        if places:
            near = inside @ ground.T  # [B, places]
            likely = near.detach() > curve.middle
            off = -(curve.log_not(near) * likely).sum(-1)
            total = total + WEIGHTS["places"] * off
        return total.mean()

    minimize(clip, layer.parameters(), loss, len(data), steps, 0.02, 8, seed)
    return Masks(clip, layer.requires_grad_(False), tuple(data.names))


def judged(trial, **changes):
    """Masks of the test pictures, told which names are there."""
    masks, bench = trial.model(INFO, student=False, **changes), trial.bench
    return bench.judge(masks.labels(bench.test_pictures, bench.oracle_tags))


def per_picture(result) -> dict[str, Tensor]:
    """Recall, precision and area of stickers, one a picture: [N] each."""
    counts = torch.as_tensor(result.counts).double()
    hits = counts[:, :-1, :-1].diagonal(dim1=1, dim2=2).sum(1)
    area = counts[:, :, :-1].sum((1, 2))
    return {
        "recall": hits / counts[:, :-1].sum((1, 2)).clamp(min=1),
        "precision": hits / area.clamp(min=1),
        "area": area / counts.sum((1, 2)),
    }


def checks(trial) -> list[Check]:
    result = judged(trial)
    full = per_picture(result)
    return [
        Check(
            "what is left must not match: masks find more of a thing",
            full["recall"],
            per_picture(judged(trial, mismatch=False))["recall"],
        ),
        Check(
            "the loss against places makes masks purer",
            full["precision"],
            per_picture(judged(trial, places=False))["precision"],
        ),
        Check(
            "masks beat the classifier's maps that they start from",
            result,
            judged(trial, steps=0),
            score="all",
        ),
    ]
