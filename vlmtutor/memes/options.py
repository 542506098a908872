"""Options that are chosen by name: one check, in one wording."""

from __future__ import annotations

from collections.abc import Sequence

COLDEST, HOTTEST = 1e-38, 1e38  # temperatures by which float32 can be divided


def one_of(known: Sequence[str | None], name: str | None, what: str) -> str | None:
    """The name; ValueError, with all that are known, if it is none of them."""
    if name not in known:
        raise ValueError(f"unknown {what} {name!r}: use {', '.join(map(str, known))}")
    return name


def temperature_of(value: float) -> float:
    """A temperature as a plain float, as the report can hold it.

    Raises ValueError for one that divides nothing: zero, infinity, no number.
    """
    value = float(value)  # of numpy or torch, which JSON does not take
    if not COLDEST < value < HOTTEST:
        raise ValueError(f"temperature must be positive, got {value}")
    return value
