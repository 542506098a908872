"""What the phrases of sentences speak of: nouns, each in one form."""

from __future__ import annotations

import functools

from ...world import load_categories
from ..supervision import Captioned

BEFORE = {"a", "an", "the", "two", "three", "four", "small", "big"}  # a noun


def _bare(phrase: str) -> str:
    words = phrase.split()
    while len(words) > 1 and words[0] in BEFORE:
        words = words[1:]
    return " ".join(words)


@functools.cache
def _forms() -> dict[str, str]:
    """How a dictionary would list what phrases say: "bunches of grapes"."""
    found = {}
    for category in load_categories():
        for form in (category.many, _bare(category.one)):
            found.setdefault(form, category.name)
    return found


def noun(phrase: str) -> str:
    """ "two big lions" → "lion"; synonyms stay what they are."""
    bare = _bare(phrase)
    return _forms().get(bare, bare)


def spoken_nouns(data: Captioned) -> list[list[str]]:
    """The nouns of each sentence, each once, in its order."""
    return [[*dict.fromkeys(map(noun, phrases))] for phrases in data.phrases()]
