"""Which way a line runs, and its parts as they stand on paper.

Order: Unicode's bidirectional algorithm (Annex 9) as python-bidi has it.
Pillow orders and joins letters itself where it finds FriBiDi; elsewhere
arabic-reshaper gives Arabic letters the forms that they have in a word.
"""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata

from arabic_reshaper import ArabicReshaper
from bidi import algorithm
from bidi.mirror import MIRRORED

# Scripts whose letters move or melt together, which takes FriBiDi's Pillow.
_SHAPED = re.compile("[\u0700-\u074f\u07c0-\u07ff\u0900-\u0dff\u0f00-\u109f"
                     "\u1780-\u18af\ua840-\ua87f\ua8e0-\uaaff]")  # fmt: skip


_STRONG = {"L": "L", "R": "R", "EN": "R", "AN": "R"}  # numbers act like letters


def is_right_to_left(text: str) -> bool:
    """Whether the first letter that has a direction runs right to left."""
    return algorithm.get_base_level(text) == 1


def parts(line: str, right_to_left: bool) -> list[tuple[str, bool]]:
    """The line in pieces from left to right, each with: does it run backward?

    The letters in a piece are in reading order.
    """
    kinds = {unicodedata.bidirectional(char) for char in line}
    if not right_to_left and not kinds & {"R", "AL", "AN"}:
        return [(line, False)]
    storage = algorithm.get_empty_storage()
    storage |= {"base_level": int(right_to_left), "base_dir": "LR"[right_to_left]}
    algorithm.get_embedding_levels(line, storage)
    for place, char in enumerate(storage["chars"]):
        char["place"] = place
    algorithm.explicit_embed_and_overrides(storage)
    algorithm.resolve_weak_types(storage)
    _pair_brackets(storage["chars"], "LR"[right_to_left])
    algorithm.resolve_neutral_types(storage, debug=False)
    algorithm.resolve_implicit_levels(storage, debug=False)
    algorithm.reorder_resolved_levels(storage, debug=False)
    pieces = []
    for level, chars in itertools.groupby(storage["chars"], lambda c: c["level"]):
        places = [char["place"] for char in chars]
        # Joiners, which the algorithm leaves out, lie between the others.
        piece = line[min(places) : max(places) + 1]
        pieces.append((piece, level % 2 == 1))
    return pieces


def _pair_brackets(chars: list[dict], main: str) -> None:
    """Give both brackets of a pair one direction, ``main`` being the line's.

    Rule N0 of the algorithm, which python-bidi's levels leave out: they run as
    the line does if anything between them does, else as what is before them.
    """
    opened: list[int] = []
    pairs = []
    for i, char in enumerate(chars):
        kind = unicodedata.category(char["ch"])
        if char["type"] == "ON" and kind == "Ps":
            opened.append(i)
        elif char["type"] == "ON" and kind == "Pe":
            for k in reversed(range(len(opened))):
                if MIRRORED.get(chars[opened[k]]["ch"]) == char["ch"]:
                    pairs.append((opened[k], i))
                    del opened[k:]
                    break
    for start, end in sorted(pairs):
        between = {_STRONG.get(char["type"]) for char in chars[start + 1 : end]}
        ways = (_STRONG.get(char["type"]) for char in reversed(chars[:start]))
        if between - {None}:
            way = main if main in between else next(filter(None, ways), main)
            chars[start]["type"] = chars[end]["type"] = way


def joined(text: str) -> str:
    """Arabic letters in the forms that they have beside their neighbours."""
    return _reshaper().reshape(text)


def displayed(piece: str, backward: bool) -> str:
    """The letters of a piece from left to right, for a Pillow without Raqm."""
    text = joined(piece)
    if not backward:
        return text
    text = algorithm.get_display(text, base_dir="R")
    # A mark is drawn after the letter that carries it.
    return re.sub("([\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670]+)"
                  "(.)", r"\2\1", text)  # fmt: skip


def needs_raqm(text: str) -> bool:
    """Whether a text has letters that only Raqm can put together."""
    return bool(_SHAPED.search(text))


@functools.cache
def _reshaper() -> ArabicReshaper:
    return ArabicReshaper({"delete_harakat": False})
