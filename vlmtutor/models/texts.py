"""One check for all that is to be read as a text."""

from __future__ import annotations

from collections.abc import Iterable


def as_texts(items: Iterable[str], what: str = "text") -> list[str]:
    """The items as a list of texts that every tokenizer takes.

    Half of a surrogate pair, as ``json.loads`` or a file name may leave one,
    becomes "?".  Raises TypeError for one text in place of a list, and for an
    item that is no text (None, NaN, a number), with its place from 0;
    ``what`` is what to call one of them.
    """
    if isinstance(items, (str, bytes)):
        raise TypeError(f"pass a list of {what}s, not a single one")
    if not isinstance(items, Iterable):
        raise TypeError(f"pass a list of {what}s, not {items!r:.40}")
    items = list(items)
    for place, item in enumerate(items):
        if not isinstance(item, str):
            kind = type(item).__name__
            raise TypeError(f"{what} {place} is a {kind}, not a text: {item!r:.40}")
    return [item.encode("utf-8", "replace").decode() for item in items]
