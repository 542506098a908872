"""Right-to-left text for a Pillow that cannot lay it out by itself.

Pillow orders Hebrew and Arabic through Raqm and FriBiDi. Where FriBiDi is
missing it draws letters in the order of the string, which turns such words
round. This is the short version of Unicode's bidirectional algorithm
(Annex 9): one level of nesting, and no joining of Arabic letters.
"""

from __future__ import annotations

import unicodedata

_MIRROR = str.maketrans("()[]{}<>«»", ")(][}{><»«")


def is_right_to_left(text: str) -> bool:
    """Whether the first letter that has a direction runs right to left."""
    for char in text:
        kind = unicodedata.bidirectional(char)
        if kind in ("L", "R", "AL"):
            return kind != "L"
    return False


def visual_order(line: str, right_to_left: bool) -> str:
    """The characters of a line as they stand on paper, left to right."""
    directions = _directions(line, right_to_left)
    runs: list[tuple[bool, str]] = []
    for char, backward in zip(line, directions, strict=True):
        if runs and runs[-1][0] == backward:
            runs[-1] = (backward, runs[-1][1] + char)
        else:
            runs.append((backward, char))
    if right_to_left:
        runs.reverse()
    return "".join(_reverse(r) if back else r for back, r in runs)


def _directions(line: str, right_to_left: bool) -> list[bool]:
    """For each character: does it run right to left?

    Letters know. Numbers run left to right, but among Hebrew or Arabic
    words they count as such for their neighbours. Spaces and marks follow
    their neighbours where both sides agree, and the line where they do not.
    """
    kinds = _joined_numbers([unicodedata.bidirectional(c) for c in line])
    own: list[bool | None] = []  # how the character itself runs
    seen_as: list[bool | None] = []  # what its neighbours take it for
    letters = right_to_left  # direction of the last letter
    for kind in kinds:
        if kind in ("L", "R", "AL"):
            letters = kind != "L"
            own.append(letters)
            seen_as.append(letters)
        elif kind in ("EN", "AN"):
            own.append(False)
            seen_as.append(letters)
        elif kind == "NSM" and own:  # a mark on the letter before it
            own.append(own[-1])
            seen_as.append(seen_as[-1])
        else:
            own.append(None)
            seen_as.append(None)
    before = _carried(seen_as, right_to_left)
    after = _carried(seen_as[::-1], right_to_left)[::-1]
    return [
        (a if a == b else right_to_left) if direction is None else direction
        for direction, a, b in zip(own, before, after, strict=True)
    ]


def _joined_numbers(kinds: list[str]) -> list[str]:
    """Points within numbers and signs beside them become part of them."""
    kinds = list(kinds)
    for i in range(1, len(kinds) - 1):
        numbers = kinds[i - 1] == kinds[i + 1] == "EN"
        if numbers and kinds[i] in ("CS", "ES"):
            kinds[i] = "EN"
    for order in (range(1, len(kinds)), range(len(kinds) - 2, -1, -1)):
        step = order.step
        for i in order:
            if kinds[i] == "ET" and kinds[i - step] == "EN":
                kinds[i] = "EN"
    return kinds


def _carried(directions: list[bool | None], start: bool) -> list[bool]:
    """Each unknown direction replaced by the last known one."""
    carried = []
    for direction in directions:
        start = start if direction is None else direction
        carried.append(start)
    return carried


def _reverse(run: str) -> str:
    """Turn a run round; a mark stays behind the letter that carries it."""
    clusters: list[str] = []
    for char in run.translate(_MIRROR):
        if clusters and unicodedata.combining(char):
            clusters[-1] += char
        else:
            clusters.append(char)
    return "".join(reversed(clusters))
