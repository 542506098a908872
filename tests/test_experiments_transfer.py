"""The experiments on transfer, at tiny sizes."""

from __future__ import annotations

import importlib
import json
import pickle
import types
from dataclasses import replace

import numpy as np
import pytest
import torch
from transfer_tiny import CLASSES, WORDS, clip, colors

from vlmtutor.experiments import (
    adapters,
    forgetting,
    get_experiment,
    prompts,
    scenes,
    transfer,
    visual,
)
from vlmtutor.experiments.answers import difference, packed, scores_of, unpacked
from vlmtutor.experiments.rows import rows as rows_of
from vlmtutor.experiments.transfer import Method, Study
from vlmtutor.metrics import expected_calibration_error, harmonic_mean
from vlmtutor.transfer import claims, get_fit, tasks
from vlmtutor.transfer.pictures import Pictures
from vlmtutor.transfer.tasks import Split
from vlmtutor.transfer.vp import border
from vlmtutor.verdict import BUDGET_LIMITED, Check, judge
from vlmtutor.world import seeds_of

NAMES = {"prompts": "08", "visual": "09", "adapters": "10_"}
TINY = Study(
    methods={
        "zero-shot": Method("zero-shot", learns=False),
        "one view": Method("hand prompt", pictures=1, learns=False),
        "probe": Method("linear probe", grid={"C": (1, 10)}),
        "CoOp": Method("CoOp", {"context": None}, {"steps": (1, 2)}),
        "two classes": Method("CoOp", classes=2, like="CoOp"),
        "random": Method("CoOp", {"context": None, "steps": 2}, like="CoOp"),
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
    monkeypatch.setattr(transfer, "SEARCHED", {})
    caches = (transfer.prepared, transfer.pseudo, transfer.stickers)
    caches += (scenes.scenes_of, forgetting.task_of, forgetting.gate, forgetting.rates)
    caches += (forgetting.reader,)
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
    # what is fixed stays so: an arm differs in that from whom it follows
    own = TINY.choose("random", "tiny")["chosen"]
    assert set(own) == set(found["chosen"]) and not any(own.values())


def test_nothing_is_searched_twice(tiny, monkeypatch):
    found = TINY.choose("CoOp", "tiny")
    monkeypatch.setattr(transfer, "learn", None)  # no more of that
    copied = pickle.loads(pickle.dumps(TINY))  # as a worker gets it
    assert copied.choose("two classes", "tiny") == found


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
        assert row["views"] == 2 * 5 * row["shots"] and len(row["losses"]) == 2
        start = scores_of(unpacked(row["step0_answers"]))
        told = {k: v for k, v in row["step0"].items() if "ECE" not in k}
        assert told == {k: v for k, v in start.items() if "ECE" not in k}
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


def test_views_are_steps_and_batches_of_what_a_method_may_see():
    views = {
        name: Method(name, fixed, classes=classes).views(n)
        for name, fixed, classes, n in (
            ("CoOp", {}, None, 400),
            ("CoCoOp", {}, None, 400),
            ("VPT-deep", {"steps": 200}, None, 400),  # its batch is VPT's
            ("Tip-Adapter-F", {}, None, 30),
            ("zero-shot", {}, None, 400),
        )
    }
    assert views == {
        "CoOp": 3200,
        "CoCoOp": 240,
        "VPT-deep": 3200,
        "Tip-Adapter-F": 1800,
        "zero-shot": None,
    }


def test_losses_in_ten_points():
    found = transfer.outline(list(range(200)))
    assert found == [9.5 + 20 * k for k in range(10)]
    assert transfer.outline([1.0, 2.0]) == [1, 2]


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
        grid = {"lr": method.grid["lr"][:2]} if method.grid else {}
        if name == "DualCoOp":
            grid["negative"] = ("picture of", "a picture")  # 16 vectors do not fit
        quick = replace(method, steps=1, grid=grid)
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
        few = name == "DualCoOp"  # 12 rounds, where its paper takes 50
        assert all(bool(check["budget"]) == few for check in found["checks"])
        # an arm of DenseCLIP has a rate of its own; shares of labels share one
        asked = chosen if method.each else dict.fromkeys(names, chosen)
        assert {row["row"]: row["chosen"] for row in found["rows"]} == asked
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
    assert all(len(row["losses"]) == 1 for row in found["rows"])


@pytest.fixture
def few_steps(tiny, monkeypatch):
    """The experiment on forgetting, on two tasks of ten classes."""
    monkeypatch.setitem(tasks.GROUPS, "faces", tasks.GROUPS["cats"])
    lines: dict[str, str] = {}

    def short_line(name):  # a word that the tiny model knows, one a class
        line = lines.setdefault(name, WORDS[len(lines)])
        return types.SimpleNamespace(held_out_memes=[line])

    monkeypatch.setattr(tasks, "find_category", short_line)
    kinds = {"faces, pixel": forgetting.DOMAIN, "faces, lines": forgetting.CLASS}
    monkeypatch.setattr(forgetting, "TASKS", kinds)
    quick = {"SHOTS": 2, "N_TEST": 2, "SEARCH_STEPS": 1, "GATE": 0.0}
    for name, value in quick.items():
        monkeypatch.setattr(forgetting, name, value)
    arms = {name: replace(arm, steps=(1, 2)) for name, arm in forgetting.ARMS.items()}
    monkeypatch.setattr(forgetting, "ARMS", arms)
    return kinds


def test_forgetting_chooses_rates_by_learned_classes_alone(few_steps, tiny):
    found = forgetting.choose("KgCoOp, weight 8", "tiny")
    assert found == forgetting.choose("CoOp", "tiny")  # one thing differs: the leash
    for title in few_steps:
        own = [row for row in found["grid"] if row["task"] == title]
        assert [row["lr"] for row in own] == [1e-3, 3e-3, 1e-2, 3e-2]
        best = max(own, key=lambda row: row["score"])
        assert found["chosen"][title] == {"lr": best["lr"]}
    splits = {what[1:] for what in tiny}
    calibration = ("val", tasks.CALIBRATION_SEED)  # of the gate
    assert splits == {("val", 0), calibration, ("train", transfer.TUNING_SEED)}
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


@pytest.mark.parametrize(
    "closed, reads",
    [((), "tiny"), (("tiny",), "stickerclip"), (("tiny", "stickerclip"), None)],
)
def test_a_task_is_read_by_the_model_that_knows_its_names(
    few_steps, monkeypatch, closed, reads
):
    there = "faces, lines"

    def gate(backbone, title):
        return -0.1 if title == there and backbone in closed else 0.1

    seen, task_of = [], forgetting.task_of
    monkeypatch.setattr(forgetting, "gate", gate)
    monkeypatch.setattr(
        forgetting, "task_of", lambda *key: seen.append(key) or task_of(*key)
    )
    chosen = forgetting.choose("CoOp", "tiny")["chosen"]
    rows = forgetting.measure("CoOp", 0, "tiny", chosen)["rows"]
    assert {name for name, title in seen if title == there} == {reads} - {None}
    assert {name for name, title in seen if title != there} == {"tiny"}
    own = [row for row in rows if row["task"] == there]
    assert len(own) == (0 if reads is None else 2) and len(rows) == 2 + len(own)
    assert (there in chosen) == (reads is not None)
    free = forgetting.measure("hand prompt", 0, "tiny", {})["rows"][1]
    for row in (*own, free):
        assert row["read_by"] == (reads or "tiny")
        assert ("stickerclip" in row["row"]) == (reads == "stickerclip")
    assert free["gate"] == (0.1 if reads else -0.1)
    assert ("closed" in free["row"]) == (reads is None)


def test_a_closed_gate_says_why_in_the_experiments_own_words():
    def why(experiment):
        check = {"name": "it falls", "value": 0.1, "draws": [0.1] * 9}
        row = {"scores": {"novel": 0.1}, "gate": -0.1, "checks": [check]}
        head = {"part": "CoOp", "backbone": "p", "seed": 0, "code": ""}
        notes = {"choices": [], "parts": [{**head, **row}]}
        ((check,),) = [r["checks"] for r in rows_of(experiment, notes)]
        assert check["verdict"] == "budget-limited"
        return check["budget"]

    plain = replace(forgetting.EXPERIMENT, compare=None)
    assert why(plain) == forgetting.CLOSED
    assert "seen names" not in forgetting.CLOSED
    dense = replace(get_experiment("segmentation"), compare=None)
    assert (
        why(dense) == "seen names are not learned well enough to speak of unseen ones"
    )


def test_step_0_is_fitted_once_an_arm_and_task(few_steps, monkeypatch):
    steps, learn = [], forgetting.learn

    def noted(arm, train, seed, n, lr):
        steps.append(n)
        return learn(arm, train, seed, n, lr)

    monkeypatch.setattr(forgetting, "learn", noted)
    rates = dict.fromkeys(few_steps, {"lr": 0.1})
    forgetting.measure("CoOp", 0, "tiny", rates)
    assert steps == [0, 1, 2] * 2


def test_what_coop_forgets_is_counted_from_where_it_starts(few_steps, monkeypatch):
    # names that the tiny model tells apart: of others answers are a tie
    monkeypatch.setitem(tasks.GROUPS, "faces", ("dog", "cat", "bird", "fox", "owl"))
    check = forgetting.CHECKS[0]
    assert (check.better, check.worse[0]) == (("hand prompt", 0), "CoOp")
    rates = dict.fromkeys(few_steps, {"lr": 0.1})
    hand = forgetting.measure("hand prompt", 0, "tiny", {})["rows"]
    coop = forgetting.measure("CoOp", 0, "tiny", rates)["rows"]
    assert [row["scores"] for row in hand] == [row["step0"] for row in coop[::2]]


def test_prograd_is_compared_with_the_same_descent_unprojected():
    arms, check = forgetting.ARMS, forgetting.CHECKS[-1]
    assert [arm[0] for arm in (check.better, check.worse)] == [
        "ProGrad",
        "plain descent",
    ]
    plain = arms["plain descent"]
    assert plain.fixed == {"strength": 0.0} and plain.steps == (forgetting.LAST,)
    assert (plain.fit, plain.like) == ("ProGrad", "ProGrad")
    plain = prompts.STUDY.methods["plain descent"]
    assert plain == Method("ProGrad", {"strength": 0.0}, like="ProGrad")
    arms = [(c.better, c.worse) for c in claims.PROMPTS]
    assert (("ProGrad", 1), ("plain descent", 1)) in arms
    assert (("ProGrad", 1), ("CoOp", 1)) in arms


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


@pytest.mark.parametrize("name", [*NAMES.values(), "10b", "forgetting"])
def test_no_run_has_the_seed_that_settings_are_chosen_with(name):
    own = scenes if name == "10b" else transfer
    owner = "scene sets" if name == "10b" else "tasks"
    assert own.TUNING_SEED not in {seed for *_, seed in get_experiment(name).keys()}
    assert seeds_of(owner, "train", 1, own.TUNING_SEED)  # in the ledger


def test_rates_that_shield_new_names_are_not_asked_whether_they_fall():
    for check in (*claims.PROMPTS, *claims.VISUAL):
        assert (check.better[0], check.score) != ("zero-shot", "novel")
    assert forgetting.CHECKS[0].score == "novel"


def test_cocoop_is_judged_on_no_more_than_its_budget():
    fitted = {
        name: prompts.STUDY.methods[name].views(336) for name in ("CoCoOp", "CoOp")
    }
    assert fitted == {"CoCoOp": 240, "CoOp": 3200}
    for check in claims.PROMPTS:
        few = "CoCoOp" in (check.better[0], check.worse[0])
        assert bool(check.budget) == few
        assert not few or ("240" in check.budget and "3,200" in check.budget)
    measured = claims.PROMPTS[1].measured({"value": 0.3, "draws": [0.3]})
    assert judge([measured] * 8, budget=measured["budget"])["verdict"] == BUDGET_LIMITED


def test_vp_has_a_frame_like_its_authors_and_time_to_settle():
    vp_method = visual.STUDY.methods["VP"]
    side, width = 96, vp_method.fixed["width"]
    assert 0.46 <= border(side, width).float().mean() <= 0.48
    assert vp_method.steps == 200 and vp_method.views(336) == 3200
    assert max(vp_method.grid["lr"]) <= 1e-2  # at .3 its loss rose


def test_each_visual_arm_has_a_rate_of_its_own_and_sees_as_much_as_coop():
    methods = visual.STUDY.methods
    assert all(method.like is None for method in methods.values())
    learn = [m for m in methods.values() if m.learns]
    assert {m.views(336) for m in learn} == {3200}
    assert list(visual.STUDY.tasks.values()) == [(16,), (16,)]
    told = [(c.better[0], c.worse[0]) for c in claims.VISUAL]
    assert ("UPT", "VPT-deep") in told


@pytest.mark.parametrize("name", NAMES)
def test_checks_name_methods_and_shots_that_are_run(name):
    study = importlib.import_module(f"vlmtutor.experiments.{name}").STUDY
    for check in study.checks:
        for method, shots in (check.better, check.worse):
            assert study.methods[method].learns == bool(shots)
            assert all(shots in (0, *tried) for tried in study.tasks.values())
