"""Results stored before the one rule, read as today's rows."""

from __future__ import annotations

import pytest

from vlmtutor import stored
from vlmtutor.experiments.old import CHECKS, NAMED_BY, old_rows
from vlmtutor.experiments.rows import SCHEMA, as_json, as_text

STEMS = (*NAMED_BY, *CHECKS, "segmentation")


def row(stem: str, method: str, name: str) -> dict:
    (found,) = (r for r in old_rows(stem) if (r["method"], r["row"]) == (method, name))
    return found


@pytest.mark.parametrize("stem", STEMS)
def test_every_old_file_is_read_and_marked(stem):
    found = old_rows(stem)
    names = [(r["method"], r["row"]) for r in found]
    assert len(found) > 3 and len(set(names)) == len(names)
    for r in found:
        assert set(r) == set(SCHEMA)
        one = len(r["seeds"]) == 1
        assert r["rule"] == ("one run" if one else "old rule, 3 seeds")
        assert r["scores"] and r["code_changed"] is None and r["step0"] is None
    assert as_json(stem, found)["rows"][0]["code_changed"] is None
    assert "code unknown" in as_text(found)


def test_a_row_of_a_few_shot_table():
    found = row("08_prompt_tuning", "CoOp", "mixed, sketch, 16 shots")
    table = stored.load("08_prompt_tuning")["tables"]["mixed, sketch"]["CoOp"]
    runs = [run for run in table if run["shots"] == 16]
    assert found["by_seed"]["base"] == [run["base"] for run in runs]
    assert found["scores"]["novel"] == pytest.approx(
        sum(run["novel"] for run in runs) / 3, abs=1e-4
    )
    assert found["chosen"] == {"lr": 0.01} and len(found["grid"]) == 3
    assert found["supervision"] == "16 pictures a class" and found["trained"] == 640


def test_a_row_of_the_dense_bench():
    found = row("segmentation", "MaskCLIP+", "MaskCLIP+")
    method = stored.load("segmentation")["methods"]["MaskCLIP+"]
    (runs,) = (r["runs"] for r in method["rows"] if r["method"] == "MaskCLIP+")
    assert found["by_seed"]["U"] == [run["U"] for run in runs]
    assert found["table"] == "free" and found["seeds"] == [0, 1, 2]
    checks = [c for r in old_rows("segmentation") for c in r["checks"]]
    own = [c for r in old_rows("segmentation") for c in r["checks"]][
        : len(method["checks"])
    ]
    assert [c["verdict"] for c in own] == [c["verdict"] for c in method["checks"]]
    assert len(checks) == 58
    assert row("segmentation", "chance", "chance")["table"] == "reference"


def test_old_verdicts_stay_what_they_were():
    found = {c["name"]: c for r in old_rows("08_prompt_tuning") for c in r["checks"]}
    assert len(found) == 11
    check = found["CoOp beats the zero-shot ensemble on the classes it learned"]
    assert check["verdict"] == "reproduced"
    assert [round(100 * v, 1) for v in check["by_seed"]] == [22.7, 24.4, 22.0]
    assert check["low"] is None
    assert "judged by the old rule" in as_text(old_rows("08_prompt_tuning"))


def test_lists_are_named_by_what_was_varied():
    found = row("05_alignment", "regions", "untrained, cnn")
    assert found["scores"] == {"which": 0.515, "hits": 0.233}
    assert found["rule"] == "one run" and found["fit_s"] == 0
    assert row("10_adapters", "DualCoOp", "0.1")["seeds"] == [0, 1, 2]
    means = row("11_distil_a_student", "table", "StickerCLIP")["scores"]
    assert means["top1"] == 0.9553
