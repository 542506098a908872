"""Results of the dense bench as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from ..methods import TABLES


def spread(runs: Sequence[dict], name: str, factor: float = 100) -> str:
    """ "60.1 [59.8–60.5]" of one figure over seeds."""
    values = [factor * run[name] for run in runs if name in run]
    if not values:
        return ""
    if len(values) == 1:
        return f"{values[0]:.1f}"
    mean = statistics.mean(values)
    return f"{mean:.1f} [{min(values):.1f}–{max(values):.1f}]"


COLUMNS = {
    "S": "mIoU S",
    "U": "mIoU U",
    "h": "h",
    "naming": "naming",
    "foreground": "foreground",
}


def markdown(notes: dict) -> str:
    """The three tables, the references and the checks."""
    lines = []
    rows = [r for m in notes["methods"].values() for r in m["rows"]]
    for table, title in (("reference", "references"), *TABLES.items()):
        if table == "reference":
            chosen = notes.get("references", [])
        else:
            chosen = [r for r in rows if r["table"] == table]
        if not chosen:
            continue
        head = ["method", "supervision", *COLUMNS.values(), "trained", "fit s"]
        lines += [f"### {title.capitalize()}", "", _row(head)]
        lines.append(_row(["---"] * len(head)))
        for r in chosen:
            cells = [r["method"], r["needs"]]
            cells += [spread(r["runs"], key) for key in COLUMNS]
            cells += [
                str(r["runs"][0].get("trained", "")),
                spread(r["runs"], "fit_s", 1),
            ]
            lines.append(_row(cells))
        lines.append("")
    lines += ["### Checks", ""]
    head = ["method", "claim", "score", "difference", "5–95 %", "seeds", "verdict"]
    lines += [_row(head), _row(["---"] * len(head))]
    for name, method in notes["methods"].items():
        for v in method["checks"]:
            interval = f"{100 * v['low']:+.1f} to {100 * v['high']:+.1f}"
            lines.append(
                _row(
                    [
                        name,
                        v["claim"],
                        v["score"],
                        f"{100 * v['difference']:+.1f}",
                        interval,
                        str(len(v["by_seed"])),
                        v["verdict"],
                    ]
                )
            )
    return "\n".join(lines) + "\n"


def stored_results(notes: dict, methods: Sequence[str]) -> str:
    """Stored rows and verdicts of some methods, for a notebook to print.

    Each row with its table and S, U and h as means over seeds and their
    range, in points; each check with the difference and its 5–95 % interval.
    """
    lines = []
    for name in methods:
        method = notes["methods"][name]
        for row in method["rows"]:
            scores = (f"{key} {spread(row['runs'], key)}" for key in ("S", "U", "h"))
            lines += [f"{row['method']} ({row['table']})"]
            lines += ["    " + "  ".join(scores)]
        for v in method["checks"]:
            low, high = 100 * v["low"], 100 * v["high"]
            lines += [f"  {v['verdict'].upper()}: {v['claim']}"]
            lines += [
                f"    {v['score']} {100 * v['difference']:+.1f} "
                f"[{low:+.1f}, {high:+.1f}], seeds: {len(v['by_seed'])}"
            ]
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
