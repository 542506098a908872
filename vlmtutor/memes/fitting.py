"""Wrap a text and find the largest size at which it fits into a box."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from .letters import MAY_BREAK, Face, clusters

MOST_CHARACTERS = 4000  # more than any picture can hold legibly
ELLIPSIS = "…"
OPENING = "（「『【〈《〔［｛“‘(["  # no line ends with one of these
NOT_FIRST = "ー々ぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮ"  # nor begins with these
# A space where a line may end: not before a mark that stands alone, as in French.
SPACE = re.compile("(?<!«) (?![?!:;»%,.…]+(?: |$))")


@dataclass(frozen=True)
class Block:
    """Wrapped lines at a size (pixels an em) with an outline (pixels)."""

    lines: tuple[str, ...]
    size: int
    outline: float
    is_cut: bool = False


def outline_of(size: int, outlined: bool) -> float:
    """Outline width in pixels: it grows with the letters."""
    return max(0.75, size / 14) if outlined else 0.0


def fit(
    text: str,
    face: Face,
    width: int,
    height: int,
    largest: int,
    smallest: int,
    outlined: bool = True,
) -> Block:
    """Lay a text out as large as ``width`` x ``height`` pixels allow.

    Words stay whole unless that would make the letters less than half of
    ``largest``. What does not even fit at ``smallest`` is cut, and ends in
    an ellipsis.
    """
    paragraphs = _paragraphs(text[:MOST_CHARACTERS], face)
    largest = max(largest, smallest)
    for whole_words in (True, False):
        low = max(smallest, largest // 2) if whole_words else smallest
        size = _largest_fitting(
            lambda s, whole=whole_words: _fits(
                paragraphs, face, s, width, height, outlined, whole
            ),
            low,
            largest,
        )
        if size:
            lines = _balanced(
                paragraphs, face, _limit(width, size, outlined), whole_words
            )
            is_cut = len(text) > MOST_CHARACTERS
            if is_cut:
                lines[-1] += ELLIPSIS
            outline = outline_of(size, outlined)
            return Block(tuple(lines), size, outline, is_cut)
    return _cut(paragraphs, face, width, height, smallest, outlined)


def _paragraphs(text: str, face: Face) -> list[list[tuple[str, float, float]]]:
    """Words, their widths and the gaps before them in em, for each line."""
    lines = []
    for line in text.split("\n"):
        words = [_pieces(word) for word in SPACE.split(line) if word]
        parts = [(w, face.space * (not i)) for p in words for i, w in enumerate(p)]
        lines.append([(w, face.width(w), gap) for w, gap in parts])
    return [line for line in lines if line]


def _pieces(word: str) -> list[str]:
    """A word, taken apart where a line may end inside it.

    Chinese and Japanese leave no gaps: a line may end behind each sign.
    """
    for k in range(len(word) - 1, 0, -1):
        before, after = word[k - 1], word[k]
        near_sign = _is_sign(before) or _is_sign(after)
        begins = after in OPENING or (after.isalnum() and after not in NOT_FIRST)
        if near_sign and begins and before not in OPENING:
            word = word[:k] + MAY_BREAK + word[k:]
    return word.split(MAY_BREAK)


def _is_sign(char: str) -> bool:
    """Whether it is a Han character or a kana."""
    wide = char.isalpha() and unicodedata.east_asian_width(char) == "W"
    return wide and not unicodedata.name(char, "").startswith("HANGUL")


def _limit(width: int, size: int, outlined: bool) -> float:
    """How many em of letters a line holds."""
    return max(0.0, (width - 2 * outline_of(size, outlined)) / size)


def _most_lines(face: Face, size: int, height: int, outlined: bool) -> int:
    """How many lines a box holds; 0 if not even one."""
    room = (height - 2 * outline_of(size, outlined)) / size
    first = face.ascent + face.descent
    return 0 if room < first else 1 + int((room - first) / face.step)


def _fits(paragraphs, face, size, width, height, outlined, whole_words):
    limit = _limit(width, size, outlined)
    lines = _wrap(paragraphs, face, limit, whole_words)
    most = _most_lines(face, size, height, outlined)
    return lines is not None and len(lines) <= most


def _largest_fitting(fits, low: int, high: int) -> int:
    """The largest size in [low, high] for which ``fits``; 0 if none.

    Bisection: what fits at a size fits, but for rounding, at any smaller.
    """
    if not fits(low):
        return 0
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def _wrap(paragraphs, face, limit, whole_words) -> list[str] | None:
    """Greedy lines of at most ``limit`` em; None if a word is too wide."""
    lines: list[str] = []
    for words in paragraphs:
        line, used = "", 0.0
        for word, width, gap in _broken(words, face, limit, whole_words):
            if width > limit:
                return None
            if line and used + gap + width > limit:
                lines.append(line)
                line, used = "", 0.0
            if line:
                line += " " + word if gap else word
                used += gap + width
            else:
                line, used = word, width
        lines.append(line)
    return lines


def _broken(words, face, limit, whole_words):
    """The words, those wider than a line in pieces."""
    for word, width, gap in words:
        if whole_words or width <= limit:
            yield word, width, gap
            continue
        piece, used = "", 0.0
        for cluster in clusters(word):
            wide = face.width(cluster)
            if piece and used + wide > limit:
                yield piece, used, gap
                piece, used, gap = "", 0.0, 0.0
            piece, used = piece + cluster, used + wide
        yield piece, used, gap


def _balanced(paragraphs, face, limit, whole_words) -> list[str]:
    """As many lines as a greedy wrap takes, of lengths as even as can be."""
    best = _wrap(paragraphs, face, limit, whole_words)
    low, high = 0.0, limit
    for _ in range(12):
        middle = (low + high) / 2
        lines = _wrap(paragraphs, face, middle, whole_words)
        if lines is not None and len(lines) <= len(best):
            best, high = lines, middle
        else:
            low = middle
    return best


def _cut(paragraphs, face, width, height, size, outlined) -> Block:
    limit = _limit(width, size, outlined)
    mark = face.width(ELLIPSIS)
    lines = _wrap(paragraphs, face, limit, whole_words=False)
    most = max(1, _most_lines(face, size, height, outlined))
    # A box narrower than one letter: the mark alone has to do.
    lines = (lines or [""])[:most]
    last = clusters(lines[-1])
    while last and face.width("".join(last)) + mark > limit:
        last.pop()
    lines[-1] = "".join(last).rstrip(" .,") + ELLIPSIS
    return Block(tuple(lines), size, outline_of(size, outlined), True)
