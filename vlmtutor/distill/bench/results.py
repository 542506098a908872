"""Stored rows and verdicts of the bench, for a notebook to print."""

from __future__ import annotations

from collections.abc import Sequence

from ...table import spread


def scores_of(row: dict, names: Sequence[str] = "SUh") -> str:
    """Scores of a stored row in points, each the mean of seeds and their range."""
    return "  ".join(f"{name} {spread(row['by_seed'][name])}" for name in names)


def stored_results(rows: Sequence[dict], methods: Sequence[str]) -> str:
    """Some methods' stored rows and what became of their papers' claims.

    Each row with its table and S, U and h; each check with the difference, in
    points, and its interval.
    """
    lines = []
    for method in methods:
        own = [row for row in rows if row["method"] == method]
        for row in own:
            lines += [f"{row['row']} ({row['table']})", f"    {scores_of(row)}"]
        for check in (check for row in own for check in row["checks"]):
            low, high = 100 * check["low"], 100 * check["high"]
            lines += [f"  {check['verdict'].upper()}: {check['name']}"]
            lines += [
                f"    {check['score']} {100 * check['value']:+.1f} "
                f"[{low:+.1f}, {high:+.1f}], seeds: {len(check['by_seed'])}"
            ]
    return "\n".join(lines)
