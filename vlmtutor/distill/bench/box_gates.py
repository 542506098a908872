"""Is the world fit for comparing detectors?  Measured before any method runs.

CLIP must be able to name a crop of a novel thing; the proposer that takes
nothing for background must find novel things, and one that does must not, or
there is nothing to see of it; and boxes of novel things must be worth a lot
more than their words, or methods have no room to differ.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..parts.box_proposer import propose_boxes, timed_once
from ..parts.boxes import pairwise_iou
from ..parts.texts import text_classifier
from ..supervision import Boxed
from .box_references import (
    ORACLE,
    TEXT_HEAD,
    Looking,
    find_box_reference,
)
from .boxed import BoxBench
from .gates import GateClosed
from .ranked import Ranked

FOUND = 0.5  # overlap from which on a thing is found

# What each figure must reach; accuracies are of true boxes.
BOX_LIMITS = {
    "accuracy of square crops, novel": 0.70,
    "recall of 10 boxes, novel (oln)": 0.80,
    "recall of 10 boxes, novel: oln less neg": 0.20,
    "U of novel boxes less U of words alone": 0.30,
}
# Measured, but no condition.
BOX_TOLD = (
    "accuracy of square crops, base",
    "accuracy of stretched crops, novel",
    "accuracy of patches, base",
    "accuracy of patches, novel",
    "recall of 10 boxes, base (oln)",
    "recall of 10 boxes, base (neg)",
    "recall of 10 boxes, novel (neg)",
    "novel things in scenes with boxes, share",
)


def measure_boxes(bench: BoxBench) -> dict[str, float]:
    """All figures of :data:`BOX_LIMITS` and :data:`BOX_TOLD`."""
    figures = {**_accuracies(bench), **_recalls(bench)}
    oracle, text = (reference(bench, name)[0] for name in (ORACLE, TEXT_HEAD))
    room = oracle.scores()["U"] - text.scores()["U"]
    figures["U of novel boxes less U of words alone"] = room
    things = [o.name for scene in bench.scenes("boxes") for o in scene.objects]
    novel = sum(name in bench.novel for name in things)
    figures["novel things in scenes with boxes, share"] = novel / len(things)
    return {name: round(value, 4) for name, value in figures.items()}


def reference(bench: BoxBench, name: str) -> tuple[Ranked, float]:
    """How a reference row does, once for all of the bench, and its seconds."""
    make = find_box_reference(name).result
    return timed_once(bench, ("reference", name), lambda: make(bench))


def _halves(bench: BoxBench, right: Tensor, labels: Tensor) -> tuple[float, float]:
    novel = labels >= len(bench.base)
    return tuple(float(right[half].float().mean()) for half in (~novel, novel))


def _accuracies(bench: BoxBench) -> dict[str, float]:
    found = bench.true_regions()
    there = found.quality > 0
    labels = bench.true_labels()
    texts = text_classifier(bench.clip, bench.names)
    figures = {}
    for title, view in (
        ("square crops", "both crops"),
        ("stretched crops", "stretched crops"),
        ("patches", "patches"),
    ):
        model = Looking(clip=bench.clip, proposer=None, view=view)
        embeds = model.embeds(found, bench.test_pictures)[there]
        right = (embeds @ texts.T).argmax(-1) == labels
        base, novel = _halves(bench, right, labels)
        if view != "stretched crops":
            figures[f"accuracy of {title}, base"] = base
        figures[f"accuracy of {title}, novel"] = novel
    return figures


def _recalls(bench: BoxBench) -> dict[str, float]:
    truths, figures = bench.true_boxes(bench.names), {}
    labels = bench.true_labels()
    for kind in ("oln", "neg"):
        spots = propose_boxes(bench.proposer(kind)[0], bench.test_pictures, 10)
        found = []
        for truth, boxes, sure in zip(truths, spots.boxes, spots.quality, strict=True):
            things = torch.tensor(truth["boxes"], dtype=torch.float).reshape(-1, 4)
            overlap = pairwise_iou(things, boxes) * (sure > 0)
            found.append(overlap.amax(1) >= FOUND)
        base, novel = _halves(bench, torch.cat(found), labels)
        figures[f"recall of 10 boxes, base ({kind})"] = base
        figures[f"recall of 10 boxes, novel ({kind})"] = novel
    oln, neg = (figures[f"recall of 10 boxes, novel ({k})"] for k in ("oln", "neg"))
    return {**figures, "recall of 10 boxes, novel: oln less neg": oln - neg}


def closed_boxes(figures: dict[str, float]) -> list[str]:
    """Gates that are closed: figures that are too low, with their limits."""
    return [
        f"{name} is {figures[name]:.3f}, and should be {limit:g} or more"
        for name, limit in BOX_LIMITS.items()
        if not figures[name] >= limit
    ]


def box_room(figures: dict[str, float]) -> float:
    """By how much the gate that is nearest to its limit holds; else below 0.

    A seed has some hundred novel things, so a figure is known to a few points
    at best: over seeds it is the mean that must hold.
    """
    return min(figures[name] - limit for name, limit in BOX_LIMITS.items())


def gate_report(figures: dict[str, float]) -> str:
    """A line a figure: what it is, its floor, and whether it is reached."""
    lines = []
    for name, value in figures.items():
        limit = BOX_LIMITS.get(name)
        told = "" if limit is None else f"  floor {limit:.2f}"
        open_ = "" if limit is None else "  open" if value >= limit else "  CLOSED"
        lines.append(f"{value:6.3f}{told:12}{open_:8}  {name}")
    return "\n".join(lines)


def check_boxes(bench: BoxBench) -> None:
    """No novel name, and no box of a novel thing, in what methods get.

    Raises GateClosed where there is one.
    """
    data = bench.data(Boxed)
    if set(data.names) & set(bench.novel):
        raise GateClosed("a novel name is among those of the boxes")
    for scene, boxes in zip(bench.scenes("boxes"), data.boxes, strict=True):
        own = {o.box for o in scene.objects if o.name in bench.base}
        if {tuple(map(int, box)) for box in boxes} != own:
            raise GateClosed("a box is none of a base thing")
