"""Notebook 05: matching and grounding, each after a warm start by contrast."""

from __future__ import annotations

import copy
import functools
import statistics

from ...lessons import grounding, matching
from ...models.frameworks import TwoLeg
from ...pairs import Pairs
from ...training import History, evaluating
from ..experiment import Experiment
from . import FROM_SCRATCH, rounded

SCENES, WARM, STEPS = 8192, 150, 200
EQUAL = 1.6  # steps of contrast take as long as one of matching
ENCODERS = {"grounding, CNN": "cnn", "grounding, ViT": "vit"}


@functools.cache
def data(seed: int) -> matching.Data:
    return matching.make_data(SCENES, seed=seed)


@functools.cache
def warm_start(seed: int, encoder: str) -> tuple[TwoLeg, History]:
    """A model that has learned by contrast alone."""
    model = matching.new_model(data(seed), seed, encoder)
    return model, matching.warm_up(model, data(seed), WARM, seed)


def row(name: str, table: str, scores: dict, history: History, **more) -> dict:
    fit = {"steps": history.steps, "fit_s": round(history.seconds, 1)}
    return {"row": name, "table": table, "scores": rounded(scores), **fit, **more}


def pointing_row(name: str, encoder: str, model, history, heat, test: Pairs) -> dict:
    """Where the nouns of the test captions point."""
    with evaluating(model):
        scores = grounding.score_grounding(heat(model, test), test)
    return row(name, "grounding", scores, history, encoder=encoder)


def ground(name: str, seed: int, backbone: str) -> dict:
    """Untrained, by contrast, and on from there by captions or boxes."""
    encoder, own = ENCODERS[name], data(seed)
    warm, history = warm_start(seed, encoder)
    by_name = grounding.name_heat
    models = {
        "untrained": (matching.new_model(own, seed, encoder), History(), by_name),
        "contrast": (warm, history, by_name),
    }
    for way, heat in (("captions", by_name), ("boxes", grounding.word_heat)):
        model, boxes = copy.deepcopy(warm), way == "boxes"
        history = grounding.train_grounding(model, own, STEPS, boxes, seed + 1)
        models[way] = model, history, heat
    rows = [pointing_row(way, encoder, *of, own.test) for way, of in models.items()]
    return {"rows": rows}


def match(name: str, seed: int, backbone: str) -> dict:
    """On by contrast alone, or with matching; and where the fusion attends."""
    (warm, _), own = warm_start(seed, "cnn"), data(seed)
    rows, attention, heat = [], [], grounding.attention_heat
    for way, hard in {**matching.NEGATIVES, "contrast, equal time": None}.items():
        model, more = copy.deepcopy(warm), {}
        steps = round(EQUAL * STEPS) if "time" in way else STEPS
        history = matching.train_matching(model, own, steps, hard, seed + 1)
        scores = matching.score_matching(model, own, hard is not None)
        if hard is not None:
            more["match loss"] = round(statistics.mean(history.terms["match"][-20:]), 3)
            title = f"attention, {way}"
            attention.append(pointing_row(title, "cnn", model, history, heat, own.test))
        rows.append(row(way, "matching", scores, history, **more))
    return {"rows": rows + attention}


EXPERIMENT = Experiment(
    name="05_alignment",
    about="matching with random and hard negatives; words that find regions",
    parts={"grounding, CNN": ground, "matching": match, "grounding, ViT": ground},
    seeds=3,
    backbones=FROM_SCRATCH,
)
