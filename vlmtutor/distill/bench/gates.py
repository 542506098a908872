"""Is the world fit for the comparison?  Measured before any method runs.

A method can only be judged where the ground under it holds: CLIP must be
able to name a crop, the patch grid must not be the ceiling, novel classes
must be in the tests and nowhere in the masks.
"""

from __future__ import annotations

from ...world import find_category
from ..parts.regions import region_labels
from ..supervision import Masked
from .protocol import Bench
from .references import ceiling, name_masks, patches, true_masks

# What each figure must reach.
LIMITS = {
    "novel classes with a relative among the base ones": 0.99,
    "mask scenes without a novel sticker": 1.0,
    "test scenes with a novel sticker": 0.5,
    "classes in the test scenes": 1.0,
    "crop accuracy, base": 0.75,
    "crop accuracy, novel": 0.75,
    "ceiling of the patch grid": 0.7,
    "ceiling gained by shifts": 0.05,
    "value path over ordinary patches": 0.0,
    "MaskCLIP raw, h": 0.3,
}
# By how much S of a row with base masks must exceed the untrained read-out on
# the same pictures; else nothing is said of its unseen names.
OVER = 0.05
# Measured, but no condition.
NO_LIMIT = (
    "masked crop accuracy, base",
    "masked crop accuracy, novel",
    "ceiling of the patch grid, shifted",
    "MaskCLIP raw, S",
    "MaskCLIP raw, U",
    "ordinary patches, h",
)


class GateClosed(AssertionError):
    """A method would be handed what it must not see."""


def measure(bench: Bench) -> dict[str, float]:
    """All figures of :data:`LIMITS` and :data:`NO_LIMIT`, from 0 to 1."""
    return {
        k: round(v, 4)
        for part in (_world, _crops, _grid, _paths)
        for k, v in part(bench).items()
    }


def _world(bench: Bench) -> dict[str, float]:
    related = [
        (find_category(n).relative in bench.base) or bench.protocol.stage == "val"
        for n in bench.novel
    ]
    novel = set(bench.novel)

    def share_with_novel(part: str) -> float:
        scenes = bench.scenes(part)
        have = [bool(novel & {o.name for o in s.objects}) for s in scenes]
        return sum(have) / len(have)

    return {
        "novel classes with a relative among the base ones": sum(related)
        / len(related),
        "mask scenes without a novel sticker": 1 - share_with_novel("masks"),
        "test scenes with a novel sticker": share_with_novel("test"),
        "classes in the test scenes": float(bench.oracle_tags.any(0).float().mean()),
    }


def _crops(bench: Bench) -> dict[str, float]:
    masks = true_masks(bench)
    labels = region_labels(bench.truth, masks)
    there = masks.flatten(2).any(2)
    novel = labels >= len(bench.base)
    found = {}
    for title, options in (
        ("crop", {"mode": "crop", "margin": 1.5}),
        ("masked crop", {"mode": "cropmask", "fill": "mean", "margin": 1.5}),
    ):
        right = name_masks(bench, masks, **options) == labels
        for half, chosen in (("base", there & ~novel), ("novel", there & novel)):
            share = right[chosen].float().mean().nan_to_num()
            found[f"{title} accuracy, {half}"] = float(share)
    return found


def _grid(bench: Bench) -> dict[str, float]:
    plain, shifted = (ceiling(fine)(bench).scores()["all"] for fine in (False, True))
    return {
        "ceiling of the patch grid": plain,
        "ceiling of the patch grid, shifted": shifted,
        "ceiling gained by shifts": shifted - plain,
    }


def _paths(bench: Bench) -> dict[str, float]:
    value, usual = (patches(path)(bench).scores() for path in ("value", "attention"))
    return {
        "MaskCLIP raw, S": value["S"],
        "MaskCLIP raw, U": value["U"],
        "MaskCLIP raw, h": value["h"],
        "ordinary patches, h": usual["h"],
        "value path over ordinary patches": value["h"] - usual["h"],
    }


def closed(figures: dict[str, float]) -> list[str]:
    """Gates that are closed: figures that are too low, with their limits."""
    return [
        f"{name} is {figures[name]:.3f}, and should be {limit:g} or more"
        for name, limit in LIMITS.items()
        if figures[name] < limit
    ]


def room(figures: dict[str, float]) -> float:
    """By how much the tightest gate is open; below 0 one is closed."""
    return min(figures[name] - limit for name, limit in LIMITS.items())


def check_types(bench: Bench) -> None:
    """No novel name, and no pixel of one, in what inductive methods get.

    Raises GateClosed where there is one.
    """
    data = bench.data(Masked)
    if set(data.names) & set(bench.novel):
        raise GateClosed("a novel name is among those of the masks")
    if int(data.labels.max()) > len(data.names):
        raise GateClosed("a pixel of the masks is neither base nor background")
