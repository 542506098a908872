"""Stored numbers whose code has changed: fit one seed again and compare."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from pathlib import Path

from .experiment import Experiment, keep, key_of, open_notes
from .run import Failed, results

TOLERANCE = 0.002  # of every score


def verify(
    experiment: Experiment,
    only: Sequence[str] = (),
    workers: int = 1,
    path: Path | None = None,
) -> str:
    """Refit one seed of each part whose code has changed; what was found.

    Where all scores agree within .002 the new hash is written for all seeds
    of the part, with a note of who vouches for it.  Raises
    :class:`.run.Failed` naming the parts that do not agree.
    """
    path = path or experiment.path()
    notes = open_notes(experiment, path)
    stale: dict[str, list[dict]] = {}
    for record in notes["parts"]:
        part = record["part"]
        known = part in experiment.parts and (not only or part in only)
        if known and record["code"] != experiment.hash(part):
            stale.setdefault(part, []).append(record)
    if not stale:
        return "no code has changed"
    choices = {key_of(record): record["chosen"] for record in notes["choices"]}
    first = {key_of(records[0]): records for records in stale.values()}
    lines, wrong = [], {}
    for new in results(experiment, list(first), choices, workers):
        if "seed" not in new:  # a choice that was never stored
            continue
        records = first[key_of(new)]
        name, off = largest_difference(records[0], new)
        if off > TOLERANCE:
            wrong[key_of(new)] = f"{name} differs by {off:.4f}"
            continue
        lines.append(f"{new['part']}: {len(records)} seeds vouched for by one")
        note = {
            "date": datetime.date.today().isoformat(),
            "seed": new["seed"],
            "largest_difference": round(off, 4),
        }
        for record in records:
            before = {"before": record["code"]}
            record |= {"code": new["code"], "verified": {**note, **before}}
        keep(experiment, path, *records)
    if wrong:
        raise Failed(wrong)
    return "\n".join(lines)


def largest_difference(old: dict, new: dict) -> tuple[str, float]:
    """The score that differs most, and by how much; one that is gone: by inf."""
    before, after = (dict(_scores(record)) for record in (old, new))
    gone = before.keys() ^ after.keys()
    if gone:
        return min(gone), float("inf")
    apart = {name: abs(before[name] - after[name]) for name in before}
    return max(apart.items(), key=lambda pair: pair[1], default=("", 0.0))


def _scores(record: dict) -> Iterator[tuple[str, float]]:
    for row in record.get("rows", [record]):
        yield from _leaves(row.get("scores", {}), row.get("row", record["part"]))


def _leaves(value, name: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}, {key}")
    elif value is not None:
        yield name, float(value)
