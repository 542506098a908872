"""CLIP on few pairs, with other losses beside it, and on more pairs."""

from __future__ import annotations

from ...lessons.what_next import data as world
from ...lessons.what_next import efficient
from ...verdict import Check
from ..lessons import rounded
from .shared import TEST, measured

LONG_VIEW = "one view, equal arithmetic"
LONG = {"CLIP, equal arithmetic": "CLIP", LONG_VIEW: "one view"}
FEW = (
    Check("one view in place of the picture helps", "one view", "CLIP"),
    Check("SLIP helps", "SLIP", "CLIP"),
    Check("SimSiam helps", "SimSiam", "CLIP"),
    Check("the nearest text helps", "nearest text", "CLIP"),
    Check("two views and two texts help", "two views, two texts", "CLIP"),
    Check("two views help where two texts are", "two views, two texts", "two texts"),
    Check("SLIP beats as much arithmetic on one view", "SLIP", LONG_VIEW),
    Check(
        "two views and two texts beat as much arithmetic on one view",
        "two views, two texts",
        LONG_VIEW,
    ),
)


def few_pairs(name: str, seed: int, backbone: str) -> dict:
    """CLIP on more and more pairs; on 250 what is added to it."""
    material = world.make_data(max(efficient.SIZES), TEST, seed, spoken=True)
    words = efficient.wordings(material)
    rows, right, curve = [], {}, {}

    def run(row: str, arm: str, n: int, steps: int) -> None:
        model = efficient.Model(world.config(material, seed))
        loss = efficient.Objective(arm, words, seed)
        model, history = world.train(material, loss, n, steps, seed, model)
        right[row] = world.right(model, material.test, material.prompts)
        seconds = round(history.seconds, 1)
        named = {"names": right[row].mean().item()}
        own = {"arm": arm, "pairs": n, "steps": steps, "fit_s": seconds}
        rows.append({"row": row, "scores": rounded(named), **own})

    few, steps = efficient.PAIRS, world.STEPS
    for n in efficient.SIZES:
        run("CLIP" if n == few else f"CLIP, {n} pairs", "CLIP", n, steps)
        curve[n] = rows[-1]["scores"]["names"]
    for arm in efficient.ARMS[1:]:
        run(arm, arm, few, steps)
    dear = efficient.equal_steps(material, "SLIP", steps)
    for row, arm in LONG.items():
        run(row, arm, few, dear)
    for row in rows:
        if row["pairs"] == few:
            times = efficient.multiplier(curve, few, row["scores"]["names"])
            row["scores"]["times the pairs"] = round(times, 4)
    return {"rows": rows, "checks": measured(FEW, right, seed)}
