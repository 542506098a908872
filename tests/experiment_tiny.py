"""Small experiments whose parts another process can import."""

from __future__ import annotations

import os
import time
from pathlib import Path

import torch

from vlmtutor.distill.parts.texts import TEMPLATES, text_classifier
from vlmtutor.distill.pictures import once
from vlmtutor.experiments.experiment import Experiment, Seconds, open_backbone
from vlmtutor.experiments.grid import choose
from vlmtutor.experiments.run import run
from vlmtutor.verdict import Check, resample_mean


def draw(name: str, seed: int, backbone: str) -> dict:
    """Numbers from global generators, which a part must not have to seed."""
    seconds = Seconds()
    with seconds("fit_s"):
        hits = torch.rand(20) < (0.9 if name == "good" else 0.5)
    check = Check("better than a coin", "good", "coin", "accuracy")
    return {
        "rows": [
            {
                "row": f"{name} row",
                "scores": {"accuracy": float(hits.float().mean())},
                "step0": {"accuracy": 0.5},
                "threads": torch.get_num_threads(),
                "steps": 3,
                **seconds,
            }
        ],
        "checks": [check.measured(resample_mean(hits.double() - 0.5, seed))],
    }


def knob(name: str, backbone: str) -> dict:
    return choose({"lr": (1, 2, 3)}, lambda lr: -((lr - 2) ** 2))


def with_knob(name: str, seed: int, backbone: str, chosen: dict) -> dict:
    return {"scores": {"lr": chosen["lr"], "seed": seed}}


def breaks(name: str, seed: int, backbone: str) -> dict:
    if seed == 1:
        raise ValueError("the second seed is bad")
    return {"scores": {"x": 1.0}}


def waits(name: str, seed: int, backbone: str) -> dict:
    """Notes that it ran; "slow" parts wait until a file lets them go."""
    folder = Path(os.environ["VLMTUTOR_TEST_FOLDER"])
    with (folder / "ran").open("a") as file:
        file.write(f"{name} {seed} {os.getpid()}\n")
    while name == "slow" and not (folder / "go").exists():
        time.sleep(0.02)
    return {"scores": {"seed": float(seed)}}


def asks(name: str, seed: int, backbone: str) -> dict:
    """How many names were encoded before it asks for some."""
    clip = open_backbone(backbone)
    kept = len(once(clip, ("names", *TEMPLATES), dict))
    text_classifier(clip, ["cat", "dog"])
    return {"scores": {"kept": float(kept)}}


def difference(found: dict) -> list[dict]:
    """A check between parts, of one seed."""
    if not {"good", "coin"} <= found.keys():
        return []
    good, coin = (found[n]["rows"][0]["scores"]["accuracy"] for n in ("good", "coin"))
    value = {"value": good - coin, "draws": [good - coin]}
    check = Check("good beats coin", "good", "coin", "accuracy", effect=0.02)
    return [{**check.measured(value), "method": "good"}]


def code(name: str) -> list[str]:
    """Modules of the package in place of this one."""
    return [f"vlmtutor.{'verdict' if name == 'good' else 'table'}"]


DRAWS = Experiment(
    "draws", "coins", {"good": draw, "coin": draw}, compare=difference, code=code
)
KNOBS = Experiment("knobs", "a knob", {"a": with_knob}, seeds=2, choose=knob, code=code)
BROKEN = Experiment("broken", "raises", {"a": breaks}, seeds=3, code=code)
ASKING = Experiment("asking", "asks", {"a": asks, "b": asks}, seeds=2, code=code)
WAITING = Experiment(
    "waiting", "waits", {"quick": waits, "slow": waits}, seeds=2, code=code
)


def main() -> None:
    folder = Path(os.environ["VLMTUTOR_TEST_FOLDER"])
    run(WAITING, workers=2, path=folder / "waiting.json")
