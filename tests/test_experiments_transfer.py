"""The experiments on transfer, at tiny sizes."""

from __future__ import annotations

import importlib
import json
import types
from dataclasses import replace

import numpy as np
import pytest
import torch
from transfer_tiny import CLASSES, clip, colors

from vlmtutor.experiments import (
    adapters,
    forgetting,
    get_experiment,
    scenes,
    transfer,
    visual,
)
from vlmtutor.experiments.answers import difference, packed, scores_of, unpacked
from vlmtutor.experiments.transfer import Method, Study
from vlmtutor.metrics import expected_calibration_error, harmonic_mean
from vlmtutor.transfer import get_fit, tasks
from vlmtutor.transfer.pictures import Pictures
from vlmtutor.transfer.tasks import Split
from vlmtutor.verdict import Check

NAMES = {"prompts": "08", "visual": "09", "adapters": "10_"}
TINY = Study(
    methods={
        "zero-shot": Method("zero-shot", learns=False),
        "one view": Method("hand prompt", pictures=1, learns=False),
        "probe": Method("linear probe", grid={"C": (1, 10)}),
        "CoOp": Method("CoOp", {"context": None}, {"steps": (1, 2)}),
        "two classes": Method("CoOp", classes=2, like="CoOp"),
        "adapter": Method("CLIP-Adapter", {"steps": 2, "ratio": 0.2}),
    },
    tasks={("cats", "night"): (1, 2), ("cats", "noisy"): (1,)},
    checks=(
        Check("it helps", ("adapter", 1), ("zero-shot", 0), "base"),
        Check("it balances", ("adapter", 1), ("zero-shot", 0), "H"),
    ),
    search_shots=(1,),
    search_pictures=1,
    n_test=2,
    n_kept=1,
)


NOTHING = {"cats, night": {}, "cats, noisy": {}}  # was chosen


@pytest.fixture
def tiny(monkeypatch):
    """Experiments with the tiny CLIP; what they draw is noted."""
    drawn, draw = [], tasks.Task.draw

    def noted(task, split, seed):
        drawn.append((tuple(task.classes), split, seed))
        return draw(task, split, seed)

    monkeypatch.setattr(tasks.Task, "draw", noted)
    for module in (transfer, scenes, visual, forgetting):
        monkeypatch.setattr(module, "open_backbone", lambda name: clip())
    caches = (transfer.prepared, transfer.pseudo, transfer.stickers)
    caches += (scenes.scenes_of, forgetting.task_of, forgetting.gate, forgetting.rates)
    for cache in caches:
        cache.cache_clear()
    yield drawn
    for cache in caches:
        cache.cache_clear()


def test_a_search_sees_neither_test_pictures_nor_test_classes(tiny):
    found = TINY.choose("probe", "tiny")
    assert [row["C"] for row in found["grid"]] == [1, 10, 1, 10]
    for task in NOTHING:  # each for itself
        own = [row for row in found["grid"] if row["task"] == task]
        best = max(own, key=lambda row: row["score"])
        assert found["chosen"][task] == {"C": best["C"]}
    base = tuple(tasks.GROUPS["cats"][::2])
    assert {classes for classes, *_ in tiny} == {base}
    assert {what[1:] for what in tiny} == {
        ("val", 0),
        ("train", transfer.TUNING_SEED),
    }


def test_settings_may_be_those_of_another_method(tiny):
    found = TINY.choose("CoOp", "tiny")
    assert TINY.choose("two classes", "tiny") == found
    assert [row["steps"] for row in found["grid"]] == [1, 2, 1, 2]


def test_without_a_grid_nothing_is_searched(tiny):
    assert TINY.choose("zero-shot", "tiny") == {"chosen": NOTHING, "grid": []}
    assert not tiny


def test_a_part_has_a_row_for_each_task_and_number_of_shots(tiny):
    found = TINY.measure("adapter", 1, "tiny", NOTHING)
    titles = [row["row"] for row in found["rows"]]
    assert titles == ["cats, night, 1 shot", "cats, night, 2 shots"] + [
        "cats, noisy, 1 shot"
    ]
    for row in found["rows"]:
        assert {"base", "novel", "kept", "H", "base ECE"} <= set(row["scores"])
        assert row["steps"] == 2 and row["trained"] > 0 and row["ms"] > 0
        # before the first step an adapter that is mixed in already answers
        assert set(row["step0"]) == set(row["scores"])
        assert row["fit_s"] >= 0 and row["shared_s"] >= 0
    assert json.loads(json.dumps(found)) == found
    cats = tuple(tasks.GROUPS["cats"])
    own = {what[1:] for what in tiny if what[0] == cats}
    assert own >= {("train", 1), ("test", 1)} and ("val", 0) not in own


def test_methods_that_learn_nothing_have_one_row_a_task(tiny):
    rows = TINY.measure("one view", 0, "tiny", NOTHING)["rows"]
    assert [row["shots"] for row in rows] == [0, 0]
    assert rows[0]["steps"] is None and "step0" not in rows[0]
    assert rows[0]["answers"]["base"]["n"] == 5  # one picture of each class
    assert len(rows[0]["answers"]["novel"]["sure"]) == 5


def test_methods_tied_to_their_classes_have_no_novel_score(tiny):
    rows = TINY.measure("probe", 0, "tiny", dict.fromkeys(NOTHING, {"C": 1}))["rows"]
    assert {"novel", "H", "novel ECE"}.isdisjoint(rows[0]["scores"])


def test_step_0_of_prompts_is_where_they_start(tiny):
    study = replace(TINY, methods={"CoOp": Method("CoOp", {"steps": 1})})
    (row, *_) = study.measure("CoOp", 0, "tiny", NOTHING)["rows"]
    study = replace(TINY, methods={"hand": Method("hand prompt", learns=False)})
    (hand, *_) = study.measure("hand", 0, "tiny", NOTHING)["rows"]
    assert row["step0"]["base"] == hand["scores"]["base"]


def test_learn_can_be_given_labels_of_some_classes_only():
    images, labels = colors(2)
    split = Split(Pictures(clip(), images), labels, CLASSES)
    predictor = transfer.learn(Method("linear probe", classes=2), split, 0, C=2.0)
    assert predictor.classes == CLASSES[:2]
    own = get_fit("linear probe")(clip(), images[:4], labels[:4], CLASSES[:2], C=2.0)
    assert torch.equal(predictor(images), own(images))


def test_checks_of_a_seed_task_by_task(tiny):
    found = {
        name: TINY.measure(name, 0, "tiny", NOTHING)
        for name in ("zero-shot", "adapter")
    }
    checks = TINY.compare(found)
    assert [check["name"] for check in checks] == [
        "it helps (cats, night)",
        "it helps (cats, noisy)",
        "it balances (cats, night)",
        "it balances (cats, noisy)",
    ]
    a, b = (found[n]["rows"][0]["scores"] for n in ("adapter", "zero-shot"))
    assert checks[0]["value"] == pytest.approx(a["base"] - b["base"], abs=1e-4)
    assert checks[2]["value"] == pytest.approx(a["H"] - b["H"], abs=1e-4)
    assert checks[0]["method"] == "adapter"
    assert checks[0]["row"] == "cats, night, 1 shot"
    del found["zero-shot"]
    assert TINY.compare(found) == []


# answers


def random_answers(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    confidence = np.round(rng.uniform(0.2, 1, n), 3)
    return rng.random(n) < confidence, confidence


def told(seed: int = 0) -> dict:
    return {"base": random_answers(11, seed), "novel": random_answers(9, seed + 1)}


def test_answers_survive_packing():
    found = unpacked(json.loads(json.dumps(packed(told(), True))))
    for group, (right, confidence) in told().items():
        assert (found[group][0] == right).all()
        assert found[group][1] == pytest.approx(confidence)
    assert not unpacked(packed(told()))["base"][1].any()


def test_scores_are_those_of_the_metrics():
    right, confidence = random_answers(200, 0)
    rest = (1 - confidence) / 9
    probabilities = np.repeat(rest[:, None], 10, 1)
    probabilities[:, 0] = confidence
    labels = np.where(right, 0, 1)
    scores = scores_of({"base": (right, confidence)})
    assert scores["base"] == pytest.approx(right.mean(), abs=1e-4)
    expected = expected_calibration_error(probabilities, labels)
    assert scores["base ECE"] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("score", ["base", "novel", "H", "both", "ECE"])
def test_differences_are_those_of_the_scores(score):
    arms = told(0), told(7)
    values = []
    for arm in arms:
        s = scores_of(arm)
        s["H"] = harmonic_mean(s["base"], s["novel"])
        s["both"] = (s["base"] + s["novel"]) / 2
        s["ECE"] = (s["base ECE"] + s["novel ECE"]) / 2
        values.append(s[score])
    found = difference(*(packed(arm, True) for arm in arms), score)
    assert found["value"] == pytest.approx(values[0] - values[1], abs=2e-4)
    assert len(set(found["draws"])) > 5
    same = difference(packed(arms[0], True), packed(arms[0], True), score)
    assert set(same["draws"]) == {0.0}


# the parts beside the tables


def test_wise_ft_has_a_row_for_each_mixture(tiny, monkeypatch):
    monkeypatch.setattr(adapters, "STUDY", replace(TINY, n_test=2))
    monkeypatch.setattr(adapters, "WISE_FT_SHOTS", (1,))
    fixed = Method("WiSE-FT", {"blocks": 1, "steps": 1}, {"lr": (1e-4, 1e-3)})
    monkeypatch.setattr(adapters, "WISE_FT", fixed)
    monkeypatch.setattr(adapters, "FEW", 1)
    monkeypatch.setattr(adapters, "SHIFTS", ("night", "pixel"))
    found = adapters.measure_wise_ft("WiSE-FT", 0, "tiny", {"1": {"lr": 1e-3}})
    names = [row["row"] for row in found["rows"]]
    assert names[0] == "cats, night, 1 shot, alpha 0.0" and len(names) == 5
    assert found["rows"][0]["scores"] == found["rows"][0]["step0"]
    assert all(row["trained"] > 0 and row["steps"] == 1 for row in found["rows"])
    assert {"base", "novel", "kept", *adapters.SHIFTS} <= set(
        found["rows"][0]["scores"]
    )
    half, end = (found["rows"][k]["scores"] for k in (2, 4))
    gaps = [half[domain] - end[domain] for domain in adapters.SHIFTS]
    second = found["checks"][1]
    assert second["score"] == "shifted"
    assert second["value"] == pytest.approx(sum(gaps) / 2, abs=1e-3)
    tiny.clear()
    chosen = adapters.choose_wise_ft("WiSE-FT", "tiny")
    assert [row["lr"] for row in chosen["grid"]] == [1e-4, 1e-3]
    assert set(chosen["chosen"]) == {"1"}
    assert "test" not in {split for _, split, _ in tiny}


@pytest.fixture
def few_scenes(tiny, monkeypatch):
    monkeypatch.setattr(scenes, "SIZES", dict.fromkeys(("train", "val", "test"), 6))
    monkeypatch.setattr(scenes, "CAPTIONS", 8)
    monkeypatch.setattr(scenes, "CLASSES", 3)
    for name, method in scenes.METHODS.items():
        fixed = {"negative": "picture of"} if name == "DualCoOp" else {}
        quick = replace(method, steps=1, fixed=fixed)
        monkeypatch.setitem(scenes.METHODS, name, quick)


@pytest.mark.parametrize("name", scenes.METHODS)
def test_scenes_are_scored_beside_the_read_outs(few_scenes, name):
    chosen = scenes.choose(name, "tiny")["chosen"]
    found = scenes.measure(name, 0, "tiny", chosen)
    names = [row["row"] for row in found["rows"]]
    method = scenes.METHODS[name]
    if name == scenes.READ_OUTS:
        assert names == [scenes.POOLED, scenes.WHOLE, scenes.NEAREST, scenes.DENSE]
    else:
        assert names == (list(method.variants) or [name])
        assert len(found["checks"]) == len(method.than)
    for row in found["rows"]:
        (score,) = row["scores"].values()
        assert 0 <= score <= 1
    assert json.loads(json.dumps(found)) == found


def test_marks_of_resamples_are_those_of_repeated_scenes():
    rng = torch.Generator().manual_seed(0)
    scores = torch.rand(6, 3, generator=rng)
    labels = (torch.rand(6, 3, generator=rng) < 0.5).float()
    labels[0] = 1
    marks = scenes.Marks("mAP", scores, labels)
    twice = scenes.Marks("mAP", scores[[0, 0, 3]], labels[[0, 0, 3]])
    assert marks.score(np.array([2, 0, 0, 1, 0, 0])) == twice.score()
    assert marks.minus(marks)["value"] == 0


def test_distances(tiny, monkeypatch):
    monkeypatch.setattr(visual, "STEPS", {"steps": 1})
    quick = {"VP": Method("VP", {"steps": 1})}
    monkeypatch.setattr(visual, "STUDY", replace(TINY, methods=quick, n_test=1))
    monkeypatch.setattr(visual, "DISTANCES", (0.0, 1.0))
    monkeypatch.setitem(tasks.GROUPS, "few", tasks.GROUPS["cats"][:4])
    make = visual.make_task
    monkeypatch.setattr(
        visual, "make_task", lambda c, n, d, **k: make(c, "few", d, **k)
    )
    found = visual.distances("distances", 0, "tiny", {"lr": 0.1})
    assert [row["row"] for row in found["rows"]] == ["strength 0.0", "strength 1.0"]
    assert all(set(r["scores"]) == {"zero_shot", "VP"} for r in found["rows"])


@pytest.fixture
def few_steps(tiny, monkeypatch):
    """The experiment on forgetting, on two tasks of ten classes."""
    monkeypatch.setitem(tasks.GROUPS, "faces", tasks.GROUPS["cats"])
    line = types.SimpleNamespace(held_out_memes=["one", "two"])
    monkeypatch.setattr(tasks, "find_category", lambda name: line)  # short ones
    kinds = {"faces, pixel": forgetting.DOMAIN, "faces, lines": forgetting.CLASS}
    monkeypatch.setattr(forgetting, "TASKS", kinds)
    for name, value in (("SHOTS", 2), ("N_TEST", 2), ("SEARCH_STEPS", 1)):
        monkeypatch.setattr(forgetting, name, value)
    arms = {name: replace(arm, steps=(1, 2)) for name, arm in forgetting.ARMS.items()}
    monkeypatch.setattr(forgetting, "ARMS", arms)
    return kinds


def test_forgetting_chooses_rates_by_learned_classes_alone(few_steps, tiny):
    found = forgetting.choose("KgCoOp, weight 8", "tiny")
    assert found == forgetting.choose("CoOp", "tiny")  # one thing differs: the leash
    for title in few_steps:
        own = [row for row in found["grid"] if row["task"] == title]
        assert [row["lr"] for row in own] == [1e-3, 3e-3, 1e-2]
        best = max(own, key=lambda row: row["score"])
        assert found["chosen"][title] == {"lr": best["lr"]}
    assert {what[1:] for what in tiny} == {("val", 0), ("train", 9)}
    assert forgetting.choose("zero-shot", "tiny")["chosen"] == {}


def test_forgetting_has_a_row_for_each_task_and_number_of_steps(few_steps):
    rates = dict.fromkeys(few_steps, {"lr": 0.1})
    for name, views in (("CoOp", 10), ("CoCoOp", 10)):
        rows = forgetting.measure(name, 0, "tiny", rates)["rows"]
        assert [(row["task"], row["steps"]) for row in rows] == [
            (title, steps) for title in few_steps for steps in (1, 2)
        ]
        assert [row["views"] for row in rows[:2]] == [views, 2 * views]
        assert rows[0]["step0"] == rows[1]["step0"]
        assert all({"base", "novel", "H"} <= set(row["scores"]) for row in rows)
    assert json.loads(json.dumps(rows)) == rows


def test_forgetting_compares_task_by_task(few_steps, monkeypatch):
    check = Check("it falls", ("zero-shot", 0), ("CoOp", 2), "novel")
    monkeypatch.setattr(forgetting, "CHECKS", (check,))
    rates = dict.fromkeys(few_steps, {"lr": 0.1})
    found = {n: forgetting.measure(n, 0, "tiny", rates) for n in ("zero-shot", "CoOp")}
    checks = forgetting.compare(found)
    assert [c["name"] for c in checks] == [f"it falls ({t})" for t in few_steps]
    for k, own in enumerate(checks):
        zero, coop = found["zero-shot"]["rows"][k], found["CoOp"]["rows"][2 * k + 1]
        gap = zero["scores"]["novel"] - coop["scores"]["novel"]
        assert own["value"] == pytest.approx(gap, abs=1e-4)
        assert (own["method"], own["row"]) == ("CoOp", coop["row"])


def test_forgetting_checks_arms_that_are_run():
    for check in forgetting.CHECKS:
        for name, steps in (check.better, check.worse):
            known = forgetting.ARMS[name].steps if steps else (0,)
            assert steps in known
    # at most three a method
    owners = [c.better[0] if c.better[1] else c.worse[0] for c in forgetting.CHECKS]
    assert max(map(owners.count, owners)) <= 3


# what is declared


@pytest.mark.parametrize("name", NAMES)
def test_every_part_has_a_hash_and_a_grid_of_settings_it_takes(name):
    experiment = get_experiment(NAMES[name])
    hashes = {part: experiment.hash(part) for part in experiment.parts}
    assert all(len(value) == 16 for value in hashes.values())
    assert len(set(hashes.values())) > 3


@pytest.mark.parametrize("name", NAMES)
def test_checks_name_methods_and_shots_that_are_run(name):
    study = importlib.import_module(f"vlmtutor.experiments.{name}").STUDY
    for check in study.checks:
        for method, shots in (check.better, check.worse):
            assert study.methods[method].learns == bool(shots)
            assert all(shots in (0, *tried) for tried in study.tasks.values())
