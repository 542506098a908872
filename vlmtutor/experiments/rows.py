"""Stored parts of an experiment as rows and verdicts: means over seeds.

A part's row is a dict with any of :data:`FIELDS`, a "row" (its name, that of
the part by default) and more as it likes:

``scores``, ``step0``
    figures of this seed, and the same before training; may be nested
``table``, ``supervision``, ``gate``
    which table it belongs to, what it was given, and whether it passed, or by
    how much: over seeds the mean must be 0 or more, or its checks conclude
    nothing
``steps``, ``trained``
    optimiser steps, trained parameters
``teacher_s``, ``shared_s``, ``fit_s``, ``ms``
    seconds of teachers, of assets that rows share, of the fit; and
    milliseconds a picture
``chosen``, ``grid``
    knobs, and all that were tried, where the part itself chose
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from .. import verdict
from ..table import spread, table
from .experiment import CARRIED, Experiment, key_of

FIELDS = ("table", "supervision", "scores", "step0", "chosen", "grid", "steps")
FIELDS += ("teacher_s", "shared_s", "fit_s", "ms", "trained", "gate")
MEASURED = ("scores", "step0", "teacher_s", "shared_s", "fit_s", "ms")
SCHEMA = ("method", "row", "backbone", "table", "supervision", "scores", "by_seed")
SCHEMA += ("step0", "seeds", "chosen", "grid", "steps", "teacher_s", "shared_s")
SCHEMA += ("fit_s", "ms", "trained", "gate", "code_changed", "checks", "rule")
CHECK_SCHEMA = ("name", "low", "high", "by_seed", "verdict")


def rows(experiment: Experiment, notes: dict) -> list[dict]:
    """One row for each of a part's rows and backbone, seeds taken together.

    The first row of a part carries its checks.
    """
    groups: dict[tuple, list[dict]] = {}
    for record in notes["parts"]:
        groups.setdefault((record["part"], record["backbone"]), []).append(record)
    choices = {key_of(record): record for record in notes["choices"]}
    found = []
    for (part, backbone), records in groups.items():
        choice = choices.get((part, backbone, None), {})
        own: dict[str, list[dict]] = {}
        for record in records:
            for row in record.get("rows", [record]):
                own.setdefault(row.get("row", part), []).append(
                    {**row, "seed": record["seed"], CARRIED: CARRIED in record}
                )
        for name, runs in own.items():
            found.append(together(part, name, backbone, runs, choice))
    for check in checks(experiment, notes):
        owner = _owner(found, check)
        if owner["gate"] is False:
            why = {"verdict": verdict.BUDGET_LIMITED, "budget": experiment.closed}
            check = {**check, **why}
        owner["checks"].append(check)
    return found


def rule(seeds: int, carried: bool) -> str:
    """By which rule a row may be judged, in words."""
    if seeds == 1:
        return verdict.ONE_RUN
    kind = "two-level bootstrap" if seeds >= verdict.SEEDS else verdict.NO_VERDICT
    return f"{'old rule' if carried else kind}, {seeds} seeds"


def mark_changed(experiment: Experiment, notes: dict, found: list[dict]) -> None:
    """Say of each row whether its code has changed; None where none is known.

    It has as soon as that of one of its seeds has.
    """
    stale: dict[tuple, bool] = {}
    for record in notes["parts"]:
        if record["part"] in experiment.parts and record["code"]:
            key = key_of(record)[:2]
            changed = record["code"] != experiment.hash(record["part"])
            stale[key] = stale.get(key, False) or changed
    for row in found:
        row["code_changed"] = stale.get((row["method"], row["backbone"]))


def together(
    part: str, name: str, backbone: str, runs: Sequence[dict], choice: dict
) -> dict:
    """One row of the runs of several seeds."""
    first = runs[0]
    row: dict = dict.fromkeys(SCHEMA)
    row |= {"method": part, "row": name, "backbone": backbone, "checks": []}
    row["rule"] = rule(len(runs), any(run[CARRIED] for run in runs))
    row["seeds"] = [run["seed"] for run in runs]
    for key in FIELDS:
        row[key] = first.get(key)
        if key in MEASURED:
            row[key] = _over([run.get(key) for run in runs], _mean)
    row["gate"] = passed([run["gate"] for run in runs if run.get("gate") is not None])
    row["by_seed"] = _over([run.get("scores") for run in runs], list)
    for key in ("chosen", "grid"):
        if row[key] is None:
            given = choice.get(key)
            several = isinstance(given, dict) and name in given
            row[key] = given[name] if several else given
    return row


def passed(gates: list) -> bool | None:
    """Whether seeds passed: all of them, or their mean surplus is at least 0."""
    surplus = [gate - 1 if isinstance(gate, bool) else gate for gate in gates]
    return statistics.mean(surplus) >= 0 if gates else None


def _over(values: list, f: Callable):
    """``f`` of the values of each figure, nested as they are."""
    there = [value for value in values if value is not None]
    if not any(isinstance(value, dict) for value in there):
        return f(values) if there else None
    names = dict.fromkeys(name for value in there for name in value)
    return {name: _over([(v or {}).get(name) for v in values], f) for name in names}


def _mean(values: list) -> float:
    return round(statistics.mean(v for v in values if v is not None), 4)


def checks(experiment: Experiment, notes: dict) -> list[dict]:
    """Verdicts over seeds: of checks within parts, then of those between.

    Those of an earlier rule stand until the part has been run again.
    """
    measured: dict[tuple, list[dict]] = {}

    def add(check: dict, method: str, backbone: str) -> None:
        key = check.get("method", method), backbone, check["name"]
        measured.setdefault(key, []).append(check)

    of_seed: dict[tuple, dict] = {}
    for record in notes["parts"]:
        part, backbone, seed = key_of(record)
        of_seed.setdefault((seed, backbone), {})[part] = record
        for check in record.get("checks", ()):
            add(check, part, backbone)
    if experiment.compare:
        for (_, backbone), found in of_seed.items():
            for check in experiment.compare(found):
                add(check, next(iter(found)), backbone)
    carried = {key_of(r)[:2] for r in notes["parts"] if CARRIED in r}
    return [
        check
        for check in notes.get("old checks", ())
        if (check["method"], check["backbone"]) in carried
    ] + [
        {
            "name": name,
            "method": method,
            "backbone": backbone,
            "row": runs[0].get("row"),
            "score": runs[0].get("score"),
            **verdict.judge(
                runs, **{k: runs[0][k] for k in verdict.TERMS if k in runs[0]}
            ),
        }
        for (method, backbone, name), runs in measured.items()
    ]


def _owner(rows: list[dict], check: dict) -> dict:
    own = [r for r in rows if r["method"] == check["method"]]
    own = [r for r in own if r["backbone"] == check["backbone"]]
    return next((r for r in own if r["row"] == check["row"]), own[0])


def as_json(name: str, found: Sequence[dict]) -> dict:
    """What ``--stored --json`` prints."""

    def plain(row: dict) -> dict:
        own = [{k: check.get(k) for k in CHECK_SCHEMA} for check in row["checks"]]
        return {**{k: row.get(k) for k in SCHEMA}, "checks": own}

    return {"name": name, "rows": [plain(row) for row in found]}


def as_text(found: Sequence[dict]) -> str:
    """What ``--stored`` prints: rows, verdicts, and what has changed since.

    Scores that stand in groups are too many for a line: it has those that
    stand alone or, where all do, the first group.
    """
    groups = _groups(found)
    shown = [_first(row["by_seed"] or {}) for row in found]
    names = list(dict.fromkeys(name for own in shown for name in own))
    lines = []
    for row, own in zip(found, shown, strict=True):
        scores = [
            spread([v for v in own.get(n, ()) if v is not None]) or None for n in names
        ]
        changed = {True: "code has changed", False: "", None: "code unknown"}
        lines.append(
            [row["method"], row["row"], row["backbone"], *scores]
            + [row["rule"], changed[row["code_changed"]]]
        )
    head = ["method", "row", "backbone", *names, "rule", ""]
    checks = [
        {**check, "name": f"{row['method']}: {check['name']}"}
        for row in found
        for check in row["checks"]
    ]
    new = [check for check in checks if "p" in check]
    # What the old rule's intervals say is another thing.
    old = [{**c, "low": None, "high": None} for c in checks if "p" not in c]
    reports = [verdict.report(judged) for judged in (new, old) if judged]
    left = [f"with --json also: {', '.join(groups)}"] if groups else []
    return "\n\n".join([table(lines, head), *left, *reports])


def _first(by_seed: dict) -> dict:
    """The scores that stand alone, else those of the first group."""
    alone = {k: v for k, v in by_seed.items() if not isinstance(v, dict)}
    return alone or next(iter(by_seed.values()), {})


def _groups(found: Sequence[dict]) -> list[str]:
    """Names of the groups of scores that :func:`_first` leaves out."""
    names = {}
    for row in found:
        own = row["by_seed"] or {}
        grouped = [k for k, v in own.items() if isinstance(v, dict)]
        names |= dict.fromkeys(grouped[len(grouped) == len(own) :])
    return list(names)
