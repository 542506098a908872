"""Knobs, chosen on validation data; the whole grid is kept with the choice."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence


def combinations(grid: Mapping[str, Sequence]) -> Iterator[dict]:
    """Every combination of a grid; an empty grid has one, of nothing."""
    for values in itertools.product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


def choose(
    grid: Mapping[str, Sequence],
    score: Callable[..., float | dict],
    paper: Mapping | None = None,
) -> dict:
    """Try all of a grid with ``score(**knobs)`` and keep the best.

    ``score`` measures on validation scenes and pseudo-novel names, never on
    what the tables report; it gives a number, or a dict with a "score" among
    others.  Returns {"chosen": knobs, "grid": [{**knobs, "score", …}]}, with
    the ``paper``'s values beside them if they are given.  Of equals the first
    wins.  Nothing is tried where the grid leaves no choice.
    """
    tried = list(combinations(grid))
    if len(tried) == 1:
        found = {"chosen": tried[0], "grid": []}
    else:
        rows = []
        for knobs in tried:
            value = score(**knobs)
            value = value if isinstance(value, dict) else {"score": value}
            value = {k: round(float(v), 4) for k, v in value.items()}
            rows.append({**knobs, **value})
        best = max(rows, key=lambda row: row["score"])
        found = {"chosen": {k: best[k] for k in grid}, "grid": rows}
    return {**found, "paper": dict(paper)} if paper else found
