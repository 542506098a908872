"""What stands where in a scene, before any pixel is drawn.

A layout is drawn from one seed with ``random.Random``, so it is the same on
every machine, at every canvas size and in every domain.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from . import backgrounds

MAX_STICKERS = 4
# Longer side of a sticker as a share of the canvas, by the number of them.
SIZES = {1: (0.36, 0.84), 2: (0.28, 0.52), 3: (0.25, 0.42), 4: (0.22, 0.38)}
SMALL, BIG = 0.30, 0.46  # below and above, captions may say so
DISC_SHARE = 0.35  # how many stickers stand on a coloured disc
REPEAT_SHARE = 0.12  # how many scenes hold one category several times
MAX_COVERED = 0.25  # share of the smaller square that a neighbour may cover


@dataclass(frozen=True)
class Placement:
    """One sticker of a layout; lengths are shares of the canvas side.

    ``x`` and ``y`` are the centre, ``size`` the longer side of the sticker
    (or the diameter of its disc), ``color`` the disc's colour or None.
    ``tilt`` turns the sticker anticlockwise, in degrees, once it is mirrored;
    its box then holds the turned square.
    """

    category: int
    x: float
    y: float
    size: float
    mirrored: bool
    color: str | None
    tilt: float = 0.0

    @property
    def size_word(self) -> str | None:
        if self.size < SMALL:
            return "small"
        return "big" if self.size > BIG else None

    @property
    def position(self) -> str:
        """Where it is: "left", "top right", "middle", …"""
        row = "top" if self.y < 0.38 else "bottom" if self.y > 0.62 else ""
        side = "left" if self.x < 0.38 else "right" if self.x > 0.62 else ""
        return f"{row} {side}".strip() or "middle"


@dataclass(frozen=True)
class Layout:
    """A scene before it is drawn: a background and its placements."""

    background: str
    variant: int
    placements: tuple[Placement, ...]

    def _pair(self) -> tuple[Placement, ...]:
        if len(self.placements) < 2:
            raise ValueError("a swap needs two stickers, this scene has one")
        return self.placements

    def swap_colors(self) -> Layout:
        """The same scene with the first two stickers' discs exchanged."""
        first, second, *rest = self._pair()
        swapped = (
            replace(first, color=second.color),
            replace(second, color=first.color),
        )
        return replace(self, placements=(*swapped, *rest))

    def swap_stickers(self) -> Layout:
        """The same scene with the first two stickers in each other's place."""
        first, second, *rest = self._pair()
        swapped = (
            replace(first, x=second.x, y=second.y),
            replace(second, x=first.x, y=first.y),
        )
        return replace(self, placements=(*swapped, *rest))


def covers(a: Placement, b: Placement) -> float:
    """Overlap of two squares as a share of the smaller one."""
    reach = (a.size + b.size) / 2
    wide = min(max(0.0, reach - abs(a.x - b.x)), a.size, b.size)
    high = min(max(0.0, reach - abs(a.y - b.y)), a.size, b.size)
    return wide * high / min(a.size, b.size) ** 2


def _place(rng: random.Random, low, high, others):
    """A size and a centre that cover little of what is there already."""
    for attempt in range(40):
        shrink = 1 - 0.01 * attempt
        size = rng.uniform(low, high) * shrink
        x = rng.uniform(size / 2, 1 - size / 2)
        y = rng.uniform(size / 2, 1 - size / 2)
        spot = Placement(0, x, y, size, False, None)
        if all(covers(spot, other) <= MAX_COVERED for other in others):
            break
    return size, x, y


def random_layout(
    rng: random.Random,
    categories: list[int],
    n: int | None = None,
    discs: float = DISC_SHARE,
    repeats: float = REPEAT_SHARE,
) -> Layout:
    """Draw a layout of ``n`` stickers (1 to 4; drawn too when None).

    ``categories`` are the indices to choose from.  Raises ValueError for a
    number of stickers that a scene cannot hold.
    """
    if n is None:
        n = rng.choice((1, 1, 2, 2, 2, 3, 4))
    if not 1 <= n <= MAX_STICKERS:
        raise ValueError(f"1 to {MAX_STICKERS} stickers fit a scene, not {n}")
    if not categories:
        raise ValueError("no categories to choose from")
    if n > 1 and rng.random() < repeats:
        # one category two to n times, so that captions can count
        times = rng.randint(2, n)
        kinds = rng.sample(categories, min(n - times + 1, len(categories)))
        chosen = [kinds[0]] * times + kinds[1:]
    else:
        chosen = rng.sample(categories, min(n, len(categories)))
    # too few categories for n different stickers: some come again
    chosen += [rng.choice(categories) for _ in range(n - len(chosen))]
    placements = []
    for category in chosen:
        size, x, y = _place(rng, *SIZES[n], placements)
        disc = rng.random() < discs
        color = rng.choice(list(backgrounds.COLORS)) if disc else None
        mirrored = rng.random() < 0.5
        placements.append(Placement(category, x, y, size, mirrored, color))
    return Layout(
        background=rng.choice(backgrounds.NAMES),
        variant=rng.randrange(backgrounds.VARIANTS),
        placements=tuple(placements),
    )
