"""Results of earlier programs: read as today's rows, and marked."""

from __future__ import annotations

import pytest

from vlmtutor import stored, verdict
from vlmtutor.experiments import EXPERIMENTS, get_experiment
from vlmtutor.experiments.experiment import CARRIED
from vlmtutor.experiments.rows import SCHEMA, as_json, as_text, mark_changed, rows


def all_rows(name: str) -> list[dict]:
    experiment = get_experiment(name)
    notes = stored.read(experiment.path())
    found = rows(experiment, notes)
    mark_changed(experiment, notes, found)
    return found


def rows_of(name: str, backbone: str = "") -> dict[tuple[str, str], dict]:
    own = [row for row in all_rows(name) if backbone in ("", row["backbone"])]
    return {(row["method"], row["row"]): row for row in own}


NOT_YET_RUN = {"detection", "recipe"}


@pytest.mark.parametrize("name", sorted(EXPERIMENTS.keys() - NOT_YET_RUN))
def test_what_was_carried_over_says_so(name):
    experiment = get_experiment(name)
    notes = stored.read(experiment.path())
    carried = {(r["part"], r["backbone"]) for r in notes["parts"] if CARRIED in r}
    known = {*experiment.parts, *(part for part, _ in carried)}
    assert {r["part"] for r in notes["parts"]} <= known
    for row in all_rows(name):
        assert set(row) == set(SCHEMA)
        if (row["method"], row["backbone"]) in carried:
            one = len(row["seeds"]) == 1
            assert row["rule"] == ("one run" if one else "old rule, 3 seeds")
            assert row["code_changed"] is None and row["scores"]


def test_a_row_of_a_few_shot_table():
    row = rows_of("08", "stickerclip")["CoOp", "mixed, sketch, 16 shots"]
    assert row["by_seed"]["base"] == [0.7619, 0.7738, 0.7421]
    assert row["chosen"] == {"lr": 0.01} and len(row["grid"]) == 3
    assert row["supervision"] == "16 pictures a class" and row["trained"] == 640


def test_old_verdicts_stay_what_they_were():
    found = rows_of("08_prompt_tuning", "stickerclip")
    checks = {c["name"]: c for row in found.values() for c in row["checks"]}
    assert len(checks) == 11
    check = checks["CoOp beats the zero-shot ensemble on the classes it learned"]
    assert check["verdict"] == "reproduced" and check["low"] is None
    assert [round(100 * v, 1) for v in check["by_seed"]] == [22.7, 24.4, 22.0]
    assert "judged by the old rule" in as_text(list(found.values()))


@pytest.mark.parametrize("name", ["08", "09", "10_adapters", "10b"])
def test_old_claims_stand_as_long_as_their_rows(name):
    notes = stored.read(get_experiment(name).path())
    carried = {(r["part"], r["backbone"]) for r in notes["parts"] if CARRIED in r}
    stood = [
        (c["name"], c["verdict"])
        for c in notes.get("old checks", ())
        if (c["method"], c["backbone"]) in carried
    ]
    rows = [r for r in all_rows(name) if (r["method"], r["backbone"]) in carried]
    shown = [(c["name"], c["verdict"]) for row in rows for c in row["checks"]]
    assert sorted(shown) == sorted(stood)
    assert all(row["code_changed"] is None for row in rows)


def test_rows_of_the_dense_bench():
    assert not any("old" in row["rule"] for row in all_rows("segmentation"))
    second = rows_of("segmentation", "stickerclip")
    row = second["MaskCLIP+", "MaskCLIP+"]
    assert row["by_seed"]["U"] == [0.6463, 0.6569, 0.6153] and row["table"] == "free"
    assert {tuple(row["seeds"]) for row in second.values()} == {(0, 1, 2)}
    first = rows_of("segmentation", "phraseclip")
    assert first["references", "chance"]["table"] == "reference"
    assert {tuple(row["seeds"]) for row in first.values()} == {tuple(range(8))}
    assert first.keys() == second.keys()
    checks = [check["verdict"] for row in first.values() for check in row["checks"]]
    assert len(checks) == 42 and checks.count("reproduced") == 23
    assert not any(row["checks"] for row in second.values())  # three seeds: none
    told = as_json("segmentation", all_rows("segmentation"))["rows"]
    # what notebooks read is what it shows
    shown = [r["scores"] for r in stored.load("segmentation")["rows"]]
    assert shown == [r["scores"] for r in told]


def test_rows_of_the_experiment_on_forgetting():
    found = rows_of("forgetting", "phraseclip")
    assert not any(row["code_changed"] for row in found.values())
    coop = found["CoOp", "vehicles, lines, 2,100 steps"]
    assert coop["seeds"] == [*range(10)] and coop["chosen"] == {"lr": 0.03}
    assert {row["backbone"] for row in found.values()} == {"phraseclip"}
    zero = found["zero-shot", "vehicles, lines"]["by_seed"]["novel"]
    lost = sum(zero) / 10 - sum(coop["by_seed"]["novel"]) / 10
    assert lost == pytest.approx(0.09, abs=0.0005)
    checks = [check for row in found.values() for check in row["checks"]]
    assert min(len(check["by_seed"]) for check in checks) >= 8


def test_every_stored_part_of_the_student_has_code_and_seeds():
    found = rows_of("11_distil_a_student")
    parts = get_experiment("11_distil_a_student").parts
    assert {method for method, _ in found} <= set(parts)
    assert found["inherited, logit", "inherited, logit"]["seeds"] == [0, 1, 2]


def test_old_and_new_checks_are_told_apart():
    old = {"name": "an old claim", "at_least": True, "low": -0.1, "high": -0.05}
    old |= {"verdict": "not reproduced", "value": -0.07, "by_seed": [-0.07] * 3}
    draws = {"value": 0.1, "draws": [0.1] * 5}
    new = {"name": "a new claim", **verdict.judge([draws] * 8)}
    row = {"method": "m", "row": "r", "backbone": "b", "by_seed": {"h": [0.5]}}
    row |= {"rule": "", "code_changed": False, "checks": [old, new]}
    first, second = as_text([row]).split("\n\n")[1:]
    assert "a new claim" in first and "seeds: 8" in first
    assert "an old claim" in second and second.endswith("judged by the old rule")
    assert "seen from" not in second and "-10" not in second


def test_groups_of_scores_are_named_and_the_first_is_shown():
    row = {"method": "m", "row": "r", "backbone": "b", "rule": "", "checks": []}
    row |= {"code_changed": False}
    groups = {"own": {"U": [0.5]}, "noisy": {"U": [0.25]}}
    shown, told = as_text([{**row, "by_seed": groups}]).split("\n\n")
    assert "50.0" in shown and "25.0" not in shown
    assert told == "with --json also: noisy"
    alone = {"h": [0.75], "noisy": {"h": [0.25]}}
    shown, told = as_text([{**row, "by_seed": alone}]).split("\n\n")
    assert "75.0" in shown and "25.0" not in shown and told.endswith("noisy")
    assert "\n\n" not in as_text([{**row, "by_seed": {"h": [0.75]}}])
    assert "m" in as_text([{**row, "by_seed": None}])
