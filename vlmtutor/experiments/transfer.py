"""What the experiments on transfer share: methods, tasks, answers, checks.

A part is a method.  It learns from a few pictures of each base class, once
for each task, number of shots and seed, and answers that seed's test pictures
of base and of novel classes, and of ordinary stickers ("kept").  Which
answers were right is stored, so that methods can be compared picture by
picture.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..metrics import harmonic_mean
from ..transfer import get_fit, tasks
from ..transfer.base import Learner, TiedToClasses
from ..transfer.few_shot import first
from ..transfer.tasks import Split, Task, calibrate, make_task
from ..verdict import Check, resample
from . import grid
from .experiment import Seconds, open_backbone

TUNING_SEED = 9  # its pictures are no run's
BINS = 15  # of the calibration error


@dataclass(frozen=True)
class Method:
    """``fit`` of the course's methods, what is fixed, and what is searched.

    ``pictures`` limits test pictures a class, for methods slow to predict;
    ``learns`` is False for those that look at no label.  ``classes`` limits
    the classes that have labelled pictures; ``like`` names the method whose
    settings are taken over; ``paper`` holds the paper's.
    """

    fit: str
    fixed: Mapping = field(default_factory=dict)
    grid: Mapping[str, Sequence] = field(default_factory=dict)
    pictures: int | None = None
    learns: bool = True
    classes: int | None = None
    like: str | None = None
    paper: Mapping | None = None

    @property
    def steps(self) -> int | None:
        """How many it takes, where it takes any."""
        known = inspect.signature(get_fit(self.fit)).parameters
        default = known["steps"].default if "steps" in known else None
        return self.fixed.get("steps", default)


@dataclass(frozen=True)
class Study:
    """Methods by name; (task, domain) → numbers of shots; where to search.

    ``checks`` are those of :mod:`vlmtutor.transfer.claims`.  ``n_test`` and
    ``n_kept`` are test pictures a class, of the task and of stickers.
    ``target`` is the accuracy that the domains' strengths leave to zero-shot
    on all classes; on half of them it has it easier.
    """

    methods: Mapping[str, Method]
    tasks: Mapping[tuple[str, str], Sequence[int]]
    checks: Sequence[Check]
    search_domains: Sequence[str] = ("sketch",)
    search_shots: Sequence[int] = (1, 16)
    search_pictures: int | None = None
    n_test: int = 12
    n_kept: int = 6
    target: float = 0.44

    def choose(self, name: str, backbone: str) -> dict:
        """Settings of a method, by its scores on other classes.

        The task "development" has no class of the tables; half of its classes
        are learned from and the score is the harmonic mean of both halves'
        validation accuracies, that of the base half alone for methods tied to
        their classes.
        """
        method = self.methods[name]
        method = self.methods[method.like] if method.like else method
        domains = self.search_domains if method.grid else ()
        others = [prepared(backbone, "development", d, self.target) for d in domains]
        shots = self.search_shots if method.learns else self.search_shots[:1]
        few = method.pictures or self.search_pictures

        def score(**knobs) -> float:
            found = []
            for task, k in itertools.product(others, shots):
                halves = [first(task.val(12, half=h), few) for h in ("base", "novel")]
                train = task.shots(k, TUNING_SEED, "base")
                predictor = learn(method, train, TUNING_SEED, **knobs)
                scores = scores_of(answers(predictor, *halves))
                found.append(scores.get("H", scores["base"]))
            return statistics.mean(found)

        return grid.choose(method.grid, score, method.paper)

    def measure(self, name: str, seed: int, backbone: str, chosen: dict) -> dict:
        """The part of a method: a row for each task and number of shots."""
        rows = []
        for (task_name, domain), shots in self.tasks.items():
            for k in shots if self.methods[name].learns else (0,):
                rows.append(
                    self._row(name, task_name, domain, k, seed, backbone, chosen)
                )
        return {"rows": rows}

    def _row(self, name, task_name, domain, k, seed, backbone, chosen) -> dict:
        method, seconds = self.methods[name], Seconds()
        with seconds("shared_s"):
            task = prepared(backbone, task_name, domain, self.target, self.n_test)
            task.encode((seed,), splits=("train", "test"))
            base, novel = (
                first(task.test(half, seed), method.pictures)
                for half in ("base", "novel")
            )
            kept = stickers(backbone, task_name, self.n_kept, seed)
            kept = first(kept, method.pictures)
            train = task.shots(max(k, 1), seed, "base")
        with seconds("fit_s"):
            predictor = learn(method, train, seed, **chosen)
        begun = time.perf_counter()
        found = answers(predictor, base, novel, kept)
        each = (time.perf_counter() - begun) / sum(map(len, (base, novel, kept)))
        row = {
            "row": title(task_name, domain, k),
            "task": f"{task_name}, {domain}",
            "shots": k,
            "strength": task.strength,
            "supervision": f"{k} pictures a class" if k else "names",
            "scores": scores_of(found),
            "steps": method.steps if method.learns else None,
            "trained": predictor.parameters_trained,
            "ms": round(1000 * each, 2),
            **seconds,
            "answers": packed(found, with_confidence=not method.learns),
        }
        if row["steps"]:
            start = learn(method, train, seed, **chosen, steps=0)
            row["step0"] = scores_of(answers(start, base, novel, kept))
        return row

    def compare(self, found: dict[str, dict]) -> list[dict]:
        """The checks of one seed, task by task."""
        runs = {
            (method, row["shots"], row["task"]): row["answers"]
            for method, part in found.items()
            for row in part.get("rows", ())
            if "answers" in row
        }
        measured = []
        for check, (name, domain) in itertools.product(self.checks, self.tasks):
            task = f"{name}, {domain}"
            arms = [runs.get((*arm, task)) for arm in (check.better, check.worse)]
            if None in arms:
                continue
            measured.append(
                {
                    **check.measured(difference(*arms, check.score)),
                    "name": f"{check.sentence} ({task})",
                    "method": check.better[0],
                    "row": title(name, domain, check.better[1]),
                }
            )
        return measured

    def code(self, name: str) -> list[str]:
        """The modules behind a method: its own, and where pictures come from."""
        return [get_fit(self.methods[name].fit).__module__, tasks.__name__]


def title(name: str, domain: str, shots: int) -> str:
    return f"{name}, {domain}, {shots} shot{'s' * (shots != 1)}"


@functools.cache
def prepared(
    backbone: str, name: str, domain: str, target: float, n_test: int = 1
) -> Task:
    """A task whose domain leaves ``target`` to zero-shot."""
    clip = open_backbone(backbone)
    strength, _ = calibrate(clip, name, domain, target)
    return make_task(clip, name, domain, strength=strength, n_test=n_test, n_val=12)


@functools.cache
def stickers(backbone: str, name: str, n: int, seed: int) -> Split:
    """The base classes of a task as ordinary stickers, ``n`` of each."""
    task = make_task(open_backbone(backbone), name, n_test=n)
    return task.encode((seed,), splits=("test",)).test("base", seed)


def learn(method: Method, train: Split, seed: int, **settings) -> Learner:
    """A predictor, from the labelled pictures that the method may see."""
    pictures, labels, classes = train.pictures, train.labels, train.classes
    if method.classes is not None:
        rows = (labels < method.classes).nonzero()[:, 0]
        pictures, labels = pictures[rows], labels[rows]
        classes = classes[: method.classes]
    settings = {**method.fixed, **settings}
    fit = get_fit(method.fit)
    return fit(pictures.clip, pictures, labels, classes, seed, **settings)


# Answers: for each group of pictures, right [n] bool and confidence [n]

Answers = dict[str, tuple[np.ndarray, np.ndarray]]


def answers(predictor, base: Split, novel: Split, kept: Split | None = None) -> Answers:
    """Of base and novel classes, and of stickers; without what is beyond it."""
    groups = {"base": base, "novel": novel, **({"kept": kept} if kept else {})}
    found = {}
    for group, split in groups.items():
        try:
            other = predictor.with_classes(split.classes)
        except TiedToClasses:
            continue
        probabilities = other.probabilities(split.pictures)
        confidence, best = probabilities.max(1)
        right = best == split.labels
        found[group] = right.numpy(), confidence.detach().numpy()
    return found


def scores_of(found: Answers) -> dict[str, float]:
    """Accuracies of the groups, H of base and novel, calibration errors."""
    scores = {group: float(right.mean()) for group, (right, _) in found.items()}
    if "novel" in scores:
        scores["H"] = harmonic_mean(scores["base"], scores["novel"])
    for group in found.keys() - {"kept"}:
        weights = np.ones((1, len(found[group][0])))
        scores[f"{group} ECE"] = float(calibration(weights, *found[group])[0])
    return {name: round(value, 4) for name, value in sorted(scores.items())}


def calibration(weights: np.ndarray, right, confidence) -> np.ndarray:
    """Expected calibration error of resamples [R], as in :mod:`..metrics`."""
    place = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    bins = np.eye(BINS)[place]  # [N, BINS]
    gaps = weights @ (bins * (right - confidence)[:, None])
    return np.abs(gaps).sum(1) / weights.sum(1)


def packed(found: Answers, with_confidence: bool = False) -> dict:
    """Answers as JSON: bits in hexadecimal, confidences in per mille."""
    told = {}
    for group, (right, confidence) in found.items():
        told[group] = {"n": len(right), "right": np.packbits(right).tobytes().hex()}
        if with_confidence:
            told[group]["sure"] = [round(1000 * float(c)) for c in confidence]
    return told


def unpacked(told: dict) -> Answers:
    """What :func:`packed` made; confidences that were left out are 0."""
    found = {}
    for group, own in told.items():
        bits = np.frombuffer(bytes.fromhex(own["right"]), np.uint8)
        right = np.unpackbits(bits)[: own["n"]].astype(bool)
        sure = np.array(own.get("sure", [0] * own["n"])) / 1000
        found[group] = right, sure
    return found


def difference(better: dict, worse: dict, score: str) -> dict:
    """:func:`vlmtutor.verdict.resample` of two methods' packed answers."""
    arms = [unpacked(told) for told in (better, worse)]
    names = ("base", "novel") if score in ("H", "both", "ECE") else (score,)
    sizes = [len(arms[0][name][0]) for name in names]

    def value(arm: Answers, weights: np.ndarray) -> np.ndarray:
        parts = np.split(weights, np.cumsum(sizes)[:-1], axis=1)
        if score == "ECE":
            pairs = zip(parts, names, strict=True)
            return np.mean([calibration(w, *arm[name]) for w, name in pairs], 0)
        a = [w @ arm[n][0] / w.sum(1) for w, n in zip(parts, names, strict=True)]
        if score == "H":
            return 2 * a[0] * a[1] / np.maximum(a[0] + a[1], 1e-12)
        return np.mean(a, 0)

    return resample(lambda w: value(arms[0], w) - value(arms[1], w), sizes)
