"""The categories of Sticker World and their hand-written words.

One TOML file per group lies in ``words/``; a row holds a category's name,
synonyms, descriptions of its looks and meme lines.  The pictures are OpenMoji
glyphs (CC BY-SA 4.0, https://openmoji.org).
"""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from importlib import resources

# Lines at the end of each row's memes that no training may see.
HELD_OUT_MEMES = 2

# The dense tasks (segmentation, detection) use 65 categories.  Boxes and masks
# may be used for the 45 base ones only; each of the 20 novel ones is known by
# its words alone, and has a near relative among the base ones.
NOVEL_TO_RELATIVE = {
    "tiger": "lion", "wolf": "fox", "zebra": "horse", "goat": "sheep",
    "panda": "bear", "duck": "swan", "shark": "dolphin", "bee": "ladybug",
    "orange": "apple", "strawberry": "cherries", "hot dog": "hamburger",
    "cookie": "doughnut", "bus": "car", "ambulance": "fire engine",
    "tulip": "rose", "pine tree": "tree", "guitar": "violin",
    "basketball": "soccer ball", "alarm clock": "watch", "moai": "rock",
}  # fmt: skip
DENSE_BASE = (
    "lion", "fox", "horse", "sheep", "bear", "swan", "dolphin", "ladybug",
    "apple", "cherries", "hamburger", "doughnut", "car", "fire engine",
    "rose", "tree", "violin", "soccer ball", "watch", "rock",
    "cat", "pig", "cow", "elephant", "penguin", "frog", "octopus", "butterfly",
    "snail", "banana", "pizza", "carrot", "coffee", "birthday cake",
    "bicycle", "airplane", "sailboat", "rocket", "house", "balloon",
    "umbrella", "key", "crown", "drum", "snowman",
)  # fmt: skip


@dataclass(frozen=True)
class Category:
    """One kind of sticker: a picture and the words people have for it.

    ``memes`` are the lines that training may use; ``held_out_memes`` are for
    tests only.  ``base`` is False for the 20 novel categories of the dense
    tasks, whose nearest base category is ``relative``.
    """

    index: int
    name: str
    char: str
    group: str
    one: str
    many: str
    synonyms: tuple[str, ...]
    descriptions: tuple[str, ...]
    memes: tuple[str, ...]
    held_out_memes: tuple[str, ...]
    dense: bool
    base: bool
    relative: str | None


@functools.cache
def load_categories() -> tuple[Category, ...]:
    """Read the table of words: all categories, in a fixed order."""
    rows = []
    words = resources.files("vlmtutor.world") / "words"
    for file in sorted(words.iterdir(), key=lambda f: f.name):
        if file.name.endswith(".toml"):
            group = file.name.removesuffix(".toml")
            table = tomllib.loads(file.read_text(encoding="utf-8"))
            rows += [(group, row) for row in table["category"]]
    dense = set(DENSE_BASE) | set(NOVEL_TO_RELATIVE)
    return tuple(
        Category(
            index=index,
            name=row["name"],
            char=row["char"],
            group=group,
            one=row["one"],
            many=row["many"],
            synonyms=tuple(row["synonyms"]),
            descriptions=tuple(row["descriptions"]),
            memes=tuple(row["memes"][:-HELD_OUT_MEMES]),
            held_out_memes=tuple(row["memes"][-HELD_OUT_MEMES:]),
            dense=row["name"] in dense,
            base=row["name"] not in NOVEL_TO_RELATIVE,
            relative=NOVEL_TO_RELATIVE.get(row["name"]),
        )
        for index, (group, row) in enumerate(rows)
    )


@functools.cache
def category_index() -> dict[str, int]:
    """Name → position in :func:`load_categories`."""
    return {c.name: c.index for c in load_categories()}


def find_category(name_or_char: str) -> Category:
    """The category of that name or emoji character.

    Raises KeyError with the nearest names when there is none.
    """
    categories = load_categories()
    index = category_index().get(name_or_char)
    if index is not None:
        return categories[index]
    bare = name_or_char.replace("\ufe0f", "")
    for category in categories:
        if category.char == bare:
            return category
    import difflib

    near = difflib.get_close_matches(name_or_char, category_index(), n=3)
    hint = f"; near: {', '.join(near)}" if near else ""
    raise KeyError(f"no sticker is called {name_or_char!r}{hint}")
