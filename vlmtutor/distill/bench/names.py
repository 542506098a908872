"""The classes of the dense bench: with masks, without, and beyond."""

from __future__ import annotations

import functools
import random

from ...world import load_categories

# Each novel class has a near relative among the base classes.
NOVEL = (
    "tiger",
    "zebra",
    "panda",
    "duck",
    "bee",
    "strawberry",
    "bus",
    "tulip",
    "guitar",
    "basketball",
)
BASE = (
    "lion", "horse", "bear", "swan", "ladybug", "cherries", "car", "rose",
    "violin", "soccer ball",
    "cat", "cow", "penguin", "butterfly", "apple", "pizza", "airplane",
    "umbrella", "elephant", "snowman",
)  # fmt: skip
# Base classes that play novel ones where knobs are chosen; they too have
# near relatives (lion, horse, swan, ladybug, cherries).
PSEUDO_NOVEL = ("cat", "cow", "penguin", "butterfly", "apple")


@functools.cache
def further_names(n: int) -> tuple[str, ...]:
    """``n`` names of the world beyond those of the bench; fewer are a part."""
    known = {*BASE, *NOVEL}
    others = [c.name for c in load_categories() if c.name not in known]
    return tuple(random.Random(0).sample(others, len(others))[:n])
