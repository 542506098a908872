"""The study behind the notebooks: what it searches, runs and stores."""

from __future__ import annotations

import json

import pytest
import torch
from transfer_tiny import CLASSES, clip, colours

from vlmtutor import stored
from vlmtutor.transfer import get_fit, study, tasks
from vlmtutor.transfer.pictures import Pictures
from vlmtutor.transfer.plans import PLANS, Method, Plan
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
    images, labels = colours(2)
    split = Split(Pictures(clip(), images), labels, CLASSES)
    method = Method("linear probe", classes=2)
    predictor, seconds = study.learn(method, split, 0, C=2.0)
    assert predictor.classes == CLASSES[:2] and seconds > 0
    own = get_fit("linear probe")(
        clip(), images[:4], labels[:4], CLASSES[:2], C=2.0
    )
    assert torch.equal(predictor(images), own(images))


def test_first_takes_some_of_each_class():
    images, labels = colours(3)
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
