"""The experiment of methods that draw boxes: parts, rows, gates, predictions."""

from __future__ import annotations

import functools
import inspect

import pytest
from distill_tiny import box_bench

from vlmtutor.distill.bench import box_references
from vlmtutor.distill.bench.box_gates import BOX_LIMITS, BOX_TOLD
from vlmtutor.distill.methods import METHODS, get_method
from vlmtutor.experiments import detection, predictions
from vlmtutor.experiments.experiment import Experiment
from vlmtutor.experiments.rows import rows

DETECTORS = [n for n, home in METHODS.items() if home.startswith("detection.")]


@pytest.fixture
def part(monkeypatch):
    """The experiment on the tiny bench, with few steps."""
    monkeypatch.setattr(detection, "open_bench", lambda *args, **kw: box_bench())
    monkeypatch.setattr(box_references, "STEPS", 2)
    return detection


def test_references_come_first_and_the_ablation_has_three_seeds():
    experiment = detection.EXPERIMENT
    assert list(experiment.parts) == ["references", *DETECTORS, detection.GROUND]
    keys = experiment.keys()
    assert keys[0] == ("references", "phraseclip", 0)
    for twin, last in (("phraseclip", 7), ("stickerclip", 2)):  # rows only
        seeds = [k[2] for k in keys if k[1] == twin]
        assert seeds == sorted(seeds) and max(seeds) == last  # seed by seed
    for twin in experiment.backbones:
        own = [k[2] for k in keys if k[:2] == (detection.GROUND, twin)]
        assert own == [0, 1, 2]
    for name in experiment.parts:
        assert experiment.hash(name)


def test_without_by_seed_parts_come_one_after_another():
    parts = {"a": None, "b": None}
    plain = Experiment("x", "", parts, seeds=2)
    assert [k[0] for k in plain.keys()] == ["a", "a", "b", "b"]
    turned = Experiment("x", "", parts, seeds=2, by_seed=True)
    assert [(k[0], k[2]) for k in turned.keys()] == [
        ("a", 0),
        ("b", 0),
        ("a", 1),
        ("b", 1),
    ]


def test_every_check_has_a_prediction_before_anything_runs():
    kept = detection.choose("references", "any")["predictions"]
    assert kept == predictions.BOX_PREDICTIONS
    for name in DETECTORS:
        source = inspect.getsource(get_method(name).checks)
        own = [p for p in kept if p["method"] == name]
        assert 1 <= len(own) <= 3
        assert all(f'"{p["check"]}"' in source for p in own)


def test_predictions_meet_their_fate():
    first = predictions.BOX_PREDICTIONS[0]
    check = {"method": first["method"], "name": first["check"], "verdict": "x"}
    found = predictions.fates(predictions.BOX_PREDICTIONS, [check])
    assert found[0]["verdict"] == "x" and found[1]["verdict"] is None


def test_references_come_with_the_gates_figures(part, capsys):
    found = part.references("references", 0, "tiny", {})
    assert set(found["gates"]) == {*BOX_LIMITS, *BOX_TOLD}
    assert "floor 0.70" in capsys.readouterr().out
    names = [row["row"] for row in found["rows"]]
    assert names == [r.name for r in box_references.BOX_REFERENCES]
    for row in found["rows"]:
        assert (row["gate"] < 0) is bool(found["closed"])
        least = min(found["gates"][name] - limit for name, limit in BOX_LIMITS.items())
        assert row["gate"] == pytest.approx(least, abs=1e-4)
        assert {
            "S",
            "U",
            "h",
            "AP75_U",
            "AR10_U",
            "AR100_U",
            "U_alone",
            "mask_AP_U",
        } <= set(row["scores"]["common"])


def test_a_method_gives_rows_by_both_rules_and_its_checks(part, monkeypatch):
    module = get_method("ViLD")
    monkeypatch.setattr(module, "fit", functools.partial(module.fit, steps=2))
    found = part.method("ViLD", 0, "tiny", {})
    assert [row["row"] for row in found["rows"]] == ["ViLD", "ViLD, ensemble"]
    for row in found["rows"]:
        assert set(row["scores"]) == {"own", "common", "noisy", "oracles", "fates"}
        assert row["table"] == "boxes"
        assert row["supervision"] == "Boxed + crops of proposals"
        assert {"shared_s", "teacher_s", "fit_s", "ms", "trained", "steps"} <= set(row)
    assert [c["name"] for c in found["checks"]] == [
        p["check"] for p in predictions.BOX_PREDICTIONS if p["method"] == "ViLD"
    ]
    head = {"part": "ViLD", "backbone": "tiny", "seed": 0, "code": ""}
    notes = {"parts": [{**head, **found}], "choices": []}
    table = rows(detection.EXPERIMENT, notes)
    assert table[0]["by_seed"]["own"]["U"] == [found["rows"][0]["scores"]["own"]["U"]]


LABELERS = [name for name in DETECTORS if hasattr(get_method(name), "PARTS")]


def test_seven_methods_label_for_themselves():
    assert len(LABELERS) == 7


@pytest.mark.parametrize("name", LABELERS)
def test_methods_that_label_tell_how_good_their_labels_are(part, monkeypatch, name):
    module = get_method(name)
    monkeypatch.setattr(module, "fit", functools.partial(module.fit, steps=2))
    for steps in ("STEPS", "PROMPT_STEPS", "ADAPT_STEPS", "REPEATS"):
        if hasattr(module, steps):
            monkeypatch.setattr(module, steps, 2)
    found = part.method(name, 0, "tiny", {})
    assert [c["name"] for c in found["checks"]] == [
        p["check"] for p in predictions.BOX_PREDICTIONS if p["method"] == name
    ]
    assert {row["row"] for row in found["rows"]} == {*module.PARTS}
    for row in found["rows"]:
        assert row["table"] in ("list", "sentences")
        labels = row["scores"]["labels"]
        assert {"precision", "recall", "iou", "recall small"} <= set(labels)
        assert all(0 <= value <= 1 for value in labels.values())


def test_a_backbone_that_knows_places_gives_rows_alone(part, monkeypatch):
    module = get_method("F-VLM")
    monkeypatch.setattr(module, "fit", functools.partial(module.fit, steps=1))
    monkeypatch.setattr(module, "checks", None)  # not asked
    found = part.method("F-VLM", 0, "stickerclip", {})
    assert len(found["rows"]) == len(module.ROWS) and found["checks"] == []


def test_knobs_are_chosen_by_h_of_the_own_rule(part, monkeypatch):
    module = get_method("F-VLM")
    monkeypatch.setattr(module, "fit", functools.partial(module.fit, steps=2))
    found = part.choose("F-VLM", "tiny")
    assert set(found["chosen"]) == {row.name for row in module.ROWS}
    grid = found["grid"]["F-VLM"]
    best = max(grid, key=lambda row: row["score"])
    assert len(grid) == 12
    assert found["chosen"]["F-VLM"] == {k: best[k] for k in ("alpha", "beta")}


def test_the_ablation_has_both_proposers_in_both_kinds_of_scenes(part, monkeypatch):
    fit = part.vild.fit
    monkeypatch.setattr(part.vild, "fit", functools.partial(fit, steps=2))
    rows = part.ground(part.GROUND, 0, "tiny", {})["rows"]
    assert len({row["row"] for row in rows}) == len(rows) == 8
    assert sum("neg" in row["row"] for row in rows) == 4
    assert all(row["table"] == "ablation" for row in rows)


def test_the_teacher_is_asked_before_the_clock_starts(part):
    bench = box_bench()
    assert "teacher_s" not in part.assets(bench, get_method("F-VLM"))
    for name in ("ViLD", "OADP", "BARON"):
        costs = part.assets(bench, get_method(name))
        assert costs["teacher_s"] > 0
        assert costs == part.assets(bench, get_method(name))  # not asked again
