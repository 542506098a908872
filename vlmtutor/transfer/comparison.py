"""All transfer methods in one table: what each costs, brings and keeps.

Figures are means over seeds on the task that the studies of notebooks 08, 09
and 10 share.  Studies and seeds have test pictures of their own, so gains are
counted from zero-shot on the same pictures, in percentage points.
"""

from __future__ import annotations

import html
import statistics
from collections.abc import Sequence

from ..table import table

TITLE = "mixed, sketch"
STUDIES = ("08_prompt_tuning", "09_visual_and_unified_prompts", "10_adapters")
COLUMNS = {
    "parameters": "trainable",
    "views": "views",
    "seconds": "seconds",
    "one": "1 shot",
    "many": "16 shots",
    "novel": "novel",
    "kept": "kept",
}
COSTS = ("parameters", "views", "seconds")

GAINS = {
    "one": ("base", 1),
    "many": ("base", 16),
    "novel": ("novel", 16),
    "kept": ("kept", 16),
}
PROMPTS = ("CoOp", "KgCoOp", "ProGrad", "CoCoOp")  # what counts of notebook 08


def rows(prompts: dict, visual: dict, adapters: dict) -> list[dict]:
    """The table of three studies, as :func:`.report.study` gives them.

    Of a method that is in several studies the first counts.
    """
    baseline = adapters["tables"][TITLE]["zero-shot"]
    found = {"zero-shot": _row("zero-shot", baseline, None, 0, seconds=0.0)}
    for study in (prompts, visual, adapters):
        table = study["tables"][TITLE]
        for method in PROMPTS if study is prompts else table:
            if method not in (*found, "hand prompt"):
                trained = study["parameters"][method]
                zero = table["zero-shot"]
                found[method] = _row(method, table[method], zero, trained)
    line = adapters["WiSE-FT"]  # counted half-way between its ends
    half, start = ([r for r in line if r["alpha"] == a] for a in (0.5, 0))
    found["WiSE-FT"] = _row("WiSE-FT", half, start, half[0]["trained"])
    return list(found.values())


def _row(method, runs, zero, trained: int, seconds: float | None = None) -> dict:
    """Costs, and points above the runs ``zero`` (in per cent without them)."""
    gains = {}
    for key, (what, shots) in GAINS.items():
        value = _mean(runs, what, shots)
        if value is not None:
            start = _mean(beside(zero, runs), what, shots) if zero else 0
            value = round(100 * (value - start), 1)
        gains[key] = value
    if seconds is None:
        seconds = round(_mean(runs, "seconds", 16), 2)
    seen = [run["views"] for run in runs if run["shots"] == 16 and run.get("views")]
    costs = {"parameters": trained, "views": max(seen, default=None)}
    return {"method": method, **costs, "seconds": seconds, **gains}


def beside(zero: Sequence[dict], runs: Sequence[dict]) -> list[dict]:
    """The zero-shot runs on the test pictures of other runs: of their seeds.

    A single one counts for every seed.
    """
    if len(zero) == 1:
        return list(zero)
    seeds = {run["seed"] for run in runs}
    return [run for run in zero if run["seed"] in seeds]


def _mean(runs, what: str, shots: int) -> float | None:
    """Over seeds; runs without shots count for any number of them."""
    found = [run[what] for run in runs if run["shots"] in (shots, 0) and what in run]
    return statistics.mean(found) if found else None


def as_html(rows: list[dict], by: str = "many", marked: str = "") -> str:
    """The table, sorted by a column (the baseline first)."""
    return table(_cells(rows, by), _HEADS, "html", marked=marked)


def as_text(rows: list[dict], by: str = "many") -> str:
    """The same in letters that stand below each other."""
    return table(_cells(rows, by), _HEADS, widths=(26, 10))


_HEADS = ["method", *COLUMNS.values()]


def _cells(rows: list[dict], by: str) -> list[list[str | None]]:
    return [
        [row["method"], *(shown(row, key) for key in COLUMNS)]
        for row in ordered(rows, by)
    ]


def ordered(rows: list[dict], by: str) -> list[dict]:
    """Zero-shot, then the best first; costs with the smallest first."""
    sign = 1 if by in COSTS else -1

    def key(row):
        missing = row[by] is None
        return missing, 0 if missing else sign * row[by], row["method"]

    baseline = [row for row in rows if row["method"] == "zero-shot"]
    others = [row for row in rows if row["method"] != "zero-shot"]
    return baseline + sorted(others, key=key)


def shown(row: dict, column: str) -> str | None:
    """A cell: the baseline in per cent, the others in points above it."""
    value = row[column]
    if value is None:
        return None
    if column in ("parameters", "views"):
        return f"{value:,}"
    if column == "seconds":
        return f"{value:.1f}"
    return f"{value:.0f}" if row["method"] == "zero-shot" else f"{value:+.0f}"


def race(studies: Sequence[dict], shots: int) -> list[tuple[str, float]]:
    """Points above zero-shot after ``shots`` pictures a class, best first.

    Of each method the study that comes last counts; those that were not run
    with so many pictures are left out.
    """
    gains = {}
    for study in studies:
        runs = study["tables"][TITLE]
        for name, rows in runs.items():
            own = [row for row in rows if row["shots"] == shots]
            if own:
                same = beside(runs["zero-shot"], own)
                means = [statistics.mean(r["base"] for r in x) for x in (own, same)]
                gains[name] = 100 * (means[0] - means[1])
    return sorted(gains.items(), key=lambda item: -item[1])


def race_html(gains: list[tuple[str, float]]) -> str:
    """Bars of text, so that a reader without colours sees them too."""
    lines = [
        f"{name:26}{gain:+6.1f} {'█' * max(0, round(gain))}" for name, gain in gains
    ]
    return f"<pre>{html.escape(chr(10).join(lines))}</pre>"
