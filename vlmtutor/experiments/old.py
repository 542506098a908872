"""The dense bench's results stored before there was one rule, as today's rows.

Each row says "old rule, 3 seeds"; what was not noted is None.  This module
goes when they have been run again, or carried over as parts.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from .. import stored
from .rows import SCHEMA, rule


def old_rows(stem: str) -> list[dict]:
    """The rows of ``notebooks/results/STEM.json``."""
    notes = stored.load(stem)
    return [{**row, "backbone": notes["model"]["name"]} for row in _dense(notes)]


def _row(method: str, name: str, runs: Sequence[dict], scores, **more) -> dict:
    """A row of runs, one a seed; ``scores`` names those of their figures."""
    seeds = [run.get("seed", 0) for run in runs]
    by_seed = {s: [r[s] for r in runs] for s in scores}
    return {
        **dict.fromkeys(SCHEMA),
        "method": method,
        "row": name,
        "scores": {s: round(statistics.mean(v), 4) for s, v in by_seed.items()},
        "by_seed": by_seed,
        "seeds": seeds,
        "checks": [],
        "rule": rule(len(seeds), carried=True),
        **more,
    }


def _mean(runs: Sequence[dict], key: str) -> float | None:
    values = [run[key] for run in runs if key in run]
    return round(statistics.mean(values), 4) if values else None


def _dense(notes: dict) -> Iterator[dict]:
    apart = ("seed", "trained", "fit_s", "ms_per_picture")
    methods = {
        name: (method["rows"], method["checks"], method["chosen"])
        for name, method in notes["methods"].items()
    }
    for row in notes["references"]:
        methods[row["method"]] = [row], [], {}
    for method, (rows, checks, chosen) in methods.items():
        for k, row in enumerate(rows):
            runs = row["runs"]
            told = [
                {**check, "name": check["claim"], "value": check["difference"]}
                for check in (checks if k == 0 else ())
            ]
            yield _row(
                method,
                row["method"],
                runs,
                [key for key in runs[0] if key not in apart],
                table=row.get("table", "reference"),
                supervision=row["needs"],
                chosen=chosen.get(row["method"]),
                fit_s=_mean(runs, "fit_s"),
                ms=_mean(runs, "ms_per_picture"),
                trained=runs[0].get("trained"),
                checks=told,
            )
