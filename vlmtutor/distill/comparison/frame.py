"""Transfer and distillation in one frame: points gained, seconds spent.

Each method is counted from what the same CLIP does untrained, on its own
score: heights compare within a stage, never across.
"""

from __future__ import annotations

from collections.abc import Sequence

from .tidy import Score, by_row, main_rows, mean, of_methods, select

TITLE, SHOTS = "mixed, sketch", 16  # the task that notebooks 08 to 10 share
UNTRAINED = {  # of the dense tasks: (row, score)
    "segmentation": ("MaskCLIP, raw", "U"),
    "detection": ("boxes around CLIP's patches", "box U"),
}


def gains(scores: Sequence[Score], backbones: Sequence[str]) -> list[dict]:
    """A dict a method: "stage", "name", "seconds", "points", "backbone", "program".

    Of each stage on the first of ``backbones`` that it has been measured on.
    """
    found = []
    for stage in ("transfer", *UNTRAINED):
        for backbone in backbones:
            some = select(scores, task=stage, backbone=backbone)
            own = _transfer(some) if stage == "transfer" else _dense(some, stage)
            if own:
                programs = {s.method: s.program for s in some}
                for name, points, seconds in own:
                    head = {"stage": stage, "name": name, "backbone": backbone}
                    head |= {"points": points, "seconds": seconds}
                    found.append(head | {"program": programs[name]})
                break
    return found


def _transfer(scores: Sequence[Score]) -> list[tuple[str, float, float]]:
    """(method, points over zero-shot on classes that it learned, seconds)."""
    found: dict[str, tuple[str, float, float]] = {}
    for table in dict.fromkeys(s.table for s in scores):
        own = select(scores, table=table)
        start = [
            s.value
            for s in select(own, method="zero-shot", row=f"{TITLE}, 0 shots")
            if s.score == "base"
        ]
        for method in dict.fromkeys(s.method for s in own):
            rows = select(own, method=method, row=f"{TITLE}, {SHOTS} shots")
            base = by_row(select(rows, score="base"))
            spent = by_row(select(rows, score="fit s"))
            if start and base and spent and method not in found:
                (values,), (seconds,) = base.values(), spent.values()
                points = 100 * (mean(values) - sum(start) / len(start))
                found[method] = method, points, mean(seconds)
    return list(found.values())


def _dense(scores: Sequence[Score], task: str) -> list[tuple[str, float, float]]:
    """(method, points of U over the untrained read-out, seconds of the fit)."""
    row, kind = UNTRAINED[task]
    start = by_row(select(scores, row=row, score=kind, scenes="clean")).get(row)
    if start is None or not scores:
        return []
    backbone = scores[0].backbone
    values = of_methods(scores, kind, task, backbone)
    spent = of_methods(scores, "fit s", task, backbone, scenes="")
    return [
        (method, 100 * (mean(values[method]) - mean(start)), mean(spent[method]))
        for method in main_rows(scores, task, backbone)
        if method in values and method in spent
    ]
