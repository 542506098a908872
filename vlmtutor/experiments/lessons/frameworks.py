"""Notebook 02: two towers, two legs and one tower, trained for longer."""

from __future__ import annotations

import functools

from ...lessons import frameworks as lesson
from ...models.blocks import count_parameters
from ...models.frameworks import OneTower, TwoLeg, TwoTower
from ...pairs import Pairs
from ..experiment import Experiment
from . import FROM_SCRATCH, rounded

# the second has about the time that one tower takes
RUNS = {
    "two towers": (TwoTower, 240),
    "two towers, longer": (TwoTower, 500),
    "two legs": (TwoLeg, 240),
    "one tower": (OneTower, 240),
}
PAIRS, TEST = 6000, 400


@functools.cache
def pairs(seed: int) -> tuple[Pairs, Pairs]:
    """Training pairs of a seed, and the test."""
    train = lesson.training_pairs(PAIRS, seed)
    return train, lesson.test_pairs(TEST, train.tokenizer)


def framework(name: str, seed: int, backbone: str) -> dict:
    kind, steps = RUNS[name]
    train, test = pairs(seed)
    model = lesson.make(kind, train.tokenizer, seed)
    history = lesson.train(model, train, steps, seed=seed, progress=False)
    scores = {
        f"{way} {figure}": value
        for way, figures in lesson.measure(model, test).items()
        for figure, value in figures.items()
    }
    return {
        "scores": rounded(scores),
        "steps": steps,
        "trained": count_parameters(model),
        "fit_s": round(history.seconds, 1),
    }


EXPERIMENT = Experiment(
    name="02_frameworks",
    about="two towers, two legs and one tower on the same pairs",
    parts=dict.fromkeys(RUNS, framework),
    seeds=3,
    backbones=FROM_SCRATCH,
)
