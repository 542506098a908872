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
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from ..transfer import get_fit, tasks
from ..transfer.base import Learner
from ..transfer.few_shot import first
from ..transfer.pictures import Pictures
from ..transfer.tasks import Split, Task, make_task
from ..verdict import Check
from . import grid
from .answers import answers, difference, packed, scores_of
from .experiment import Seconds, open_backbone

PHRASECLIP = "phraseclip"
TUNING_SEED = 48  # its pictures are no run's
N_VAL = 12  # validation pictures a class
SEARCHED: dict[str, dict] = {}  # searches of this process


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
        return self._setting("steps")

    def views(self, n: int) -> int | None:
        """How many pictures it looks at, of ``n`` again and again."""
        batch = self._setting("batch_size")
        return self.steps * min(batch, n) if self.steps and batch else None

    def _setting(self, name: str) -> int | None:
        """What is fixed, else the fit's default, else that of what it calls."""
        if name in self.fixed:
            return self.fixed[name]
        fit = get_fit(self.fit)
        for function in (fit, getattr(sys.modules[fit.__module__], "fit", fit)):
            known = inspect.signature(function).parameters
            if name in known:
                return known[name].default
        return None


@dataclass(frozen=True)
class Study:
    """Methods by name; (task, domain) → numbers of shots; how to search.

    ``checks`` are those of :mod:`vlmtutor.transfer.claims`.  ``n_test`` and
    ``n_kept`` are test pictures a class, of the task and of stickers.
    """

    methods: Mapping[str, Method]
    tasks: Mapping[tuple[str, str], Sequence[int]]
    checks: Sequence[Check]
    search_shots: Sequence[int] = (1, 16)
    search_pictures: int | None = None
    n_test: int = 12
    n_kept: int = 6

    def choose(self, name: str, backbone: str) -> dict:
        """Settings of a method for each task: {"mixed, sketch": {…}, …}.

        Half of a task's base classes are learned from, the others play novel
        ones, and the score is the harmonic mean of both halves' accuracies on
        validation pictures; that of the learned half alone for methods tied
        to their classes.  The novel classes themselves are not looked at.
        """
        method = self.methods[name]
        found = self._searched(method.like or name, backbone)
        chosen = {
            task: {k: v for k, v in own.items() if k not in method.fixed}
            for task, own in found["chosen"].items()
        }
        return {**found, "chosen": chosen}

    def _searched(self, name: str, backbone: str) -> dict:
        """The search of a method: once a process, whoever takes it over."""
        key = repr((self, name, backbone))  # a worker has many copies of a study
        if key not in SEARCHED:
            SEARCHED[key] = self._search(self.methods[name], backbone)
        return SEARCHED[key]

    def _search(self, method: Method, backbone: str) -> dict:
        found: dict = {"chosen": {}, "grid": []}
        for task, domain in self.tasks:
            score = functools.partial(self._score, method, backbone, task, domain)
            own = grid.choose(method.grid, score, method.paper)
            title = f"{task}, {domain}"
            found["chosen"][title] = own["chosen"]
            found["grid"] += [{"task": title, **row} for row in own["grid"]]
        return {**found, "paper": dict(method.paper)} if method.paper else found

    def _score(self, method: Method, backbone, name, domain, **knobs) -> float:
        """How well settings do on a task's base classes, over numbers of shots."""
        task, found = pseudo(backbone, name, domain), []
        few = method.pictures or self.search_pictures
        halves = [first(task.val(N_VAL, half=h), few) for h in ("base", "novel")]
        for k in self.search_shots if method.learns else (1,):
            train = task.shots(k, TUNING_SEED, "base")
            predictor = learn(method, train, TUNING_SEED, **knobs)
            scores = scores_of(answers(predictor, *halves))
            found.append(scores.get("H", scores["base"]))
        return statistics.mean(found)

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
        chosen = chosen[f"{task_name}, {domain}"]
        with seconds("shared_s"):
            task = prepared(backbone, task_name, domain, self.n_test)
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
        found = answers(predictor, base, novel, kept=kept)
        each = (time.perf_counter() - begun) / sum(map(len, (base, novel, kept)))
        row = {
            "row": title(task_name, domain, k),
            "task": f"{task_name}, {domain}",
            "shots": k,
            "strength": task.strength,
            "chosen": chosen,
            "supervision": f"{k} pictures a class" if k else "names",
            "scores": scores_of(found),
            "steps": method.steps if method.learns else None,
            "views": method.views(len(labelled(method, train)[1])),
            "trained": predictor.parameters_trained,
            "ms": round(1000 * each, 2),
            **seconds,
            "answers": packed(found, with_confidence=not method.learns),
        }
        if len(predictor.losses):
            row["losses"] = outline(predictor.losses)
        if row["steps"]:
            start = learn(method, train, seed, **chosen, steps=0)
            found = answers(start, base, novel, kept=kept)
            row |= {"step0": scores_of(found), "step0_answers": packed(found)}
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
def prepared(backbone: str, name: str, domain: str, n_test: int = 1) -> Task:
    """A task, and its features once computed."""
    return make_task(open_backbone(backbone), name, domain, n_test=n_test, n_val=N_VAL)


@functools.cache
def pseudo(backbone: str, name: str, domain: str) -> Task:
    """The base classes of a task, to choose settings on."""
    return prepared(backbone, name, domain).within()


@functools.cache
def stickers(backbone: str, name: str, n: int, seed: int) -> Split:
    """The base classes of a task as ordinary stickers, ``n`` of each."""
    task = make_task(open_backbone(backbone), name, n_test=n)
    return task.encode((seed,), splits=("test",)).test("base", seed)


def outline(losses: Sequence[float], points: int = 10) -> list[float]:
    """A curve of losses in few numbers: the mean of each of its stretches."""
    parts = np.array_split(np.asarray(losses), min(points, len(losses)))
    return [round(float(part.mean()), 3) for part in parts]


def labelled(method: Method, train: Split) -> tuple[Pictures, Tensor, list[str]]:
    """Pictures that a method may see, labels [N] and names of their classes."""
    pictures, labels, classes = train.pictures, train.labels, train.classes
    if method.classes is not None:
        rows = (labels < method.classes).nonzero()[:, 0]
        pictures, labels = pictures[rows], labels[rows]
        classes = classes[: method.classes]
    return pictures, labels, classes


def learn(method: Method, train: Split, seed: int, **settings) -> Learner:
    """A predictor, from the labelled pictures that the method may see."""
    pictures, labels, classes = labelled(method, train)
    settings = {**method.fixed, **settings}
    fit = get_fit(method.fit)
    return fit(pictures.clip, pictures, labels, classes, seed, **settings)
