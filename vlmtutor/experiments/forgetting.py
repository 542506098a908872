"""When does a learned prompt forget?  Kinds of shift, and numbers of steps.

Names at home, pictures in a foreign domain: what is wrong is the same for all
classes, and a common context can mend it.  Pictures at home, each class called
by a meme line: what is wrong is another thing for each class.  Vehicles are
there under both kinds, with the same classes.  In both the learned context is
tried on names that it was not tuned with, after few steps and after many: 2,100
are the authors' 200 rounds through the largest task's pictures, and up to 380
through the others'.

Where PhraseCLIP's zero-shot lies below :data:`GATE` on either half of a task's
validation pictures, StickerCLIP reads them; where its own does too, nothing is
learned, as there is little to forget.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..transfer import get_fit
from ..transfer.tasks import Task, make_task, zero_shot_halves
from ..verdict import Check
from . import grid
from .answers import answers, difference, packed, scores_of
from .experiment import STICKERCLIP, Experiment, Seconds, open_backbone
from .transfer import N_VAL, PHRASECLIP, TUNING_SEED, outline

DOMAIN, CLASS = "domain shift", "class shift"
# (task, domain) of the pictures; at home each class is called by a meme line
TASKS = {
    "mixed, sketch": DOMAIN,
    "vehicles, night": DOMAIN,
    "faces, pixel": DOMAIN,
    "vehicles, lines": CLASS,
}
GATE = 0.3
CLOSED = "zero-shot knows too few of these names for any to be forgotten"
STEPS = (100, 400, 2100)
LAST = STEPS[-1]
SEARCH_STEPS, SHOTS, N_TEST = 400, 16, 20


@dataclass(frozen=True)
class Arm:
    """A method at several numbers of steps; its rate is that of ``like``."""

    fit: str
    fixed: Mapping = field(default_factory=dict)
    rates: tuple[float, ...] = (1e-3, 3e-3, 1e-2, 3e-2)
    like: str | None = None
    steps: tuple[int, ...] = STEPS


ARMS = {
    "CoOp": Arm("CoOp"),
    "KgCoOp, weight 8": Arm("KgCoOp", {"weight": 8}, like="CoOp"),
    "KgCoOp, weight 1": Arm("KgCoOp", {"weight": 1}, like="CoOp"),
    "ProGrad": Arm("ProGrad", rates=(0.1, 0.3, 1.0, 3.0)),  # of plain descent
    # which is this: the same steps without the projection
    "plain descent": Arm("ProGrad", {"strength": 0.0}, like="ProGrad", steps=(LAST,)),
    # as many pictures a step as CoOp, each with prompts of its own
    "CoCoOp": Arm("CoCoOp", {"batch_size": 32}, like="CoOp", steps=(100, 400)),
}
# The ensemble of templates, and the one sentence that contexts start from.
ZERO_SHOT, HAND = FREE = ("zero-shot", "hand prompt")


def _check(sentence: str, better: str, worse: str, score: str = "novel", **options):
    arms = [(name, LAST if name in ARMS else 0) for name in (better, worse)]
    return Check(sentence, *arms, score, **options)


CHECKS = (
    # of its own start: the ensemble may be ahead of that before any step
    _check("CoOp falls below zero-shot on new names", HAND, "CoOp"),
    Check(
        "CoOp loses more new names in 2,100 steps than in 100",
        ("CoOp", STEPS[0]),
        ("CoOp", LAST),
        "novel",
    ),
    _check("KgCoOp's weight 8 holds new names better", "KgCoOp, weight 8", "CoOp"),
    _check("KgCoOp's weight 8 balances better", "KgCoOp, weight 8", "CoOp", "H"),
    _check("KgCoOp's weight 1 holds new names better", "KgCoOp, weight 1", "CoOp"),
    _check("ProGrad's projection holds new names better", "ProGrad", "plain descent"),
    # who learns less, forgets less: so both halves count
    _check("ProGrad's projection balances better", "ProGrad", "plain descent", "H"),
)


@functools.cache
def task_of(backbone: str, title: str) -> Task:
    name, where = title.split(", ")
    lines = where == "lines"
    where = "sticker" if lines else where
    clip = open_backbone(backbone)
    return make_task(clip, name, where, lines, n_test=N_TEST, n_val=N_VAL)


@functools.cache
def gate(backbone: str, title: str) -> float:
    """How far the lower half's zero-shot lies above :data:`GATE`."""
    return round(min(zero_shot_halves(task_of(backbone, title)).values()) - GATE, 4)


@functools.cache
def reader(backbone: str, title: str) -> str | None:
    """The model that reads a task's pictures; None where none knows the names."""
    readers = (backbone, STICKERCLIP)
    return next((name for name in readers if gate(name, title) >= 0), None)


def choose(name: str, backbone: str) -> dict:
    """A rate for each task, by validation pictures of the base classes."""
    if name not in ARMS:
        return {"chosen": {}, "grid": []}
    return rates(ARMS[name].like or name, backbone)


@functools.cache  # arms that differ in their leash alone share it
def rates(name: str, backbone: str) -> dict:
    """The grid of an arm's rates, and the best for each task.

    By what was learned alone: a rate that is kind to new names would hide
    what is asked.
    """
    arm, found = ARMS[name], {"chosen": {}, "grid": []}
    for title in filter(functools.partial(reader, backbone), TASKS):
        task = task_of(reader(backbone, title), title)
        train, val = task.shots(SHOTS, TUNING_SEED, "base"), task.val(N_VAL, 0, "base")

        def score(lr: float, train=train, val=val) -> float:
            predictor = learn(arm, train, TUNING_SEED, SEARCH_STEPS, lr)
            return scores_of(answers(predictor, val))["base"]

        own = grid.choose({"lr": arm.rates}, score)
        found["chosen"][title] = own["chosen"]
        found["grid"] += [{"task": title, **row} for row in own["grid"]]
    return found


def learn(arm: Arm, train, seed: int, steps: int, lr: float):
    data = train.pictures.clip, train.pictures, train.labels, train.classes, seed
    return get_fit(arm.fit)(*data, **arm.fixed, steps=steps, lr=lr)


def measure(name: str, seed: int, backbone: str, chosen: dict) -> dict:
    """A row for each task and number of steps."""
    rows = []
    for title in TASKS:
        reads = reader(backbone, title)
        if name in ARMS and reads is None:
            continue
        label = f"{title}, gate closed" if reads is None else title
        reads = reads or backbone
        told = {
            "task": title,
            "label": label if reads == backbone else f"{title}, read by {reads}",
            "read_by": reads,
            "kind": TASKS[title],
            "gate": gate(reads, title),
        }
        task = task_of(reads, title)
        halves = [task.test(half, seed) for half in ("base", "novel")]
        if name in FREE:
            predictor = get_fit(name)(task.clip, None, None, halves[0].classes)
            rows.append({**told, **_row(told["label"], 0, answers(predictor, *halves))})
            continue
        train, lr = task.shots(SHOTS, seed, "base"), chosen[title]["lr"]
        start = answers(learn(ARMS[name], train, seed, 0, lr), *halves)
        for steps in ARMS[name].steps:
            seconds = Seconds()
            with seconds("fit_s"):
                predictor = learn(ARMS[name], train, seed, steps, lr)
            row = _row(told["label"], steps, answers(predictor, *halves))
            row |= {
                "step0": scores_of(start),
                "trained": predictor.parameters_trained,
                "views": steps * min(32, len(train)),
                "chosen": chosen[title],
                "losses": outline(predictor.losses),
                **seconds,
            }
            rows.append({**told, **row})
    return {"rows": rows}


def _row(label: str, steps: int, found: dict) -> dict:
    return {
        "row": f"{label}, {steps:,} steps" if steps else label,
        "steps": steps,
        "supervision": f"{SHOTS} pictures a class" if steps else "names",
        "scores": scores_of(found),
        "answers": packed(found),
    }


def compare(found: dict[str, dict]) -> list[dict]:
    """The checks of one seed, task by task."""
    runs = {
        (method, row["steps"], row["task"]): row
        for method, part in found.items()
        for row in part["rows"]
    }
    measured = []
    for title in TASKS:
        for check in CHECKS:
            arms = [runs.get((*arm, title)) for arm in (check.better, check.worse)]
            if None in arms:
                continue
            told = [arm["answers"] for arm in arms]
            owner = check.better if check.better[0] in ARMS else check.worse
            measured.append(
                {
                    **check.measured(difference(*told, check.score)),
                    "name": f"{check.sentence} ({arms[0]['label']})",
                    "method": owner[0],
                    "row": runs[(*owner, title)]["row"],
                }
            )
    return measured


EXPERIMENT = Experiment(
    name="forgetting",
    about="when a learned prompt forgets: kinds of shift, numbers of steps",
    parts=dict.fromkeys((*FREE, *ARMS), measure),
    seeds=10,
    backbones=(PHRASECLIP,),
    fewer={"CoCoOp": 3},
    by_seed=True,
    choose=choose,
    compare=compare,
    closed=CLOSED,
    code=lambda name: [
        get_fit(ARMS[name].fit if name in ARMS else name).__module__,
        "vlmtutor.transfer.tasks",
    ],
)
