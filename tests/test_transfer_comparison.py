"""All transfer methods in one table, and their race."""

from __future__ import annotations

from vlmtutor.transfer import comparison

ZERO = {"method": "zero-shot", "parameters": 0, "views": None, "seconds": 0.0}
ZERO |= {"one": 50.0, "many": 50.0, "novel": 60.0, "kept": 90.0}
A = {"method": "A", "parameters": 1234, "views": 3200, "seconds": 2.0, "one": -5.0}
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
    assert text[1].split() == ["zero-shot", "0", "–", "0.0", "50", "50", "60", "90"]
    shown = ["A", "1,234", "3,200", "2.0", "-5", "+25", "-10", "-10"]
    assert text[2].split() == shown
    assert text[3].split()[-2:] == ["–", "–"]
    table = comparison.as_html(ROWS, "many", marked="A")
    assert "&lt;B&gt;" in table and "<b>→ A</b>" in table


def runs(base: dict[int, list[float]]) -> list[dict]:
    return [
        {"shots": k, "base": x, "seed": seed}
        for k, own in base.items()
        for seed, x in enumerate(own)
    ]


def test_race_is_won_by_the_largest_gain():
    first = {"zero-shot": {0: [0.5]}, "A": {1: [0.4, 0.5]}, "<B>": {1: [0.45]}}
    second = {"zero-shot": {0: [0.25]}, "A": {1: [0.45]}, "late": {4: [0.9]}}
    studies = [
        {"tables": {comparison.TITLE: {m: runs(r) for m, r in table.items()}}}
        for table in (first, second)
    ]
    gains = comparison.race(studies, 1)
    assert [name for name, _ in gains] == ["A", "<B>"]
    assert [round(gain, 4) for _, gain in gains] == [20, -5]
    drawn = comparison.race_html(gains)
    assert drawn.count("█") == 20 and "&lt;B&gt;" in drawn


def test_gains_are_counted_from_zero_shot_of_the_same_seeds():
    """Each has test pictures of its own."""
    table = {"zero-shot": runs({0: [0.5, 0.7]}), "A": runs({1: [0.6, 0.8]})}
    table["B"] = runs({1: [0.7]})  # of the first seed alone
    gains = comparison.race([{"tables": {comparison.TITLE: table}}], 1)
    assert {name: round(gain, 4) for name, gain in gains} == {"A": 10, "B": 20}
    assert comparison.beside(table["zero-shot"], table["B"]) == runs({0: [0.5]})
    once = runs({0: [0.5]})  # runs of an earlier program: one for all seeds
    assert comparison.beside(once, [{"seed": 2}]) == once


def study(*methods: str) -> dict:
    """Zero-shot and methods that gain 10 points with each doubling."""
    costs = {"novel": 0.6, "kept": 0.9, "seconds": 2.0}
    zero = [{"shots": 0, "base": 0.5, **costs}]
    learned = [
        {"shots": k, "base": base, **costs, "novel": 0.5, "views": 10 * k}
        for k, base in ((1, 0.6), (1, 0.7), (16, 0.8), (16, 0.9))
    ]
    table = {"zero-shot": zero, "hand prompt": zero}
    table |= {method: learned for method in methods}
    return {
        "tables": {comparison.TITLE: table},
        "parameters": {method: 7 for method in methods},
    }


def test_rows_of_three_studies():
    adapters = study("linear probe", "TaskRes")
    adapters["WiSE-FT"] = [
        {"shots": k, "alpha": a, "base": 0.5 + a, "kept": 0.9, "seconds": 6.0}
        | {"novel": 0.6, "trained": 9, "seed": 0}
        for k in (1, 16)
        for a in (0, 0.25, 0.5)
    ]
    prompts = study(*comparison.PROMPTS, "linear probe", "TPT")
    zero, *others = comparison.rows(prompts, study("CoOp", "VP"), adapters)
    names = [row["method"] for row in others]
    assert names == [*comparison.PROMPTS, "VP", "linear probe", "TaskRes", "WiSE-FT"]
    assert zero == {**ZERO, "method": "zero-shot"}
    assert others[0] == {
        "method": "CoOp",
        "parameters": 7,
        "views": 160,
        "seconds": 2.0,
        "one": 15.0,
        "many": 35.0,
        "novel": -10.0,
        "kept": 0.0,
    }
    wise = {"parameters": 9, "views": None, "seconds": 6.0, "one": 50.0, "many": 50.0}
    assert others[-1] == {"method": "WiSE-FT", **wise, "novel": 0.0, "kept": 0.0}
