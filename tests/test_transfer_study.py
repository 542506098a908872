"""The study behind the notebooks: what it searches, runs and stores."""

from __future__ import annotations

import json

import pytest
import torch
from transfer_tiny import CLASSES, clip, colors

from vlmtutor import stored
from vlmtutor.transfer import get_fit, study, tasks
from vlmtutor.transfer.pictures import Pictures
from vlmtutor.transfer.plans import PLANS, Claim, Method, Plan
from vlmtutor.transfer.tasks import Split

PLAN = Plan(
    methods={
        "zero-shot": Method("zero-shot", learns=False),
        "one view": Method("hand prompt", pictures=1, learns=False),
        "draws": Method("TPT", pictures=1, learns=False, draws=True),
        "probe": Method("linear probe", grid={"C": (1, 10)}),
        "CoOp": Method("CoOp", {"context": None}, {"steps": (1, 2)}),
        "two classes": Method("CoOp", classes=2, like="CoOp"),
    },
    tasks=(("cats", "night"), ("cats", "noisy")),
    shots={("cats", "noisy"): (1,)},
    search_domains=("sketch",),
    n_test=2,
)


def test_learn_can_be_given_labels_of_some_classes_only():
    images, labels = colors(2)
    split = Split(Pictures(clip(), images), labels, CLASSES)
    method = Method("linear probe", classes=2)
    predictor, seconds = study.learn(method, split, 0, C=2.0)
    assert predictor.classes == CLASSES[:2] and seconds > 0
    own = get_fit("linear probe")(clip(), images[:4], labels[:4], CLASSES[:2], C=2.0)
    assert torch.equal(predictor(images), own(images))


def test_first_takes_some_of_each_class():
    images, labels = colors(3)
    split = Split(Pictures(clip(), images), labels, ["a", "b", "c"])
    few = study.first(split, 2)
    assert few.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert few.pictures.images == [images[i] for i in (0, 1, 3, 4, 6, 7)]
    later = study.first(split, 1, skip=2)
    assert later.pictures.images == [images[i] for i in (2, 5, 8)]
    assert study.first(split, None) is split


@pytest.fixture(scope="module")
def notes():
    drawn = []
    draw = tasks.Task._draw

    def noted(task, split, seed):
        drawn.append((tuple(task.classes), split, seed))
        return draw(task, split, seed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks.Task, "_draw", noted)
        patch.setattr(study, "SEARCH_SHOTS", (1,))
        found = study.run(
            clip(), PLAN, seeds=(0, 1), shots=(1, 2), say=lambda text: None
        )
    return found, drawn


def test_search_sees_neither_test_pictures_nor_test_classes(notes):
    found, drawn = notes
    cats = tuple(tasks.GROUPS["cats"])
    others = {what[1:] for what in drawn if what[0] != cats}
    assert {split for split, _ in others} == {"train", "val"}
    assert ("train", study.SEARCH_SEED) in others
    own = {what[1:] for what in drawn if what[0] == cats}
    assert ("val", 0) not in own
    assert own >= {("train", 0), ("train", 1), ("test", 0)}
    assert study.SEARCH_SEED not in study.SEEDS
    assert [row["C"] for row in found["search"]["probe"]] == [1, 10]
    best = max(found["search"]["CoOp"], key=lambda row: row["score"])
    assert found["settings"]["CoOp"] == {"steps": best["steps"]}


def test_known_strengths_are_kept(monkeypatch):
    def refuse(*args):
        raise AssertionError("calibrated again")

    monkeypatch.setattr(study, "calibrate", refuse)
    plan = Plan(
        {"zero-shot": Method("zero-shot", learns=False)},
        (("cats", "night"),),
        (),
        n_test=1,
    )
    known = {"cats, night": {"strength": 0.3, "calibrated": 0.4}}
    found = study.run(clip(), plan, seeds=(0,), shots=(1,), say=str, known=known)
    assert found["tasks"]["cats, night"]["strength"] == 0.3
    assert found["tasks"]["cats, night"]["calibrated"] == 0.4


def test_tables_have_a_row_for_each_run(notes):
    found, _ = notes
    assert list(found["tables"]) == ["cats, night", "cats, noisy"]
    assert found["tasks"]["cats, noisy"]["shots"] == [1]
    limited = found["tables"]["cats, noisy"]["CoOp"]
    assert [(row["shots"], row["seed"]) for row in limited] == [(1, 0), (1, 1)]
    table = found["tables"]["cats, night"]
    assert list(table) == list(PLAN.methods)
    runs = [(row["shots"], row["seed"]) for row in table["CoOp"]]
    assert runs == [(1, 0), (1, 1), (2, 0), (2, 1)]
    assert len(table["zero-shot"]) == len(table["one view"]) == 1
    drawn = [(row["shots"], row["seed"]) for row in table["draws"]]
    assert drawn == [(0, 0), (0, 1)]
    assert "novel" not in table["probe"][0]  # tied to its classes
    for row in table["CoOp"] + table["zero-shot"]:
        assert 0 <= row["base"] <= 1 and 0 <= row["novel"] <= 1
        assert 0 <= row["base ECE"] <= 1
        assert row["ms a picture"] > 0
    assert found["parameters"]["zero-shot"] == 0
    assert found["parameters"]["CoOp"] == 4 * 24
    settings = found["settings"]
    assert settings["two classes"] == settings["CoOp"]
    assert json.loads(json.dumps(found)) == found


def test_merge_takes_over_new_methods_and_keeps_the_others():
    old = {
        "model": "m",
        "seeds": [0],
        "shots": [1],
        "tasks": {"t": 1},
        "date": "then",
        "minutes": 10.0,
        "search": {"a": [1]},
        "settings": {"a": {}, "b": {}},
        "parameters": {"a": 1, "b": 2},
        "tables": {"t": {"a": [1], "b": [2]}},
    }
    new = {
        **old,
        "date": "now",
        "minutes": 2.2,
        "search": {"b": [3]},
        "settings": {"b": {"lr": 1}},
        "parameters": {"b": 3},
        "tables": {"t": {"b": [4]}},
    }
    found = study.merge(old, new)
    assert found["date"] == "now" and found["minutes"] == 12
    assert found["search"] == {"a": [1], "b": [3]}
    assert found["settings"] == {"a": {}, "b": {"lr": 1}}
    assert found["parameters"] == {"a": 1, "b": 3}
    assert found["tables"] == {"t": {"a": [1], "b": [4]}}
    assert old["tables"] == {"t": {"a": [1], "b": [2]}}
    with pytest.raises(ValueError, match="another tasks"):
        study.merge(old, {**new, "tasks": {"t": 2}})


HALVES = {"base": 0.5, "novel": 0.4, "base ECE": 0.1, "novel ECE": 0.3}


def run(shots, seed, **changed):
    return {"shots": shots, "seed": seed, **HALVES, **changed}


def by_hand(*learned):
    """Notes of a task with shots 1 and 2 and of one with shot 2 only."""
    both = {"once": [run(0, 0)], "learns": list(learned)}
    other = {
        "once": [run(0, 0, base=0.7)],
        "learns": [run(2, s, base=1.0) for s in (0, 1, 2)],
    }
    return {
        "seeds": [0, 1, 2],
        "tasks": {"a": {"shots": [1, 2]}, "b": {"shots": [2]}},
        "tables": {"a": both, "b": other},
    }


def test_figures_are_means_over_the_tasks_that_have_the_shots():
    runs = [
        run(k, seed, base=k / 10 + seed / 100) for k in (1, 2) for seed in (0, 1, 2)
    ]
    notes = by_hand(*runs)
    found = study.figures(notes, "learns", "base", 1)
    assert found == pytest.approx([0.1, 0.11, 0.12])
    found = study.figures(notes, "learns", "base", 2)
    assert found == pytest.approx([0.6, 0.605, 0.61])
    # what ran once counts for every seed, on the same tasks
    assert study.figures(notes, "once", "base", 1) == [0.5] * 3
    found = study.figures(notes, "once", "base", 2)
    assert found == pytest.approx([0.6] * 3)
    with pytest.raises(ValueError, match="no runs of learns with 4"):
        study.figures(notes, "learns", "base", 4)


def test_measures_of_a_row():
    assert study.measure(HALVES, "novel") == 0.4
    assert study.measure(HALVES, "H") == pytest.approx(0.4444, abs=1e-4)
    assert study.measure(HALVES, "both") == pytest.approx(0.45)
    assert study.measure(HALVES, "ECE") == pytest.approx(0.2)


@pytest.mark.parametrize(
    "gains, expected",
    [
        ((0.2, 0.21, 0.19), "reproduced"),
        ((-0.2, -0.21, -0.19), "not reproduced"),
        ((0.2, -0.1, 0.0), "inconclusive"),
    ],
)
def test_judge(gains, expected):
    runs = [run(1, seed, base=0.5 + g) for seed, g in enumerate(gains)]
    claim = Claim("it helps", "learns", "once", "base", 1)
    found, differences = study.judge(by_hand(*runs), claim)
    assert found == expected
    assert differences == pytest.approx(list(gains))


@pytest.mark.parametrize("name", PLANS)
def test_claims_name_methods_and_shots_that_are_run(name):
    plan = PLANS[name]
    for claim in plan.claims:
        assert {claim.better, claim.than} <= set(plan.methods)
        for method in (claim.better, claim.than):
            assert plan.methods[method].learns <= bool(claim.shots)


@pytest.mark.parametrize("name", PLANS)
def test_stored_study_is_complete(name):
    path = stored.FOLDER / f"{name}.json"
    if not path.exists():
        pytest.skip("the study has not been run")
    notes = json.loads(path.read_text(encoding="utf-8"))
    plan = PLANS[name]
    assert notes["seeds"] == list(study.SEEDS)
    assert set(notes["settings"]) == set(plan.methods)
    pairs = {(t["name"], t["domain"]): t for t in notes["tasks"].values()}
    assert set(pairs) == set(plan.tasks)
    for pair, title in zip(pairs, notes["tasks"], strict=True):
        shots = plan.shots.get(pair, notes["shots"])
        assert list(shots) == pairs[pair]["shots"]
        assert 0.35 <= pairs[pair]["zero_shot"] <= 0.65
        table = notes["tables"][title]
        assert list(table) == list(plan.methods)
        for method, rows in table.items():
            how = plan.methods[method]
            runs = len(notes["seeds"]) if how.learns or how.draws else 1
            assert len(rows) == runs * (len(shots) if how.learns else 1)
            assert all(row["seconds"] <= 15 for row in rows)
