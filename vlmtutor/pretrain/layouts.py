"""Layouts for training alone: large things, small ones on top, all turned.

They are how people put jokes together.  Evaluation, lessons and posters draw
their own; what a poster shows together is never drawn here.
"""

from __future__ import annotations

import functools
import random
from dataclasses import replace

from ..world import Layout, Placement, backgrounds, find_category, random_layout
from ..world.layout import covers
from ..world.posters import POSTERS

MAX_TILT = 30.0  # degrees
TILTED = 0.6  # how many stickers are
DISCS = 0.1
LARGE, SMALL = (0.58, 0.9), (0.18, 0.4)  # one, and what lies on top of it
PAIR = (0.46, 0.7)  # two large ones


@functools.cache
def casts() -> frozenset[frozenset[int]]:
    """The categories that each poster shows together."""
    names = ([put.name for put in row.stickers] for row in POSTERS.values())
    return frozenset(
        frozenset(find_category(name).index for name in cast) for cast in names
    )


def turned(rng: random.Random, layout: Layout) -> Layout:
    """The same layout, many of its stickers tilted."""
    spots = [
        replace(p, tilt=rng.uniform(-MAX_TILT, MAX_TILT))
        if rng.random() < TILTED
        else p
        for p in layout.placements
    ]
    return replace(layout, placements=tuple(spots))


def _spot(rng: random.Random, category: int, sizes, others) -> Placement:
    """Of eight places for a sticker, that which covers ``others`` least."""

    def draw() -> Placement:
        size = rng.uniform(*sizes)
        x, y = (rng.uniform(size / 2, 1 - size / 2) for _ in range(2))
        disc = rng.random() < DISCS
        color = rng.choice(list(backgrounds.COLORS)) if disc else None
        return Placement(category, x, y, size, rng.random() < 0.5, color)

    if not others:
        return draw()
    spots = [draw() for _ in range(8)]
    return min(spots, key=lambda s: max(covers(s, other) for other in others))


def posed_layout(rng: random.Random, categories: list[int]) -> Layout:
    """One large thing with one to three on top, two large ones, or turned ones.

    ``categories`` are the indices to choose from.
    """
    draw = rng.random()
    if draw < 0.25 or len(categories) < 4:
        few = rng.choice((1, 1, 2))
        return turned(rng, random_layout(rng, categories, few))
    spots: list[Placement] = []
    if draw < 0.5:
        for category in rng.sample(categories, 2):
            spots.append(_spot(rng, category, PAIR, spots))
    else:
        large, *small = rng.sample(categories, 1 + rng.choice((1, 1, 2, 3)))
        spots.append(_spot(rng, large, LARGE, []))
        for category in small:  # they may cover the large one, not each other
            spots.append(_spot(rng, category, SMALL, spots[1:]))
    ground = rng.choice(backgrounds.NAMES), rng.randrange(backgrounds.VARIANTS)
    return turned(rng, Layout(*ground, tuple(spots)))


def scene_layout(
    rng: random.Random, categories: list[int], single: float, posed: float
) -> Layout:
    """What a scene of a training batch shows.

    ``single`` is the share of scenes with one sticker, ``posed`` that of those
    of :func:`posed_layout`; with them no scene shows a poster's cast.
    """

    def plain() -> Layout:
        n = 1 if rng.random() < single else rng.choice((2, 2, 2, 2, 3, 4))
        return random_layout(rng, categories, n)

    if not posed:
        return plain()
    while True:
        layout = posed_layout(rng, categories) if rng.random() < posed else plain()
        if frozenset(p.category for p in layout.placements) not in casts():
            return layout
