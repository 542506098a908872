"""Options that are chosen by name: one check, in one wording."""

from __future__ import annotations

from collections.abc import Sequence


def one_of(known: Sequence[str | None], name: str | None, what: str) -> str | None:
    """The name; ValueError, with all that are known, if it is none of them."""
    if name not in known:
        raise ValueError(f"unknown {what} {name!r}: use {', '.join(map(str, known))}")
    return name
