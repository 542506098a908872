"""All transfer methods in one table, and their race."""

from __future__ import annotations

from vlmtutor.transfer import comparison

ZERO = {"method": "zero-shot", "parameters": 0, "seconds": 0.0, "one": 50.0}
ZERO |= {"many": 50.0, "novel": 60.0, "kept": 90.0}
A = {"method": "A", "parameters": 1234, "seconds": 2.0, "one": -5.0}
A |= {"many": 25.0, "novel": -10.0, "kept": -10.0}
B = {**A, "method": "<B>", "parameters": 5, "novel": None, "kept": None}
ROWS = [B, A, ZERO]


def test_order_and_signs():
    by = {
        key: [r["method"] for r in comparison.ordered(ROWS, key)]
        for key in comparison.COLUMNS
    }
    assert by["parameters"] == ["zero-shot", "<B>", "A"]  # the smallest first
    assert by["novel"] == ["zero-shot", "A", "<B>"]  # unknown comes last
    text = comparison.as_text(ROWS, "novel").splitlines()
    assert text[1].split() == ["zero-shot", "0", "0.0", "50", "50", "60", "90"]
    assert text[2].split() == ["A", "1,234", "2.0", "-5", "+25", "-10", "-10"]
    assert text[3].split()[-2:] == ["–", "–"]
    table = comparison.as_html(ROWS, "many", marked="A")
    assert "&lt;B&gt;" in table and "<b>→ A</b>" in table


def runs(base: dict[int, list[float]]) -> list[dict]:
    return [{"shots": k, "base": x} for k, own in base.items() for x in own]


def test_race_is_won_by_the_largest_gain():
    first = {"zero-shot": {0: [0.5]}, "A": {1: [0.4, 0.5]}, "<B>": {1: [0.45]}}
    second = {"zero-shot": {0: [0.25]}, "A": {1: [0.45]}, "late": {4: [0.9]}}
    studies = {
        name: {"tables": {comparison.TITLE: {m: runs(r) for m, r in table.items()}}}
        for name, table in (("first", first), ("second", second))
    }
    gains = comparison.race(studies, 1)
    assert [name for name, _ in gains] == ["A", "<B>"]
    assert [round(gain, 4) for _, gain in gains] == [20, -5]
    drawn = comparison.race_html(gains)
    assert drawn.count("█") == 20 and "&lt;B&gt;" in drawn
