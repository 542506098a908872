"""The table that ends the lessons on transfer."""

from __future__ import annotations

import pytest

from vlmtutor import stored
from vlmtutor.transfer import closing

ZERO = [{"shots": 0, "seed": 0, "base": 0.5, "novel": 0.6, "kept": 0.9, "seconds": 0.1}]
A = [
    {"shots": k, "seed": s, "base": base, "novel": 0.5, "kept": 0.8, "seconds": 2.0}
    for k, s, base in ((1, 0, 0.4), (1, 1, 0.5), (16, 0, 0.7), (16, 1, 0.8))
]
B = [{k: v for k, v in row.items() if k not in ("novel", "kept")} for row in A]
NOTES = {
    "tables": {closing.TITLE: {"zero-shot": ZERO, "A": A, "<B>": B}},
    "parameters": {"A": 1234, "<B>": 5},
}


def test_gains_are_counted_from_zero_shot():
    row, other = closing.study_rows(NOTES, ["A", "<B>"])
    assert row == {
        "method": "A",
        "parameters": 1234,
        "seconds": 2.0,
        "one": -5.0,
        "many": 25.0,
        "novel": -10.0,
        "kept": -10.0,
    }
    assert other["novel"] is None and other["kept"] is None


def test_what_a_study_lacks_can_be_given():
    kept = {
        "zero-shot": [{"shots": 0, "kept": 1.0}],
        "<B>": [{"shots": 16, "kept": 0.9}, {"shots": 16, "kept": 0.7}],
    }
    (row,) = closing.study_rows(NOTES, ["<B>"], kept)
    assert row["kept"] == -20.0


def test_order_and_signs():
    rows = [*closing.study_rows(NOTES, ["<B>", "A"]), closing.zero_shot_row(ZERO)]
    by = {
        key: [r["method"] for r in closing.ordered(rows, key)]
        for key in closing.COLUMNS
    }
    assert by["parameters"] == ["zero-shot", "<B>", "A"]  # the smallest first
    assert by["novel"] == ["zero-shot", "A", "<B>"]  # unknown comes last
    text = closing.as_text(rows, "novel").splitlines()
    assert text[1].split() == ["zero-shot", "0", "0.0", "50", "50", "60", "90"]
    assert text[2].split() == ["A", "1,234", "2.0", "-5", "+25", "-10", "-10"]
    assert text[3].split()[-2:] == ["–", "–"]
    table = closing.as_html(rows, "many", marked="A")
    assert "&lt;B&gt;" in table and "<b>→ A</b>" in table


def test_race_is_won_by_the_largest_gain():
    other = {
        "tables": {
            closing.TITLE: {
                "zero-shot": [{**ZERO[0], "base": 0.25}],
                "A": [{**A[0], "base": 0.45}],
                "late": [{**A[0], "shots": 4}],
            }
        }
    }
    gains = closing.race({"first": NOTES, "second": other}, 1)
    assert [name for name, _ in gains] == ["A", "<B>"]
    assert [round(gain, 4) for _, gain in gains] == [20, -5]
    drawn = closing.race_html(gains)
    assert drawn.count("█") == 20 and "&lt;B&gt;" in drawn


def test_wise_ft_is_taken_half_way():
    rows = [
        {
            "shots": k,
            "seed": 0,
            "alpha": a,
            "base": 0.5 + a / 5,
            "kept": 0.9,
            "novel": 0.6 + a / 10,
            "seconds": 6.0,
            "parameters": 7,
        }
        for k in (1, 16)
        for a in (0, 0.5, 1.0)
    ]
    row = closing.wise_row({"WiSE-FT": rows})
    assert row["many"] == row["one"] == 10.0
    assert row["novel"] == 5.0 and row["kept"] == 0.0


def test_stored_table_is_that_of_the_stored_studies():
    try:
        notes = [stored.load(name) for name in closing.STUDIES]
    except FileNotFoundError:
        pytest.skip("a study has not been run")
    rows = {row["method"]: row for row in notes[-1]["closing"]}
    assert rows["zero-shot"] == closing.zero_shot_row(
        notes[-1]["tables"][closing.TITLE]["zero-shot"]
    )
    assert rows["WiSE-FT"] == closing.wise_row(notes[-1])
    for study, names in zip(
        notes, (closing.PROMPTS, ("VP", "MaPLe"), ("TaskRes",)), strict=True
    ):
        for row in closing.study_rows(study, names):
            found = rows[row["method"]]
            for key in ("parameters", "one", "many", "novel"):
                assert row[key] == found[key], (row["method"], key)
