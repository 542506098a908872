"""Do more names help unseen ones?  20, 60 and 200 at as many pictures.

Mask scenes show stickers of more names, captions speak of more; what is tested
stays.  Where U rises, an order of methods on a few names is one of small
vocabularies.  Three seeds: no verdict.
"""

from __future__ import annotations

import functools
from dataclasses import replace

from ..distill.bench.protocol import BASE, NOVEL, Bench, Protocol
from ..distill.bench.trial import Trial
from ..distill.methods import get_method
from . import dense
from .experiment import Experiment, Seconds, open_backbone, open_notes

METHODS = ("LSeg", "ZegCLIP", "OpenSeg")
NAMES = (20, 60, 200)


def chosen_before(method: str, backbone: str) -> dict:
    """The knobs that the bench chose: {row: knobs}.

    Raises LookupError where it has not chosen any yet.
    """
    for record in open_notes(dense.EXPERIMENT)["choices"]:
        if (record["part"], record["backbone"]) == (method, backbone):
            return record["chosen"]
    raise LookupError(
        f"no knobs of {method} on {backbone} are stored; they are chosen by: "
        f"python -m vlmtutor experiment {dense.TASK} --only {method}"
    )


@functools.lru_cache(maxsize=1)
def open_bench(seed: int, backbone: str, names: int) -> Bench:
    """The bench of a seed whose masks and captions know ``names`` names."""
    others = max(0, names - len(BASE) - len(NOVEL))
    protocol = replace(Protocol(seed), more=names - len(BASE), distractors=others)
    return Bench(open_backbone(backbone), protocol)


def measure(name: str, seed: int, backbone: str) -> dict:
    """The first row of a method with so many names."""
    method, names = name.split(", ")
    seconds = Seconds()
    with seconds("shared_s"):
        bench = open_bench(seed, backbone, int(names)).prepare()
    module = get_method(method)
    knobs = chosen_before(method, backbone)
    info = module.ROWS[0]
    trial = Trial(bench, module.fit, knobs)
    row = dense.full_row(trial, info, seconds["shared_s"])
    bench.forget()
    told = {"row": f"{info.name}, {names} names", "table": "sweep"}
    return {**row, **told, "chosen": knobs.get(info.name, {})}


EXPERIMENT = Experiment(
    name="segmentation_names",
    about="LSeg, ZegCLIP and OpenSeg with 20, 60 and 200 names at as many pictures",
    parts={f"{method}, {n}": measure for method in METHODS for n in NAMES},
    seeds=3,
    backbones=(dense.PHRASECLIP,),
    code=lambda name: [get_method(name.split(", ")[0]).__name__],
)
