"""Stored rows and verdicts of the bench, for a notebook to print."""

from __future__ import annotations

from collections.abc import Sequence

from ...table import spread
from .references import FLOORS, ORACLES

LIVE = 20  # seconds of a fit that a reader may be asked to wait for


def scores_of(row: dict, names: Sequence[str] = "SUh") -> str:
    """Scores of a stored row in points, each the mean of seeds and their range."""
    return "  ".join(f"{name} {spread(row['by_seed'][name])}" for name in names)


def mark(row: dict) -> str:
    """What must be known of a row: a long fit, a closed gate."""
    notes = []
    if (row.get("fit_s") or 0) > LIVE:
        notes.append(f"stored: a fit takes {row['fit_s']:.0f} s")
    if row.get("gate") is False and row["table"] != "reference":
        notes.append("S is not 5 over the untrained read-out")
    return f" [{'; '.join(notes)}]" if notes else ""


def table_of(rows: Sequence[dict], kind: str) -> str:
    """The stored rows of one table, between its floors and its oracles."""
    known = {row["row"]: row for row in rows if row["table"] == "reference"}
    floors, oracles = (
        [known[name] for name in names if name in known] for names in (FLOORS, ORACLES)
    )
    own = [row for row in rows if row["table"] == kind]
    shown = [*floors, *own, *oracles]
    wide = max((len(row["row"]) for row in shown), default=0)
    return "\n".join(f"{r['row']:{wide}}  {scores_of(r)}{mark(r)}" for r in shown)


def stored_results(rows: Sequence[dict], methods: Sequence[str]) -> str:
    """Some methods' stored rows and what became of their papers' claims.

    Each row with its table and S, U and h; each check with the difference, in
    points, and its interval.
    """
    lines = []
    for method in methods:
        own = [row for row in rows if row["method"] == method]
        for row in own:
            lines += [f"{row['row']} ({row['table']}){mark(row)}"]
            lines += [f"    {scores_of(row)}"]
        for check in (check for row in own for check in row["checks"]):
            low, high = 100 * check["low"], 100 * check["high"]
            lines += [f"  {check['verdict'].upper()}: {check['name']}"]
            lines += [
                f"    {check['score']} {100 * check['value']:+.1f} "
                f"[{low:+.1f}, {high:+.1f}], seeds: {len(check['by_seed'])}"
            ]
    return "\n".join(lines)
