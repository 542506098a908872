"""The tidy file of the comparison: every stored score, one number a line.

``python -m vlmtutor comparison`` makes ``notebooks/results/comparison.csv``
of all stored results; :data:`COLUMNS` and :data:`SCORES` say what stands in
it, here and in ``comparison.md`` beside it.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np

from ... import stored
from .. import METHODS

FILE = stored.FOLDER / "comparison.csv"
SEGMENTATION, DETECTION = "segmentation", "detection"
CLEAN, NOISY, BASE_ONLY = "clean", "noisy", "base-only boxes"
TODAY, EARLIER = "today", "earlier"
REFERENCE = "reference"  # the table of floors and oracles
COLUMNS = {
    "method": "part of an experiment, mostly a method",
    "row": "the method in one setting",
    "task": "segmentation, detection, transfer, pre-training or small student",
    "table": "what was told in training; rows of other tables do not compare",
    "backbone": "the CLIP that it rests on",
    "program": f"{TODAY!r}, or {EARLIER!r}: an earlier program, under another rule",
    "scenes": f"{CLEAN!r}, {NOISY!r}, {BASE_ONLY!r} (training), or a task's; "
    "empty for costs",
    "seed": "of the world, the training and the test scenes",
    "score": "which figure; see below",
    "value": "scores from 0 to 1, costs in the unit of their name",
}
SCORES = {
    "S, U, h": "segmentation: mean IoU of base and of novel names, harmonic mean",
    "all, foreground, naming": "mean IoU of all names; IoU of things, whatever "
    "their name; mean IoU of names on things' pixels",
    "box S, box U, box h": "AP50 of boxes; of detectors by one rule of ranking for all",
    "own box S, own box U, own box h": "the same by the rule of the paper",
    "mask S, mask U": "AP50 of masks; a detector's are its boxes' regions",
    "…, before training": "the same row at step 0",
    "…, true masks": "told which regions there are (names and order its own); "
    "likewise true names, true ranking, true boxes, true order",
    "ms": "milliseconds a test picture",
    "fit s, shared s, teacher s": "seconds of a fit, of what rows share, of the "
    "teacher's answers",
    "trained, steps": "parameters that are trained, and optimiser steps",
    "gate": "by how much S is over what has to be reached, below 0: too little",
}


@dataclass(frozen=True, order=True)
class Score:
    """A line of the file; the fields are :data:`COLUMNS`."""

    method: str
    row: str
    task: str
    table: str
    backbone: str
    program: str
    scenes: str
    seed: int
    score: str
    value: float


def lines(scores: Iterable[Score]) -> Iterable[tuple]:
    """The file's lines as tuples, its head first."""
    yield tuple(COLUMNS)
    yield from map(astuple, scores)


def read_scores(path: Path | None = None) -> list[Score]:
    """What stands in the file, in its order.

    Raises FileNotFoundError where there is none, ValueError where a line has
    another form; both say how it is made again.
    """
    path = Path(path or FILE)
    way_on = "python -m vlmtutor comparison makes it again"
    if not path.exists():
        raise FileNotFoundError(f"there is no {path}; {way_on}")
    with path.open(encoding="utf-8", newline="") as file:
        head, *rest = list(csv.reader(file)) or [[]]
    if tuple(head) != tuple(COLUMNS):
        raise ValueError(f"{path} has other columns: {head}; {way_on}")
    try:
        return [Score(*r[:7], int(r[7]), r[8], float(r[9])) for r in rest]
    except (ValueError, IndexError) as error:
        raise ValueError(
            f"{path} has a line of another form ({error}); {way_on}"
        ) from None


def select(scores: Iterable[Score], **wanted) -> list[Score]:
    """Those whose fields have the values asked for."""
    return [s for s in scores if all(getattr(s, k) == v for k, v in wanted.items())]


def by_row(scores: Iterable[Score]) -> dict[str, dict[int, float]]:
    """{row: {seed: value}} of scores of one kind.

    Raises ValueError where a row has two values for a seed: ask for less.
    """
    found: dict[str, dict[int, float]] = {}
    for score in scores:
        own = found.setdefault(score.row, {})
        if score.seed in own:
            raise ValueError(f"{score.row}, seed {score.seed} has several values")
        own[score.seed] = score.value
    return found


def mean(values: Mapping[int, float]) -> float:
    """Of the seeds' values."""
    return float(np.mean([*values.values()]))


def main_rows(scores: Sequence[Score], task: str, backbone: str) -> dict[str, str]:
    """{method: its row}, for pictures in which a method is one point.

    The row that is called as the method is, else the first; a method without
    any is left out.
    """
    own: dict[str, list[str]] = {}
    for score in select(scores, task=task, backbone=backbone):
        if score.method in METHODS:
            own.setdefault(score.method, []).append(score.row)
    return {
        method: method if method in own[method] else own[method][0]
        for method in METHODS
        if method in own
    }


def of_methods(
    scores: Sequence[Score],
    score: str,
    task: str,
    backbone: str,
    scenes: str = CLEAN,
) -> dict[str, dict[int, float]]:
    """{method: {seed: value}} of each method's main row."""
    rows = main_rows(scores, task, backbone)
    kind = {"score": score, "task": task, "backbone": backbone, "scenes": scenes}
    own = (s for s in select(scores, **kind) if rows.get(s.method) == s.row)
    values = by_row(own)
    return {m: values[row] for m, row in rows.items() if row in values}


def missing(scores: Sequence[Score], task: str, backbone: str) -> list[str]:
    """Methods of a task without a line of today's program on a backbone."""
    done = {s.method for s in select(scores, backbone=backbone, program=TODAY)}
    own = [m for m, home in METHODS.items() if home.startswith(f"{task}.")]
    return [method for method in own if method not in done]


def how_far(scores: Sequence[Score], backbones: Sequence[str]) -> list[tuple]:
    """(task, backbone, methods measured today, methods, seeds) of both tasks.

    Seeds as (fewest, most) of those methods; (0, 0) where there are none.
    """
    found = []
    for task in (SEGMENTATION, DETECTION):
        of_task = [m for m, home in METHODS.items() if home.startswith(f"{task}.")]
        for backbone in backbones:
            some = select(scores, task=task, backbone=backbone, program=TODAY)
            pairs = {(s.method, s.seed) for s in some if s.method in of_task}
            seeds = Counter(method for method, _ in pairs).values() or [0]
            done = len(of_task) - len(missing(scores, task, backbone))
            many = min(seeds), max(seeds)
            found.append((task, backbone, done, len(of_task), many))
    return found
