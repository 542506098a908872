"""Notebook 06: what data, batches, wrong captions and a second loss change.

The parts have one run in common: all scenes as they are, in batches of 64,
with CLIP's loss alone.
"""

from __future__ import annotations

import functools

import torch
from sklearn.metrics import roc_auc_score

from ...lessons import pretraining as lesson
from ...models.frameworks import Framework
from ..experiment import Experiment
from . import FROM_SCRATCH, rounded

SCENES = (250, 1000, lesson.SCENES)
BATCHES = (16, lesson.BATCH, 256)
NOISE = (0.0, 0.4)
DROPPED = 0.4  # of clean pairs, to see what filtering costs them
SECOND = ("none", "views", "captions", "masked words", "matching")


@functools.cache
def data(seed: int) -> lesson.Data:
    return lesson.make_data(seed=seed)


@functools.cache
def common(seed: int) -> tuple[Framework, dict, float]:
    """The run that all parts share: model, scores, seconds."""
    return train(seed)


def train(seed: int, on=None, **options) -> tuple[Framework, dict, float]:
    model, history = lesson.train(data(seed), on, seed=seed, **options)
    return model, lesson.score(model, data(seed)), round(history.seconds, 1)


def row(name: str, scores: dict, **more) -> dict:
    return {"row": name, "scores": rounded(scores), **more}


def scenes(name: str, seed: int, backbone: str) -> dict:
    """Few and many scenes, the same steps: some see a scene often."""
    rows = []
    for n in SCENES:
        pairs, run = data(seed).train, common(seed)
        if n < len(pairs):
            run = train(seed, lesson.Part(pairs, torch.arange(n)))
        rows.append(row(f"{n} scenes", run[1], scenes=n, steps=lesson.STEPS))
    return {"rows": rows}


def batches(name: str, seed: int, backbone: str) -> dict:
    """Small and large batches, the same number of pairs seen."""
    rows = []
    for size in BATCHES:
        steps, run = lesson.STEPS * lesson.BATCH // size, common(seed)
        if size != lesson.BATCH:
            run = train(seed, steps=steps, batch_size=size)
        rows.append(row(f"batches of {size}", run[1], batch=size, steps=steps))
    return {"rows": rows}


def noise(name: str, seed: int, backbone: str) -> dict:
    """Wrong captions; as they are, and what a first model thinks best.

    The filter knows how many captions are wrong, not which.
    """
    rows = []
    for share in NOISE:
        dirty, wrong = lesson.shuffled(data(seed).train, share, seed)
        first, scores, _ = train(seed, dirty) if share else common(seed)
        judged = lesson.pair_scores(first, dirty)
        keep = lesson.best(judged, 1 - (share or DROPPED))
        _, again, _ = train(seed, lesson.Part(dirty, keep))
        again["wrong kept"] = wrong[keep].float().mean()
        if share:
            again["auc"] = roc_auc_score(~wrong, judged)
        kept = round(len(keep) / len(dirty), 2)
        title = f"{share:.0%} wrong"
        rows += [
            row(title, scores, noise=share, kept=1.0),
            row(f"{title}, {kept:.0%} kept", again, noise=share, kept=kept),
        ]
    return {"rows": rows}


def objectives(name: str, seed: int, backbone: str) -> dict:
    """CLIP's loss alone and with a second one, the same steps."""
    rows = []
    for second in SECOND:
        run = common(seed) if second == "none" else train(seed, second=second)
        rows.append(row(second, run[1], second=second, fit_s=run[2]))
    return {"rows": rows}


EXPERIMENT = Experiment(
    name="06_pretraining",
    about="data, batches, wrong captions and a second objective",
    parts={"data": scenes, "batch": batches, "noise": noise, "objectives": objectives},
    seeds=3,
    backbones=FROM_SCRATCH,
)
