"""The dense methods, one protocol: segmentation.

A part is a method, with a row for each of its settings; one more part has the
rows that methods are read against, and the figures that say whether the world
is fit for the comparison.  Four tables that are never mixed: what needs no
masks, what learns from base masks and meets novel names when predicting, what
reads captions, and what is told novel names before.  Who has base masks has to
beat the untrained read-out on seen names before unseen ones are spoken of.

``ms`` is what comes after CLIP's own pass over a picture, which all methods
share and which is made before.  The reference "proposed masks, true names" has
the shared proposer at its usual 150 steps, whatever a method's row has chosen.
"""

from __future__ import annotations

import functools
import time

import numpy as np

from ..distill.bench.gates import OVER, check_types, closed, measure, room
from ..distill.bench.protocol import Bench, Protocol
from ..distill.bench.references import REFERENCES, UNTRAINED
from ..distill.bench.regions import region_figures
from ..distill.bench.trial import Trial
from ..distill.methods import METHODS, get_method
from ..distill.supervision import Masked
from ..verdict import Check, resample, resample_mean
from . import grid
from .experiment import STICKERCLIP, Experiment, Seconds, open_backbone
from .gradients import task_cosines

TUNING_SEED = 98  # its scenes are no run's, nor the next one's
TUNING_SEEDS = (TUNING_SEED, TUNING_SEED + 1)
PHRASECLIP = "phraseclip"  # told pairs alone: what verdicts are of
REFERENCE = "references"  # the part of what methods are read against


@functools.lru_cache(maxsize=2)  # a bench is large, and seeds come in turn
def open_bench(seed: int, backbone: str, pseudo: bool = False) -> Bench:
    """The bench of a seed, with pseudo-novel names if knobs are chosen."""
    protocol = Protocol(seed)
    protocol = protocol.pseudo() if pseudo else protocol
    return Bench(open_backbone(backbone), protocol)


def choose(name: str, backbone: str) -> dict:
    """The knobs of each row of a method, by h on pseudo-novel names.

    The grids are kept, with the seconds of each fit: over numbers of steps
    they are learning curves.  StickerCLIP, of which there is no verdict, is
    asked on one seed at least, PhraseCLIP on all.
    """
    if name == REFERENCE:
        return {"chosen": {}, "grid": {}}
    module = get_method(name)
    seeds = TUNING_SEEDS[:1] if backbone == STICKERCLIP else TUNING_SEEDS
    benches = [open_bench(seed, backbone, pseudo=True) for seed in seeds]
    trials = [Trial(bench, module.fit) for bench in benches]

    def score(info, **knobs) -> dict:
        scores = [trial.result(info, **knobs).scores() for trial in trials]
        means = {k: float(np.mean([s[k] for s in scores])) for k in "hSU"}
        seconds = np.mean([trial.seconds(info, **knobs) for trial in trials])
        return {"score": means.pop("h"), **means, "fit_s": seconds}

    found = {
        info.name: grid.choose(info.knobs, functools.partial(score, info))
        for info in module.ROWS
    }
    for bench in benches:
        bench.forget()
    return {
        key: {row: one[key] for row, one in found.items()} for key in ("chosen", "grid")
    }


def method(name: str, seed: int, backbone: str, chosen: dict) -> dict:
    """Rows and measured checks of a method for one world seed.

    StickerCLIP was shown where things are: it gives rows, and no verdict.
    """
    seconds = Seconds()
    with seconds("shared_s"):
        bench = open_bench(seed, backbone).prepare()
    module = get_method(name)
    trial = Trial(bench, module.fit, chosen)
    rows = [full_row(trial, info, seconds["shared_s"]) for info in module.ROWS]
    checks = [] if backbone == STICKERCLIP else module.checks(trial)
    checks = [measured(check, seed) for check in checks]
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


def full_row(trial: Trial, info, shared_s: float = 0.0) -> dict:
    """The same with all that a comparison needs.

    Scores on noisy scenes, those of regions, those before training, and by
    how much S of who has base masks exceeds the untrained read-out's; of one
    network for several tasks, how its tasks' gradients agree.
    """
    row, model = row_of(trial, info), trial.model(info)
    row["shared_s"] = round(row["shared_s"] + shared_s, 1)
    row["scores"]["noisy"] = trial.noisy(info)
    if getattr(model, "proposer", None) is not None:
        told = trial.pictures(info), trial.seen(info)
        row["scores"] |= region_figures(trial.bench, model, *told)
    row |= {"step0": trial.before(info), "steps": trial.steps(info)}
    row |= task_cosines(trial, info)
    kinds = info.needs if isinstance(info.needs, tuple) else (info.needs,)
    if any(issubclass(kind, Masked) for kind in kinds):
        untrained = trial.reference(UNTRAINED).scores()["S"]
        row["gate"] = round(row["scores"]["S"] - untrained - OVER, 4)
    return row


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
                "gate": round(room(figures), 4),
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
    backbones=(PHRASECLIP, STICKERCLIP),
    fewer={STICKERCLIP: 3},
    choose=choose,
    code=code,
)
