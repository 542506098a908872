"""Stored rows of the bench, for a notebook to print."""

from __future__ import annotations

from collections.abc import Sequence

from ...table import spread

LIVE = 20  # seconds of a fit that a reader may be asked to wait for


def scores_of(row: dict, names: Sequence[str] = "SUh") -> str:
    """Scores of a stored row in points, each the mean of seeds and their range."""
    return "  ".join(f"{name} {spread(row['by_seed'][name])}" for name in names)
