"""Captions for layouts: a small grammar that remembers where its phrases are.

A caption is built from parts; a part is text, or text that names one sticker.
So every caption knows the character span of each object's phrase.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from . import backgrounds
from .categories import Category, load_categories
from .layout import Layout, Placement

NUMBERS = {2: "two", 3: "three", 4: "four"}
OPENINGS = (
    "", "", "", "a picture of ", "a drawing of ", "a sticker of ", "here is ",
    "i see ", "look, ", "we see ", "a cartoon of ", "an image with ",
)  # fmt: skip


@dataclass(frozen=True)
class Caption:
    """A caption and, per sticker, the (start, end) of its phrase or None."""

    text: str
    spans: tuple[tuple[int, int] | None, ...]

    def phrase(self, k: int) -> str | None:
        """The words that name sticker ``k``."""
        span = self.spans[k]
        return None if span is None else self.text[slice(*span)]


def with_article(noun: str) -> str:
    """ "apple" → "an apple"; plurals stay bare."""
    if noun.endswith("s") and not noun.endswith(("ss", "us")):
        return noun
    return ("an " if noun[0].lower() in "aeiou" else "a ") + noun


def noun_phrase(category: Category, adjective: str | None = None) -> str:
    """ "a dog", "a big dog", "the big sun"."""
    if adjective is None:
        return category.one
    article, _, rest = category.one.partition(" ")
    if article in ("a", "an"):
        return with_article(f"{adjective} x")[:-1] + rest
    if article == "the":
        return f"the {adjective} {rest}"
    return f"{adjective} {category.one}"


def _listed(phrases: list) -> list:
    """Parts of an enumeration: "a, b and c"."""
    parts = []
    for i, phrase in enumerate(phrases):
        if i:
            parts.append(" and " if i == len(phrases) - 1 else ", ")
        parts.append(phrase)
    return parts


def _finish(parts: list, count: int) -> Caption:
    """Glue text and (text, sticker indices) parts into a caption."""
    text, spans = "", [None] * count
    for part in parts:
        if isinstance(part, str):
            text += part
            continue
        words, owners = part
        for k in owners:
            spans[k] = (len(text), len(text) + len(words))
        text += words
    return Caption(text, tuple(spans))


def _full_phrase(p: Placement, category: Category) -> str:
    """Everything a complete caption says of one sticker."""
    phrase = noun_phrase(category, p.size_word)
    if p.color:
        phrase += f" on {with_article(p.color)} disc"
    return phrase


def relation(a: Placement, b: Placement) -> str:
    """How ``a`` stands to ``b``, along the axis where they differ most."""
    dx, dy = b.x - a.x, b.y - a.y
    if abs(dx) >= abs(dy):
        return "to the left of" if dx > 0 else "to the right of"
    return "above" if dy > 0 else "below"


def _phrases(
    layout: Layout, describe: Callable[[Placement, Category], str]
) -> list[tuple[str, tuple[int, ...]]]:
    """Words and the stickers they mean; those of one category are counted."""
    groups: dict[int, list[int]] = {}
    for k, p in enumerate(layout.placements):
        groups.setdefault(p.category, []).append(k)
    found = []
    for index, owners in groups.items():
        category = load_categories()[index]
        if len(owners) > 1:
            words = f"{NUMBERS[len(owners)]} {category.many}"
        else:
            words = describe(layout.placements[owners[0]], category)
        found.append((words, tuple(owners)))
    return found


def complete_caption(layout: Layout) -> Caption:
    """The one full caption of a scene: sizes, discs, relations, background.

    Two stickers are told apart by a relation, others are listed; stickers of
    one category are counted.
    """
    spots = layout.placements
    place = " " + backgrounds.PHRASES[layout.background]
    phrases = _phrases(layout, _full_phrase)
    if len(spots) == 2 and len(phrases) == 2:
        a, b = phrases
        return _finish([a, f" {relation(*spots)} ", b, ",", place], 2)
    comma = "," if len(spots) > 1 or spots[0].color else ""
    return _finish([*_listed(phrases), comma + place], len(spots))


def bare_caption(layout: Layout) -> Caption:
    """Only the nouns: "a dog and two cats"."""
    phrases = _phrases(layout, lambda p, category: category.one)
    return _finish(_listed(phrases), len(layout.placements))


@dataclass(frozen=True)
class CaptionMix:
    """How often a random caption uses which words (shares from 0 to 1).

    ``meme`` applies to scenes with one kind of sticker: the caption is one of
    the category's meme lines.  ``description`` and ``synonym`` replace a name.
    """

    meme: float = 0.15
    description: float = 0.15
    synonym: float = 0.2
    disc: float = 0.75
    size: float = 0.4
    place: float = 0.4
    relation: float = 0.5


def _random_phrase(rng, mix: CaptionMix, p, category) -> str:
    draw = rng.random()
    if draw < mix.description:
        phrase = rng.choice(category.descriptions)
    elif draw < mix.description + mix.synonym:
        phrase = with_article(rng.choice(category.synonyms))
    elif rng.random() < mix.size:
        phrase = noun_phrase(category, p.size_word)
    else:
        phrase = category.one
    if p.color and rng.random() < mix.disc:
        kind = rng.choice(("disc", "disc", "circle"))
        phrase += f" on {with_article(p.color)} {kind}"
    return phrase


def random_caption(
    rng: random.Random, layout: Layout, mix: CaptionMix = CaptionMix()
) -> Caption:
    """One of the many true captions of a scene, for training."""
    spots = layout.placements
    first = load_categories()[spots[0].category]
    alike = len({p.category for p in spots}) == 1
    if alike and rng.random() < mix.meme:
        return Caption(rng.choice(first.memes), (None,) * len(spots))
    if alike and rng.random() < 0.15:
        name = rng.choice((first.name, *first.synonyms))
        return _finish([(name, range(len(spots)))], len(spots))
    phrases = _phrases(layout, partial(_random_phrase, rng, mix))
    parts: list = [rng.choice(OPENINGS)]
    style = rng.random()
    if len(phrases) == 2 == len(spots) and style < mix.relation:
        a, b = (0, 1) if rng.random() < 0.5 else (1, 0)
        how = relation(spots[a], spots[b])
        parts += [phrases[a], f" {how} ", phrases[b]]
    else:
        for part in _listed(rng.sample(phrases, len(phrases))):
            parts.append(part)
            if style > 0.85 and not isinstance(part, str) and len(part[1]) == 1:
                (k,) = part[1]  # where it is
                parts.append(f" in the {spots[k].position}")
    if rng.random() < mix.place:
        parts.append(" " + backgrounds.PHRASES[layout.background])
    return _finish(parts, len(spots))
