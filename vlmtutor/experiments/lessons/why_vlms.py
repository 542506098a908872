"""Notebook 01: accuracy against labels of each animal, for six methods."""

from __future__ import annotations

import copy
import functools

from torch import Tensor

from ...lessons import why_vlms as lesson
from ...metrics import accuracy
from ...naming import zero_shot
from ...transfer import linear_probe
from ...transfer.pictures import Pictures
from ..experiment import Experiment, open_backbone
from . import rounded

LABELS = (1, 2, 4, 8, 16, 32, 64)  # of each animal
FEW = (4, 16)  # where SimCLR is compared
TEST = 40  # pictures of each
PICTURES = 6000  # without labels
STEPS, EVERY = 250, 25  # of training, and between two looks at the test
PRETRAIN = {"rotation": (lesson.predict_rotation, 600), "SimCLR": (lesson.simclr, 300)}


@functools.cache
def samples(seed: int) -> tuple[lesson.Sample, lesson.Sample]:
    """Training pictures of a seed, and the test, which all seeds share."""
    return lesson.sample("train", max(LABELS), seed), lesson.sample("test", TEST)


def row(name: str, labels: int, value: float, **more) -> dict:
    scores = rounded({"accuracy": value})
    return {
        "row": f"{name}, {labels} a class",
        "labels": labels,
        "scores": scores,
        **more,
    }


def embeds(clip, sample: lesson.Sample) -> Tensor:
    """Image embeddings [N, D]."""
    return Pictures(clip, sample.pictures).image_embeds


def names_alone(name: str, seed: int, backbone: str) -> dict:
    clip, (_, test) = open_backbone(backbone), samples(seed)
    scores = zero_shot(clip, embeds(clip, test), lesson.CLASSES)
    found = row(name, 0, accuracy(scores, test.labels))
    return {"rows": [found]}


def probe(name: str, seed: int, backbone: str) -> dict:
    clip, (train, test) = open_backbone(backbone), samples(seed)
    seen, unseen = embeds(clip, train), embeds(clip, test)
    found = []
    for k in LABELS:
        rows = train.rows(k)
        predict = linear_probe.fit(
            clip, seen[rows], train.labels[rows], lesson.CLASSES, C=lesson.PROBE_C
        )
        found.append(row(name, k, accuracy(predict(unseen), test.labels)))
    return {"rows": found}


def features(name: str, seed: int, backbone: str) -> dict:
    train, test = samples(seed)
    found = [row(name, k, lesson.hog_svm(train.first(k), test)) for k in LABELS]
    return {"rows": found}


def network(name: str, seed: int, backbone: str) -> dict:
    """Trained from nothing, or pre-trained on pictures without labels."""
    train, test = samples(seed)
    options = {"seed": seed, "progress": False}
    start, found, steps = lesson.Classifier(seed=seed), [], 0
    if name in PRETRAIN:
        pretrain, steps = PRETRAIN[name]
        pretrain(start.encoder, lesson.unlabeled(PICTURES, seed), steps, **options)
    for k in FEW if name == "SimCLR" else LABELS:
        model = copy.deepcopy(start)
        history = lesson.supervised(
            model, train.first(k), STEPS, test=test, every=EVERY, **options
        )
        curve = [[step, round(value, 4)] for step, value in history.evaluations]
        seconds = round(history.seconds, 1)
        found.append(
            row(name, k, curve[-1][1], steps=STEPS, fit_s=seconds, curve=curve)
        )
    return {"rows": found, "pretraining steps": steps}


EXPERIMENT = Experiment(
    name="01_why_vlms",
    about="accuracy against labels, with and without a vision-language model",
    parts={
        "zero-shot": names_alone,
        "linear probe": probe,
        "HOG + SVM": features,
        "from scratch": network,
        "rotation": network,
        "SimCLR": network,
    },
    seeds=3,
)
