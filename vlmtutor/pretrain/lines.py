"""Lines about two things at once, put together from lines about one each.

The parts are meme lines that training may use, names and descriptions of the
table.
"""

from __future__ import annotations

import random
import re

from ..world import CaptionMix, Category, Layout, load_categories, random_caption
from ..world.captions import with_article

# What joins them: {x} and {y} are names, {one} and {two} clauses of their lines.
FORMS = (
    "{one}, said the {y}",
    "{one}, says the {x} to the {y}",
    "the {x} and the {y}: {one}",
    "{one}, {two}",
    "{one}, {two}",
    "{one} and {two}",
    "{one} but {two}",
    "{one} because {two}",
    "{two}, so {one}",
    "when the {x} met the {y}, {one}",
    "nobody told the {x} about the {y}, {two}",
    "{one}, and then came the {y}",
    "{one}, and only the {y} knows why",
    "{one}, all thanks to the {y}",
    "the {x} looked at the {y} and {one}",
    "one {x}, one {y}, {two}",
    "my {x} wanted a {y}, {one}",
    "{a_x} with {a_y}, {one}",
    "{a_x} and {a_y} walk into a bar, {two}",
    "{looks} and {two}",
    "{looks}, {two}",
    "{one}, asks {looks_too}",
)  # fmt: skip
WORDS = 3, 10  # of a clause


def clauses(line: str) -> list[str]:
    """The parts of a line that stand alone, or the line itself."""
    parts = [part.strip(" .,:;!?\"'") for part in re.split(r"[.,:;!?]\s", line)]
    fit = [p for p in parts if WORDS[0] <= len(p.split()) <= WORDS[1]]
    return fit or [line.strip(" .,:;!?\"'")]


def _clause(rng: random.Random, category: Category) -> str:
    clause = rng.choice(clauses(rng.choice(category.memes)))
    first, _, rest = clause.partition(" ")
    return clause if first == "I" else f"{first.lower()} {rest}".strip()


def line_about(rng: random.Random, one: Category, two: Category) -> str:
    """A line that speaks of both categories, by name or by allusion."""
    if rng.random() < 0.5:
        one, two = two, one
    x, y = (rng.choice((c.name, c.name, *c.synonyms)) for c in (one, two))
    return rng.choice(FORMS).format(
        x=x,
        y=y,
        a_x=with_article(x),
        a_y=with_article(y),
        one=_clause(rng, one),
        two=_clause(rng, two),
        looks=rng.choice(one.descriptions),
        looks_too=rng.choice(two.descriptions),
    )


def scene_caption(
    rng: random.Random, layout: Layout, mix: CaptionMix, share: float
) -> str:
    """A caption for training; ``share`` of those of two kinds are such a line.

    It speaks of the first sticker, which is the large one if one is, and of
    another.
    """
    kinds = list(dict.fromkeys(p.category for p in layout.placements))
    if share and len(kinds) > 1 and rng.random() < share:
        pair = kinds[0], rng.choice(kinds[1:])
        return line_about(rng, *(load_categories()[k] for k in pair))
    return random_caption(rng, layout, mix).text
