"""The longer runs of notebooks 01 to 06: in small, and as they are stored."""

from __future__ import annotations

import json

import pytest
import transfer_tiny

from vlmtutor import stored
from vlmtutor.__main__ import main
from vlmtutor.experiments import EXPERIMENTS, get_experiment, recipe
from vlmtutor.experiments.lessons import (
    alignment,
    contrastive,
    frameworks,
    generative,
    pretraining,
    scale,
    warm_start,
    why_vlms,
)
from vlmtutor.models.frameworks import OneTower, TwoLeg, TwoTower
from vlmtutor.pretrain.config import RECIPES

LESSONS = [name for name, room in EXPERIMENTS.items() if room.startswith("lessons.")]
NAMES = [name for name in LESSONS if (stored.FOLDER / f"{name}.json").exists()]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """A few scenes, two steps."""

    def of(module, **values):
        for name, value in values.items():
            monkeypatch.setattr(module, name, value)

    pretrain = {"rotation": (why_vlms.lesson.predict_rotation, 2)}
    pretrain["SimCLR"] = (why_vlms.lesson.simclr, 1)
    of(why_vlms, LABELS=(1, 2), FEW=(1,), TEST=1, PICTURES=8, PRETRAIN=pretrain)
    of(why_vlms, STEPS=2, EVERY=1, open_backbone=lambda name: transfer_tiny.clip())
    runs = {"two towers": (TwoTower, 2), "one tower": (OneTower, 1)}
    runs |= {"two legs": (TwoLeg, 1), "two towers, longer": (TwoTower, 2)}
    of(frameworks, PAIRS=40, TEST=4, RUNS=runs)
    of(contrastive, SCENES=70, STEPS=1)
    of(generative, SCENES=66, TEST=6, READ=1, WRITE=1)
    of(alignment, SCENES=140, WARM=1, STEPS=1)
    of(pretraining, SCENES=(16, 64), BATCHES=(32, 64))
    of(pretraining.lesson, STEPS=2)
    make = pretraining.lesson.make_data
    of(pretraining.lesson, make_data=lambda n=64, seed=0: make(64, 40, seed))
    of(scale, PAIRS=dict.fromkeys(scale.PAIRS, 16), STEPS=2)
    of(warm_start, WARM=1, STEPS=1)
    fit = pretraining.lesson.fit
    few = lambda *a, **k: fit(*a[:3], 2, 8, **k)  # noqa: E731
    of(pretraining.lesson, fit=few)
    for module, kept in (
        (why_vlms, "samples"),
        (frameworks, "pairs"),
        (contrastive, "data"),
        (alignment, "data"),
        (alignment, "warm_start"),
        (pretraining, "data"),
        (pretraining, "common"),
        (scale, "data"),
        (warm_start, "warm"),
    ):
        getattr(module, kept).cache_clear()


def shape(run: dict) -> set:
    """What fields and figures the rows of a part have."""
    head = {"part", "backbone", "seed", "code", "date", "machine", "seconds"}
    head |= {"model", "carried over", "verified"}
    rows = run.get("rows", [run])
    assert len({(r.get("row"), r.get("encoder")) for r in rows}) == len(rows)
    return {(frozenset(r) - head, frozenset(r["scores"])) for r in rows}


@pytest.mark.parametrize("name", NAMES)
def test_a_part_finds_what_is_stored_of_it(name):
    experiment = get_experiment(name)
    kept = {run["part"]: run for run in stored.load(name)["parts"]}
    assert experiment.name == name
    for part, function in experiment.parts.items():
        found = function(part, 1, "stickerclip")
        json.dumps(found, allow_nan=False)
        assert shape(found) == shape(kept[part]), part
        for row in found.get("rows", [found]):
            shares = [v for k, v in row["scores"].items() if k != "match loss"]
            assert all(0 <= share <= 1 for share in shares)


@pytest.mark.parametrize("name", ["04_generative", "scale", "warm_start"])
def test_parts_differ_in_what_they_learn_from(name):
    parts = get_experiment(name).parts
    found = {part: run(part, 1, "stickerclip") for part, run in parts.items()}
    json.dumps(found, allow_nan=False)
    names = {frozenset(run["scores"]) for run in found.values()}
    assert len(names) == 1
    again = {part: run(part, 1, "stickerclip")["scores"] for part, run in parts.items()}
    assert again == {part: run["scores"] for part, run in found.items()}


def test_the_run_that_parts_share_is_the_same_in_each():
    parts = get_experiment("06_pretraining").parts
    rows = {part: run(part, 3, "stickerclip")["rows"] for part, run in parts.items()}
    common = rows["data"][-1], rows["batch"][-1], rows["noise"][0]
    common = [row["scores"] for row in (*common, rows["objectives"][0])]
    assert common[1:] == common[:-1]


@pytest.mark.parametrize("name", NAMES)
def test_the_command_shows_what_is_stored(name, capsys):
    assert main(["experiment", name, "--stored", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    runs = stored.runs(name)
    for row in found["rows"]:
        key = row["method"], row["row"], row["backbone"]
        names = "part", "row", "backbone"
        own = [run for run in runs if tuple(run[n] for n in names) == key]
        for score, values in row["by_seed"].items():
            assert values == [run[score] for run in own]
    assert len(runs) == sum(len(row["seeds"]) for row in found["rows"])


def test_a_change_of_the_recipe_is_one_and_costs_as_many_scenes():
    base = vars(recipe.config("as it is", 3))
    for name, changes in recipe.CHANGES.items():
        knobs = vars(recipe.config(name, 3))
        assert {k: v for k, v in knobs.items() if v != base[k]} == changes, name
        assert knobs["steps"] * knobs["batch_size"] == recipe.SCENES, name
    assert len(recipe.CHANGES) > 8 and base["seed"] == 3
    told = ("_share", "_growth", "ground", "corpus", "bank_weight", "teacher_weight")
    for knob, value in vars(RECIPES["stickerclip"]).items():
        if knob.endswith(told) and knob != "final_share":
            assert base[knob] == value, knob


def test_what_notebook_02_says_of_a_warm_start():
    rows = stored.runs("warm_start")
    mean = {
        name: stored.means(rows, f"{name} R@1", by="part")
        for name in ("matching", "embeddings")
    }
    assert round(mean["matching"]["warm"], 2) == 0.01
    assert round(mean["matching"]["with matching"], 3) == 0.265
    assert round(mean["embeddings"]["with matching"], 2) == 0.22
    colors = [r["matching colours"] for r in rows if r["part"] == "with matching"]
    assert len(colors) == 8 and round(sum(colors) / 8, 2) == 0.59
    assert (round(min(colors), 2), round(max(colors), 2)) == (0.49, 0.72)
    assert stored.origin("warm_start") == "stored 2026-11-26, 8 seeds, Linux x86_64"
