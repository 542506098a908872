"""Scenes of several sketched stickers: multi-label and dense methods.

Each is compared with CLIP's own read-outs on the same test scenes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..metrics import confusion, iou_per_class
from ..naming import text_classifier
from ..transfer import denseclip, dualcoop, tai_dpt
from ..transfer.multi_label import hide_labels, mean_average_precision
from ..transfer.scene_sets import SceneSet, other_words, scene_captions, scene_set
from ..transfer.tasks import STRENGTHS, make_task
from ..verdict import Check, resample
from . import grid
from .experiment import Experiment, Seconds, open_backbone
from .transfer import PHRASECLIP

TUNING_SEED = 9  # the last of the scenes' ten: no run's
DOMAIN, CLASSES = "sketch", 24
SIZES = {"train": 160, "val": 120, "test": 200}
CAPTIONS = 400
KNOWN = (0.5, 0.1, 1.0)  # shares of labels; the first is searched with
READ_OUTS = "CLIP's read-outs"


@dataclass(frozen=True)
class SceneMethod:
    """``learn(train, seed, **settings)`` gives a predictor.

    ``dense`` methods are scored by the mean IoU over stickers' pixels, others
    by the mean average precision over classes.  ``variants``: settings by row,
    all with what the first's search finds, or with ``each`` every one with its
    own; ``than``: (sentence, read-out or row) that the first row is checked
    against; ``budget`` tells why nothing is concluded of it.
    """

    learn: Callable | None = None
    module: str = "scene_sets"
    steps: int = 0
    grid: Mapping[str, Sequence] = field(default_factory=dict)
    dense: bool = False
    than: tuple[tuple[str, str], ...] = ()
    budget: str = ""
    variants: Mapping[str, Mapping] = field(default_factory=dict)
    each: bool = False


def dual_coop(train: SceneSet, seed: int, known: float, **settings):
    """From pictures of which a share of the labels is known."""
    labels = hide_labels(train.labels, known, seed)
    clip, classes = train.pictures.clip, train.classes
    return dualcoop.fit(clip, train.pictures, labels, classes, seed, **settings)


def tai(train: SceneSet, seed: int, **settings):
    """From captions of ordinary scenes: no picture, no domain."""
    clip, classes = train.pictures.clip, train.classes
    captions = scene_captions(clip, classes, CAPTIONS, seed)
    labels = tai_dpt.noun_labels(captions, classes, other_words(classes))
    return tai_dpt.fit(clip, captions, labels, classes, seed, **settings)


def dense_clip(train: SceneSet, seed: int, **settings):
    """From label maps of pictures."""
    clip, pictures = train.pictures.clip, train.pictures
    maps, classes = train.label_maps(), train.classes
    return denseclip.fit(clip, pictures, maps, classes, seed, **settings)


WHOLE, NEAREST, DENSE = "whole picture", "nearest patch", "each patch"
POOLED = "patches like the name"  # DualCoOp's positive prompt, untrained
HEAD = "head alone"
METHODS = {
    READ_OUTS: SceneMethod(),
    "DualCoOp": SceneMethod(
        dual_coop,
        "dualcoop",
        steps=60,
        # the negative context from words, as the positive, or from random vectors
        grid={"lr": (1e-4, 3e-4, 1e-3), "negative": (dualcoop.NEGATIVE, None)},
        than=(
            ("DualCoOp beats whole pictures", WHOLE),
            ("DualCoOp beats its positive prompt alone, untrained", POOLED),
        ),
        budget="12 rounds through the pictures, where the paper takes 50",
        variants={f"{share:.0%} of labels known": {"known": share} for share in KNOWN},
    ),
    "TaI-DPT": SceneMethod(
        tai,
        "tai_dpt",
        steps=100,
        grid={"lr": (5e-5, 1.5e-4, 5e-4, 2e-3)},
        than=(
            ("TaI-DPT beats whole pictures", WHOLE),
            ("TaI-DPT beats nearest patches", NEAREST),
        ),
    ),
    "DenseCLIP": SceneMethod(
        dense_clip,
        "denseclip",
        steps=60,
        # the head alone took the highest: what prompts add to it may be less
        grid={"lr": (2e-3, 5e-3, 1e-2, 2e-2)},
        dense=True,
        than=(
            ("DenseCLIP beats the read-out", DENSE),
            ("DenseCLIP's prompts add to its head", HEAD),
        ),
        variants={
            "prompts and head": {},
            "names that do not look": {"looks": False},
            HEAD: {"words": False, "looks": False},
        },
        each=True,
    ),
}


@functools.cache
def scenes_of(backbone: str, split: str, seed: int) -> SceneSet:
    clip = open_backbone(backbone)
    classes = make_task(clip, "mixed").classes[:CLASSES]
    strength = STRENGTHS["mixed", DOMAIN]
    size = SIZES[split]
    return scene_set(clip, classes, size, split, seed, domain=DOMAIN, strength=strength)


def choose(name: str, backbone: str) -> dict:
    """Settings by validation scenes; by row where each has its own."""
    method = METHODS[name]

    def score(variant: Mapping, **knobs) -> float:
        train = scenes_of(backbone, "train", TUNING_SEED)
        settings = {**variant, **knobs, "steps": method.steps}
        predictor = method.learn(train, TUNING_SEED, **settings)
        val = scenes_of(backbone, "val", 0)
        return Marks.of(val, predictor(val.pictures), method.dense).score()

    if not method.each:
        first = next(iter(method.variants.values()), {})
        return grid.choose(method.grid, functools.partial(score, first))
    found: dict = {"chosen": {}, "grid": []}
    for row, variant in method.variants.items():
        own = grid.choose(method.grid, functools.partial(score, variant))
        found["chosen"][row] = own["chosen"]
        found["grid"] += [{"row": row, **tried} for tried in own["grid"]]
    return found


def measure(name: str, seed: int, backbone: str, chosen: dict) -> dict:
    """Rows of a method, and its checks against CLIP's read-outs."""
    test = scenes_of(backbone, "test", seed)
    told = read_outs(test)
    if name == READ_OUTS:
        rows = [{"row": k, "scores": {m.name: m.score()}} for k, m in told.items()]
        return {"classes": test.classes, "sizes": SIZES, "rows": rows}
    method, rows, first = METHODS[name], [], None
    train = scenes_of(backbone, "train", seed)
    for row, variant in (method.variants or {name: {}}).items():
        own = chosen[row] if method.each else chosen
        seconds, settings = Seconds(), {**variant, **own}
        with seconds("fit_s"):
            predictor = method.learn(train, seed, **settings, steps=method.steps)
        marks = Marks.of(test, predictor(test.pictures), method.dense)
        start = method.learn(train, seed, **settings, steps=0)
        before = Marks.of(test, start(test.pictures), method.dense)
        first, told[row] = first or marks, marks
        rows.append(
            {
                "row": row,
                **variant,
                "chosen": own,
                "scores": {marks.name: marks.score()},
                "step0": {marks.name: before.score()},
                "steps": method.steps,
                "trained": predictor.parameters_trained,
                **seconds,
            }
        )
    checks = []
    for sentence, other in method.than:
        check = Check(sentence, name, other, first.name, budget=method.budget)
        checks.append(check.measured(first.minus(told[other])))
    return {"rows": rows, "checks": checks}


def read_outs(test: SceneSet) -> dict[str, Marks]:
    """Cosines with prompt ensembles: no training."""
    weights = text_classifier(test.pictures.clip, test.classes)  # [C, D]
    patches = test.pictures.patch_embeds @ weights.T  # [N, h, w, C]
    flat = test.pictures.patch_embeds.flatten(1, 2)  # [N, T, D]
    pooled = dualcoop.region_logits(flat, weights, weights, 1.0)[:, 1]
    return {
        POOLED: Marks.of(test, pooled, False),
        WHOLE: Marks.of(test, test.pictures.image_embeds @ weights.T, False),
        NEAREST: Marks.of(test, patches.flatten(1, 2).amax(1), False),
        DENSE: Marks.of(test, patches.movedim(-1, 1), True),
    }


@dataclass(frozen=True)
class Marks:
    """What is needed of each of N scenes to score them, and resamples."""

    name: str
    scores: Tensor | np.ndarray  # [N, C]; or confusions [N, C, C]
    labels: Tensor | None = None

    @classmethod
    def of(cls, test: SceneSet, scores: Tensor, dense: bool) -> Marks:
        """``scores`` [N, C], or [N, C, h, w] where ``dense``."""
        if not dense:
            return cls("mAP", scores.detach(), test.labels)
        truth = test.label_maps()
        scores = F.interpolate(scores.detach(), truth.shape[-2:], mode="bilinear")
        pairs = zip(scores.argmax(1), truth, strict=True)
        counts = [confusion(guess, true, len(test.classes)) for guess, true in pairs]
        return cls("mIoU", np.stack(counts))

    def score(self, weights: np.ndarray | None = None) -> float:
        """Of all scenes, or of each as often as ``weights`` [N] say."""
        n = len(self.scores)
        rows = np.arange(n) if weights is None else np.arange(n).repeat(weights)
        if self.labels is None:
            return round(float(np.nanmean(iou_per_class(self.scores[rows].sum(0)))), 4)
        rows = torch.from_numpy(rows)
        return round(mean_average_precision(self.scores[rows], self.labels[rows]), 4)

    def minus(self, other: Marks) -> dict:
        """The difference on the same scenes, and on resamples of them."""

        def both(weights: np.ndarray) -> list[float]:
            return [self.score(w) - other.score(w) for w in weights.astype(int)]

        return resample(both, len(self.scores))


EXPERIMENT = Experiment(
    name="10b_labels_and_pixels",
    about="DualCoOp, TaI-DPT and DenseCLIP on scenes of several stickers",
    parts=dict.fromkeys(METHODS, measure),
    backbones=(PHRASECLIP,),
    choose=choose,
    code=lambda name: [
        f"vlmtutor.transfer.{part}" for part in (METHODS[name].module, "scene_sets")
    ],
)
