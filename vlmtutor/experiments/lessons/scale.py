"""Notebook 06: do 16 times the pairs help, where training is long enough to tell?

The steps are the same: few pairs are seen often, many seldom.  After 200 steps
both know about the same; these are 3,000.
"""

from __future__ import annotations

import functools

import torch

from ...lessons import pretraining as lesson
from ..experiment import Experiment
from . import FROM_SCRATCH, rounded

PAIRS = {"1,000 pairs": 1000, "4,000 pairs": 4000, "16,000 pairs": 16_000}
STEPS = 3000


@functools.cache
def data(seed: int) -> lesson.Data:
    return lesson.make_data(max(PAIRS.values()), seed=seed)


def pairs(name: str, seed: int, backbone: str) -> dict:
    """CLIP's loss alone on the first pairs of a seed."""
    rows = lesson.Part(data(seed).train, torch.arange(PAIRS[name]))
    model, history = lesson.train(data(seed), rows, seed=seed, steps=STEPS)
    return {
        "scores": rounded(lesson.score(model, data(seed))),
        "pairs": PAIRS[name],
        "steps": STEPS,
        "fit_s": round(history.seconds, 1),
    }


EXPERIMENT = Experiment(
    name="scale",
    about="1,000, 4,000 and 16,000 pairs, the same 3,000 steps",
    parts=dict.fromkeys(PAIRS, pairs),
    seeds=3,
    backbones=FROM_SCRATCH,
)
