"""Notebook 03: five contrastive objectives, about a minute of one core each."""

from __future__ import annotations

import functools

from ...lessons import contrastive as lesson
from ..experiment import Experiment
from . import FROM_SCRATCH, rounded

SCENES, STEPS = 8192, 500


@functools.cache
def data(seed: int) -> lesson.Data:
    return lesson.make_data(SCENES, seed=seed)


def objective(name: str, seed: int, backbone: str) -> dict:
    """What an objective buys; "untrained" is CLIP's model before it learns."""
    loss, steps = ("CLIP", 0) if name == "untrained" else (name, STEPS)
    model, history = lesson.train(loss, data(seed), steps, seed)
    scores = lesson.score(model, data(seed), by_token=name == "FILIP")
    seconds = round(history.seconds, 1)
    return {"scores": rounded(scores), "steps": steps, "fit_s": seconds}


EXPERIMENT = Experiment(
    name="03_contrastive",
    about="five contrastive objectives on one budget",
    parts=dict.fromkeys(("untrained", *lesson.OBJECTIVES), objective),
    seeds=1,
    backbones=FROM_SCRATCH,
)
