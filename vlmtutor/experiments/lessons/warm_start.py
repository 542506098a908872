"""Notebook 02: does a match bind, once the two legs below it have learned?

Two legs first learn by contrast alone, as ALBEF's encoders come with what they
learned before (Li et al. 2021, arXiv 2107.07651).  From there one arm goes on so,
the other with image-text matching as well: the same pairs, the same steps.
"""

from __future__ import annotations

import copy
import functools

from ...lessons import frameworks as lesson
from ...models.frameworks import TwoLeg
from ...training import History, fit
from ..experiment import Experiment
from . import FROM_SCRATCH, rounded
from .frameworks import pairs

WARM, STEPS, BATCH = 500, 500, 64
MATCH = "with matching"


def learn(model: TwoLeg, seed: int, loss, steps: int) -> History:
    train, _ = pairs(seed)
    options = {"seed": seed, "progress": False}
    return fit(model, loss, train, steps, BATCH, lesson.LR, **options)


@functools.cache
def warm(seed: int) -> TwoLeg:
    """Two legs that have learned by contrast alone."""
    model = lesson.make(TwoLeg, pairs(seed)[0].tokenizer, seed)
    learn(model, seed, lesson.contrast, WARM)
    return model


def legs(name: str, seed: int, backbone: str) -> dict:
    """The warm model, or what an arm makes of it; both scores of a pair."""
    model, steps, seconds = copy.deepcopy(warm(seed)), 0, 0.0
    if name != "warm":
        loss = lesson.contrast
        if name == MATCH:
            loss = lesson.ContrastAndMatch(seed + 1)
        history = learn(model, seed + 1, loss, STEPS)
        steps, seconds = history.steps, round(history.seconds, 1)
    scores = {
        f"{way} {figure}": value
        for way, figures in lesson.measure(model, pairs(seed)[1]).items()
        for figure, value in figures.items()
    }
    return {"scores": rounded(scores), "steps": steps, "fit_s": seconds}


EXPERIMENT = Experiment(
    name="warm_start",
    about="two legs on from a warm start, by contrast alone or with matching",
    parts=dict.fromkeys(("warm", "contrast alone", MATCH), legs),
    backbones=FROM_SCRATCH,
)
