"""What a score costs: seconds, and who is beaten at lower cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ... import stored
from ...models.catalog import shipped
from .tidy import Score, main_rows, mean, of_methods, select

PARTS = ("pre-training", "shared s", "teacher s", "fit s")  # as they are stacked


def front(costs: Sequence[float], scores: Sequence[float]) -> list[int]:
    """Places of the Pareto front, the cheapest first.

    Of it is who has no rival that is as cheap and as good, and better in one.
    """
    order = sorted(range(len(costs)), key=lambda k: (costs[k], -scores[k]))
    kept, best = [], float("-inf")
    for k in order:
        if scores[k] > best:
            kept.append(k)
            best = scores[k]
    return kept


def pretraining_seconds(backbone: str) -> float:
    """Seconds in which a shipped CLIP was trained, on its own accelerator.

    Those of the run that it went on from are added.  Raises KeyError for
    another model.
    """
    known = shipped(backbone)
    if known is None:
        raise KeyError(f"{backbone} does not ship with the course")
    told = stored.read(known[1] / "training.json")
    return float(told["seconds"] + (told.get("before") or {}).get("seconds", 0))


def seconds(scores: Iterable[Score], task: str, backbone: str) -> dict[str, dict]:
    """{method: {part of :data:`PARTS`: seconds}} of main rows, means over seeds.

    A part that no line tells of took no time.
    """
    scores = list(scores)
    before = pretraining_seconds(backbone)
    found: dict[str, dict] = {}
    for part in PARTS[1:]:
        own = of_methods(scores, part, task, backbone, scenes="")
        for method, values in own.items():
            found.setdefault(method, dict.fromkeys(PARTS, 0.0) | {PARTS[0]: before})
            found[method][part] = mean(values)
    return found


def points(scores: Sequence[Score], task: str, backbone: str, score: str) -> list[dict]:
    """A dict a method: "name", "table", "value", "ms", "seconds", "seeds".

    Seconds are those after pre-training.  Means over seeds of main
    rows; without what has not been measured.
    """
    values = of_methods(scores, score, task, backbone)
    ms = of_methods(scores, "ms", task, backbone, scenes="")
    spent = seconds(scores, task, backbone)
    rows = main_rows(scores, task, backbone)
    some = select(scores, task=task, backbone=backbone)
    tables = {(s.method, s.row): s.table for s in some}
    return [
        {
            "name": method,
            "table": tables[method, rows[method]],
            "value": mean(values[method]),
            "seeds": len(values[method]),
            "ms": mean(ms[method]),
            "seconds": sum(v for k, v in spent[method].items() if k != PARTS[0]),
        }
        for method in values
        if method in ms and method in spent
    ]


def stacked(parts: Mapping[str, float]) -> str:
    """ "560 + 83 + 0 + 12 s": seconds part by part."""
    return " + ".join(f"{parts[part]:.0f}" for part in PARTS) + " s"
