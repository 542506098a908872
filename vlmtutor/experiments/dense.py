"""The dense methods, one protocol: segmentation.

A part is a method, with a row for each of its settings; one more part has the
rows that methods are read against, and the figures that say whether the world
is fit for the comparison.  Three tables that are never mixed: what needs no
masks, what learns from base masks and meets novel names when predicting, and
what is told them before.
"""

from __future__ import annotations

import functools
import time

import numpy as np

from ..distill.bench.gates import check_types, closed, measure
from ..distill.bench.protocol import Bench, Protocol
from ..distill.bench.references import REFERENCES
from ..distill.bench.trial import Trial
from ..distill.methods import METHODS, get_method
from ..verdict import Check, resample, resample_mean
from . import grid
from .experiment import Experiment, Seconds, open_backbone

TUNING_SEED = 9  # its scenes are no run's
REFERENCE = "references"  # the part of what methods are read against


@functools.lru_cache(maxsize=1)  # a bench is large, and seeds come in turn
def open_bench(seed: int, backbone: str, pseudo: bool = False) -> Bench:
    """The bench of a seed, with pseudo-novel names if knobs are chosen."""
    protocol = Protocol(seed)
    protocol = protocol.pseudo() if pseudo else protocol
    return Bench(open_backbone(backbone), protocol)


def choose(name: str, backbone: str) -> dict:
    """The knobs of each row of a method, by h on pseudo-novel names."""
    if name == REFERENCE:
        return {"chosen": {}, "grid": {}}
    module = get_method(name)
    found = {}
    for info in module.ROWS:
        trial = Trial(open_bench(TUNING_SEED, backbone, pseudo=True), module.fit)
        found[info.name] = grid.choose(
            info.knobs,
            lambda t=trial, i=info, **knobs: t.result(i, **knobs).scores()["h"],
        )
    return {
        key: {row: one[key] for row, one in found.items()} for key in ("chosen", "grid")
    }


def method(name: str, seed: int, backbone: str, chosen: dict) -> dict:
    """Rows and measured checks of a method for one world seed."""
    seconds = Seconds()
    with seconds("shared_s"):
        bench = open_bench(seed, backbone).prepare()
    module = get_method(name)
    trial = Trial(bench, module.fit, chosen)
    rows = [{**row_of(trial, info), **seconds} for info in module.ROWS]
    checks = [measured(check, seed) for check in module.checks(trial)]
    bench.forget()  # the next method starts with as much memory
    return {"rows": rows, "checks": checks}


def row_of(trial: Trial, info) -> dict:
    """A row's facts and figures, in the terms of :mod:`.rows`."""
    kinds = info.needs if isinstance(info.needs, tuple) else (info.needs,)
    return {
        "row": info.name,
        "table": info.table,
        "supervision": " + ".join(kind.__name__ for kind in kinds),
        **trial.row(info),
    }


def measured(check: Check, seed: int) -> dict:
    """A check's difference on this seed's pictures, and on resamples."""
    a, b = check.better, check.worse
    if hasattr(a, "scores"):
        figure = check.score

        def difference(w):
            return a.scores(w)[figure] - b.scores(w)[figure]

        return check.measured(resample(difference, len(a), seed))
    found = resample_mean(np.asarray(a) - np.asarray(b), seed)
    return {**check.measured(found), "score": "value"}


def references(name: str, seed: int, backbone: str, chosen: dict) -> dict:
    """Floors, ceilings and oracles; and the gates' figures."""
    bench = open_bench(seed, backbone).prepare()
    check_types(bench)
    figures = measure(bench)
    rows = []
    for reference in REFERENCES:
        begun = time.perf_counter()
        result = reference.result(bench)
        seconds = round(time.perf_counter() - begun, 1)
        rows.append(
            {
                "row": reference.name,
                "table": "reference",
                "supervision": reference.needs,
                "scores": {k: round(v, 4) for k, v in result.scores().items()},
                "fit_s": seconds,
                "gate": not closed(figures),
            }
        )
    bench.forget()
    return {"rows": rows, "gates": figures, "closed": closed(figures)}


def code(name: str) -> list[str]:
    """The modules behind a part."""
    if name == REFERENCE:
        return ["vlmtutor.distill.bench.references", "vlmtutor.distill.bench.gates"]
    return [get_method(name).__name__]


TASK = "segmentation"
EXPERIMENT = Experiment(
    name=TASK,
    about="14 dense methods on one protocol, with floors and ceilings",
    parts={REFERENCE: references}
    | {n: method for n, home in METHODS.items() if home.startswith(f"{TASK}.")},
    choose=choose,
    code=code,
)
