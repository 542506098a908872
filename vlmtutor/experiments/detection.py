"""The dense methods, one protocol: detection.

A part is a method, with a row for each of its settings; one more part has the
rows that methods are read against, and the gates; another asks, with three
seeds, what it matters that novel things stand unlabelled among the boxes.
Scores are given by the paper's rule of ranking ("own") and by a common one;
knobs are chosen by the paper's rule on pseudo-novel names.

PhraseCLIP comes first: in the mean of eight seeds all gates are open with it.
The tightest asks that "oln" finds .20 more of the novel things than "neg" with
ten boxes a picture: it finds .25 more, but for three of the seeds .11 to .19.
"""

from __future__ import annotations

import functools
import inspect
import time

from ..distill.bench.box_gates import (
    box_room,
    check_boxes,
    closed_boxes,
    gate_report,
    measure_boxes,
    reference,
)
from ..distill.bench.box_references import BOX_REFERENCES
from ..distill.bench.boxed import BoxBench, BoxProtocol
from ..distill.bench.trial import Trial, rounded
from ..distill.detection import vild
from ..distill.methods import METHODS, get_method
from ..distill.parts.box_regions import lesson_with, shared_regions
from ..distill.supervision import Boxed
from . import grid
from .dense import PHRASECLIP, REFERENCE, TUNING_SEED, measured, row_of
from .experiment import STICKERCLIP, Experiment, open_backbone
from .predictions import BOX_PREDICTIONS

GROUND = "what the background is worth"
DOMAIN = "noisy"  # of the test scenes that are answered besides


@functools.lru_cache(maxsize=1)  # a bench is large, and seeds come in turn
def open_bench(
    seed: int, backbone: str, pseudo: bool = False, background: bool = True
) -> BoxBench:
    """The bench of a seed, with pseudo-novel names if knobs are chosen."""
    protocol = BoxProtocol(seed, background=background)
    protocol = protocol.pseudo() if pseudo else protocol
    return BoxBench(open_backbone(backbone), protocol)


def choose(name: str, backbone: str) -> dict:
    """The knobs of each row of a method, by h on pseudo-novel names.

    The references choose nothing; what is expected of the methods is kept in
    their place, before any of them runs.
    """
    if name == REFERENCE:
        return {"chosen": {}, "grid": {}, "predictions": BOX_PREDICTIONS}
    if name not in METHODS:
        return {"chosen": {}, "grid": {}}
    module, found = get_method(name), {}
    for info in module.ROWS:
        bench = open_bench(TUNING_SEED, backbone, pseudo=True).prepare()
        trial = Trial(bench, module.fit)
        found[info.name] = grid.choose(
            info.knobs,
            lambda t=trial, i=info, **knobs: t.bench.judge_own(
                t.model(i, **knobs)
            ).scores()["h"],
            getattr(module, "PAPER", None),
        )
    return {
        key: {row: one[key] for row, one in found.items()} for key in ("chosen", "grid")
    } | {"paper": getattr(module, "PAPER", {})}


def assets(bench: BoxBench, module=None) -> dict[str, float]:
    """Make what methods share, and ask a method's teacher; the seconds it took.

    For the data of each of its rows, if those differ.
    """
    proposer, seconds = bench.prepare().proposer()
    data = bench.data(Boxed)
    lesson = lesson_with(proposer, data)
    shared_regions(proposer, bench.test_pictures)
    costs = {"shared_s": seconds}
    rows = getattr(module, "ROWS", ())
    for needs in dict.fromkeys(info.needs for info in rows):
        own = bench.clip, bench.data(needs), lesson, bench.protocol.seed
        for name, cost in (("prepare", "shared_s"), ("teach", "teacher_s")):
            if hasattr(module, name):
                costs[cost] = costs.get(cost, 0.0) + getattr(module, name)(*own)
    return {name: round(cost, 2) for name, cost in costs.items()}


def method(name: str, seed: int, backbone: str, chosen: dict) -> dict:
    """Rows and measured checks of a method for one world seed.

    StickerCLIP was shown where things are: it gives rows, and no verdict.
    """
    bench, module = open_bench(seed, backbone), get_method(name)
    costs = assets(bench, module)
    trial = Trial(bench, module.fit, chosen)
    steps = inspect.signature(module.fit).parameters["steps"].default
    rows = []
    for info in module.ROWS:
        row = {"steps": steps, **row_of(trial, info), **costs}
        row["supervision"] += f" + {info.uses}" * bool(info.uses)
        model, seen = trial.model(info), bench.seen if info.split else None
        row["ms"] = milliseconds(bench, model, seen)
        worse = bench.answer(model, bench.in_domain(DOMAIN), seen=seen)
        row["scores"][DOMAIN] = rounded(worse.own.scores())
        row["scores"]["oracles"] = rounded(bench.oracles(model))
        if getattr(model, "labels", None) is not None:  # made by itself
            quality = bench.quality(model.labels, module.PARTS[info.name])
            row["scores"]["labels"] = rounded(quality.scores())
        if hasattr(model, "proposed"):  # it names boxes that something proposed
            row["scores"]["fates"] = rounded(bench.fates(model, seen))
        rows.append(row)
    checks = [] if backbone == STICKERCLIP else module.checks(trial)
    checks = [measured(check, seed) for check in checks]
    bench.forget()  # the next method starts with as much memory
    return {"rows": rows, "checks": checks}


def milliseconds(bench: BoxBench, model, seen) -> float:
    """What a test picture costs once CLIP has read it: boxes, and their names."""
    pictures = bench.test_pictures[:]  # nothing that others have made of them
    begun = time.perf_counter()
    model.detect(pictures, bench.names, seen)
    return round(1000 * (time.perf_counter() - begun) / len(pictures), 1)


def references(name: str, seed: int, backbone: str, chosen: dict) -> dict:
    """Floors, ceilings and oracles; and the gates' figures, which are printed."""
    bench = open_bench(seed, backbone)
    costs = assets(bench)
    check_boxes(bench)
    figures = measure_boxes(bench)
    print(gate_report(figures), flush=True)
    rows = []
    for one in BOX_REFERENCES:
        result, seconds = reference(bench, one.name)
        rows.append(
            {
                "row": one.name,
                "table": "reference",
                "supervision": one.needs,
                "scores": rounded(result.table()),
                "fit_s": seconds,
                "gate": round(box_room(figures), 4),
                **costs,
            }
        )
    bench.forget()
    return {"rows": rows, "gates": figures, "closed": closed_boxes(figures)}


def ground(name: str, seed: int, backbone: str, chosen: dict) -> dict:
    """ViLD and its text half where novel things are background, and where not."""
    rows = []
    for background in (True, False):
        other = {} if background else {"background": False}
        bench = open_bench(seed, backbone, **other)  # the seed's own is open
        costs = assets(bench, vild)
        for title, weight in (("text head", 0), ("ViLD", 1.0)):
            for kind in ("oln", "neg"):
                settings = {"weight": weight, "kind": kind}
                model = vild.fit(bench.clip, bench.data(Boxed), seed, **settings)
                where = "among the boxes" if background else "elsewhere"
                rows.append(
                    {
                        "row": f"{title}, {kind}, novel things {where}",
                        "table": "ablation",
                        "supervision": "Boxed",
                        "scores": rounded(bench.answer(model).table()),
                        **costs,
                    }
                )
        bench.forget()
    return {"rows": rows}


def code(name: str) -> list[str]:
    """The modules behind a part."""
    if name in METHODS:
        return [get_method(name).__name__]
    bench = "vlmtutor.distill.bench"
    return [f"{bench}.box_references", f"{bench}.box_gates"]


TASK = "detection"
EXPERIMENT = Experiment(
    name=TASK,
    about="methods that draw boxes on one protocol, with floors and ceilings",
    parts={REFERENCE: references}
    | {n: method for n, home in METHODS.items() if home.startswith(f"{TASK}.")}
    | {GROUND: ground},
    backbones=(PHRASECLIP, STICKERCLIP),
    fewer={GROUND: 3, STICKERCLIP: 3},
    by_seed=True,
    choose=choose,
    code=code,
)
