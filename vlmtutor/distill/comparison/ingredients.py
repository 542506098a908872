"""What each method is made of, and what a switch of one ingredient does.

``ingredients.toml`` says for each method, in its main row, which of nine
ingredients it has here; its source is the text at the head of the method's
module.  Methods with an ingredient differ from those without in much else:
only checks and pairs of rows that differ in one thing tell what it is worth.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ...verdict import LEVEL
from .. import METHODS
from .tidy import Score, mean, of_methods, select

FILE = Path(__file__).with_suffix(".toml")
_DATA = tomllib.loads(FILE.read_text(encoding="utf-8"))
INGREDIENTS: dict[str, str] = _DATA["ingredients"]  # name → what it means
SWITCHES = {  # (method, check) → the ingredients that the check switches at once
    (method, check): tuple(switched)
    for method, own in _DATA["switches"].items()
    for check, switched in own.items()
}
LEAST = 4  # methods on each side, below which a difference has no interval
PAIRS = {  # (row with, row without) that differ in one ingredient alone
    (pair["more"], pair["less"]): pair["ingredient"] for pair in _DATA["pairs"]
}


def has(method: str, ingredient: str) -> bool:
    """Whether a method has an ingredient; raises KeyError for an unknown one."""
    if ingredient not in INGREDIENTS:
        raise KeyError(f"no ingredient {ingredient!r}: {', '.join(INGREDIENTS)}")
    return ingredient in _DATA["methods"][method]


def source(method: str) -> str:
    """The module whose head tells, from the package's folder."""
    return f"distill/{METHODS[method].replace('.', '/')}.py"


def naive(
    values: Mapping[str, Mapping[int, float]], ingredient: str, draws: int = 1000
) -> dict | None:
    """Mean of methods with an ingredient minus mean of those without.

    ``values`` {method: {seed: value}}.  "value", "low" and "high", by a
    bootstrap over methods; None where one side has fewer than four.
    """
    means = {method: mean(own) for method, own in values.items()}
    with_it, without = (
        np.array([v for m, v in means.items() if has(m, ingredient) == side])
        for side in (True, False)
    )
    if min(len(with_it), len(without)) < LEAST:
        return None
    rng = np.random.default_rng(0)
    sides = with_it, without
    drawn = [o[rng.integers(len(o), size=(draws, len(o)))].mean(1) for o in sides]
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(drawn[0] - drawn[1], [tail, 100 - tail])
    return {
        "value": float(with_it.mean() - without.mean()),
        "low": float(low),
        "high": float(high),
        "with": len(with_it),
        "without": len(without),
    }


def paired(
    checks: Sequence[dict], scores: Sequence[Score], backbone: str
) -> dict[str, list[dict]]:
    """{ingredient: effects}, of checks and of pairs of rows, on a backbone.

    An effect has "name", "task", "value", "by_seed", "verdict", which is None
    for pairs of rows (nobody has claimed them), and "also": what else the same
    switch takes away.
    """
    found: dict[str, list[dict]] = {name: [] for name in INGREDIENTS}
    for check in checks:
        switched = SWITCHES.get((check["method"], check["name"]))
        if switched and check["backbone"] == backbone and not check.get("old"):
            name = f"{check['method']}: {check['name']}"
            first, *also = switched
            found[first].append({**check, "name": name, "also": also})
    for (more, less), ingredient in PAIRS.items():
        own = [_novel(scores, row, backbone) for row in (more, less)]
        seeds = sorted(own[0].keys() & own[1].keys())
        task = next((s.task for s in scores if s.row == more), None)
        if seeds:
            by_seed = [own[0][s] - own[1][s] for s in seeds]
            name, value = f"{more} beside {less}", float(np.mean(by_seed))
            effect = {"name": name, "task": task, "value": value, "also": []}
            found[ingredient].append(effect | {"by_seed": by_seed, "verdict": None})
    return found


def _novel(scores: Sequence[Score], row: str, backbone: str) -> dict[int, float]:
    """U of a row on clean scenes by seed: mIoU, or AP50 by the common rule."""
    some = select(scores, row=row, backbone=backbone, scenes="clean")
    kind = {"segmentation": "U", "detection": "box U"}
    return {s.seed: s.value for s in some if s.score == kind.get(s.task)}


def rooms(
    scores: Sequence[Score], task: str, backbone: str
) -> dict[str, dict[str, float]]:
    """{method: {what it is told: points of U that this brings}}, main rows."""
    told = {
        "segmentation": ("U, true masks", "U, true names", "U, true ranking"),
        "detection": (
            "own box U, true boxes",
            "own box U, true names",
            "own box U, true order",
        ),
    }[task]
    plain = of_methods(scores, told[0].split(",")[0], task, backbone)
    found: dict[str, dict[str, float]] = {}
    for score in told:
        for method, own in of_methods(scores, score, task, backbone).items():
            gain = mean(own) - mean(plain[method])
            found.setdefault(method, {})[score.split(", ")[1]] = 100 * gain
    return found
