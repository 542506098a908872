"""Rewrites of captions by a language model: the file says how they were made."""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True)
class Rewrites:
    """Texts in place of the caption of one name: for training, and for tests."""

    train: tuple[str, ...]
    unseen: tuple[str, ...]


@functools.cache
def load_rewrites() -> dict[str, Rewrites]:
    """Name of a category → its :class:`Rewrites`, in the order of the file."""
    file = resources.files("vlmtutor.world") / "rewrites.toml"
    rows = tomllib.loads(file.read_text(encoding="utf-8"))
    return {
        name: Rewrites(tuple(row["train"]), tuple(row["unseen"]))
        for name, row in rows.items()
    }
