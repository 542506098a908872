"""Does the order hold?  Kendall's tau between two orders, and how sure it is.

Tau counts pairs: +1 where two orders agree on who is better, -1 where they do
not; ties, as tau-b has them (Kendall 1945, *Biometrika* 33).  Its interval is a
bootstrap: seeds drawn again say what luck in the runs is worth, methods drawn
again what other methods of the kind might have said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...verdict import LEVEL

LEAST = 4  # methods, below which nothing is said
DRAWS = 1000
SEEDS, METHODS = "seeds", "methods"  # what may be drawn again
Values = Mapping[str, Mapping[int, float]]  # {method: {seed: value}}


@dataclass(frozen=True)
class Agreement:
    """Tau of the means over seeds, with the interval of its bootstrap.

    ``pairs`` were compared; ``flips`` are those on which the orders differ.
    """

    tau: float
    low: float
    high: float
    methods: tuple[str, ...]
    pairs: int
    flips: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return (
            f"{self.tau:+.2f} [{self.low:+.2f}, {self.high:+.2f}], "
            f"{len(self.methods)} methods, {len(self.flips)} of {self.pairs} "
            "pairs turned"
        )


def tau_b(x: np.ndarray, y: np.ndarray, asked: np.ndarray | None = None) -> np.ndarray:
    """Kendall's tau-b of x and y [..., n]: [...]; NaN where one has no order.

    ``asked`` bool [..., n, n] leaves pairs out.
    """
    i, j = np.triu_indices(x.shape[-1], 1)
    a, b = (np.sign(v[..., i] - v[..., j]) for v in (x, y))
    if asked is not None:
        a, b = a * asked[..., i, j], b * asked[..., i, j]
    agree = (a * b).sum(-1)
    told = np.sqrt(np.abs(a).sum(-1) * np.abs(b).sum(-1))
    return np.where(told > 0, agree / np.maximum(told, 1), np.nan)


def agreement(
    a: Values,
    b: Values,
    again: tuple[str, ...] = (SEEDS, METHODS),
    groups: Mapping[str, str] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> Agreement | None:
    """How alike two orders of the methods that both have are.

    ``again`` is what the bootstrap draws: SEEDS, METHODS or both.  Orders
    with the same seeds draw the same ones: they are paired.  With ``groups``
    {method: group} only pairs within a group are asked.  None where fewer
    than four methods, or no pair, can be compared.
    """
    names = [name for name in a if name in b]
    if len(names) < LEAST:
        return None
    rng = np.random.default_rng(seed)
    kinds = np.array([groups[n] if groups else "" for n in names])
    asked = kinds[:, None] == kinds[None]
    x, y = (np.array([np.mean([*own[n].values()]) for n in names]) for own in (a, b))
    tau = float(tau_b(x, y, asked))
    if np.isnan(tau):
        return None
    drawn = _drawn(a, b, names, again, draws, rng)
    if METHODS in again:
        picks = rng.integers(len(names), size=(draws, len(names)))
        drawn = [np.take_along_axis(own, picks, 1) for own in drawn]
        asked = asked[picks[:, :, None], picks[:, None]]
    else:
        asked = np.broadcast_to(asked, (draws, *asked.shape))
    taus = tau_b(*drawn, asked)
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.nanpercentile(taus, [tail, 100 - tail])
    i, j = np.triu_indices(len(names), 1)
    within = kinds[i] == kinds[j]
    turned = within & ((x[i] - x[j]) * (y[i] - y[j]) < 0)
    flips = tuple(
        (names[p], names[q]) for p, q in zip(i[turned], j[turned], strict=True)
    )
    return Agreement(
        tau, float(low), float(high), tuple(names), int(within.sum()), flips
    )


def _drawn(a, b, names, again, draws, rng) -> list[np.ndarray]:
    """Means over seeds that were drawn again: two of [draws, n]."""
    found, last = [], (None, None)
    for own in (a, b):
        seeds = sorted({s for name in names for s in own[name]})
        table = np.array([[own[n].get(s, np.nan) for s in seeds] for n in names])
        picks = np.arange(len(seeds))[None].repeat(draws, 0)
        if SEEDS in again:
            fresh = rng.integers(len(seeds), size=picks.shape)
            picks = last[1] if last[0] == seeds else fresh
        last = seeds, picks
        values = table[:, picks]  # [n, draws, seeds]
        there = ~np.isnan(values)
        sums, counts = np.where(there, values, 0).sum(-1), there.sum(-1)
        whole = np.nanmean(table, 1)[:, None]  # where none of its seeds was drawn
        found.append(np.where(counts > 0, sums / np.maximum(counts, 1), whole).T)
    return found


def ranks(values: Values) -> dict[str, int]:
    """{method: place}, 1 for the highest mean over seeds."""
    order = sorted(values, key=lambda name: -np.mean([*values[name].values()]))
    return {name: place for place, name in enumerate(order, start=1)}
