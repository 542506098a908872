"""A caption as letters: cleaned, and cut into what must not be torn apart."""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

import emoji

NO_BREAK = "\u00a0"  # a space where no line may end
MAY_BREAK = "\u200b"  # no space, and a line may end: Thai, Khmer
_AIR = f" \n{NO_BREAK}{MAY_BREAK}"
_FIRST_PICTURE = 0x2600  # below it ©, ™ or arrows are letters, but for
_EARLIER = re.compile("[⌚⌛\u23e9-\u23faⓂ]")  # clocks and keys of players
# Letters and marks that nobody sees, and that fonts draw as boxes: fillers of
# Korean as wide as a letter; others, the joiner of graphemes, vowels of Khmer.
_BLANK = "\u3164\uffa0"
_UNSEEN = "\u115f\u1160\u034f\u17b4\u17b5"


def clean_text(text: str) -> str:
    """What can be drawn of a text.

    Line ends (of Unix, Windows, the old Macintosh) become ``\\n``, other
    white space one space; spaces that hold words together stay, and so do
    places without a space where a line may break. Control and formatting
    characters go, and so does white space at the ends. Half a surrogate
    pair, which no encoding can write, becomes "?". Of a text that leaves no
    ink nothing stays.
    """
    text = text.encode("utf-8", "replace").decode()
    # What goes does so first, as it may stand between two that then meet.
    text = unicodedata.normalize("NFC", "".join(filter(_visible, text)))
    text = "\n".join(map(_one_line, re.split("\r\n|\r|\n", text)))
    # A cell of Braille without a dot is a picture's white: by itself it is none.
    inked = text.replace("\u2800", "")
    return "" if all(map(draws_nothing, inked)) else text.strip(_AIR)


def _one_line(line: str) -> str:
    line = re.sub("[\u202f\u2007]", NO_BREAK, line)
    line = re.sub(f"(?:[^\\S{NO_BREAK}]|[{_BLANK}])+", " ", line)
    for mark in (NO_BREAK, MAY_BREAK):
        line = re.sub(f" *{mark}[ {mark}]*", mark, line)
    return line.strip()


def _visible(char: str) -> bool:
    if char.isspace() or char in f"{MAY_BREAK}\u200c\u200d":
        return True
    if 0xE0020 <= ord(char) <= 0xE007F:  # tags: flags of regions
        return True
    return unicodedata.category(char) not in ("Cc", "Cf") and char not in _UNSEEN


class Run(NamedTuple):
    """A stretch of one line that one font draws."""

    text: str
    is_emoji: bool


def split_runs(line: str) -> list[Run]:
    """Cut a line into letters and single emoji, in reading order."""
    runs, end = [], 0
    for found in emoji.emoji_list(line):
        char = found["emoji"]
        is_letter = len(char) == 1 and ord(char) < _FIRST_PICTURE
        if is_letter and not _EARLIER.match(char):
            continue
        if line[end : found["match_start"]]:
            runs.append(Run(line[end : found["match_start"]], False))
        runs.append(Run(char, True))
        end = found["match_end"]
    if line[end:]:
        runs.append(Run(line[end:], False))
    return runs


def clusters(word: str) -> list[str]:
    """What must not be torn apart: an emoji, a letter with its marks.

    A full stop or a closing bracket of Chinese or Japanese stays with what
    it closes: no line begins with one.
    """
    out: list[str] = []
    for run in split_runs(word):
        if run.is_emoji:
            out.append(run.text)
            continue
        for i, char in enumerate(run.text):
            joins = unicodedata.category(char)[0] == "M" or char in _CLINGING
            if joins and i:
                out[-1] += char
            else:
                out.append(char)
    return out


_CLINGING = "\u200d、。，．！？：；」』）】》〉”’"


def draws_nothing(char: str) -> bool:
    """Line ends, joiners, selectors and tags; spaces, which any font has.

    Selectors of Mongolian as well.
    """
    return char in f"\n {NO_BREAK}" or unicodedata.category(char) == "Cf" or (
        0xFE00 <= ord(char) <= 0xFE0F or 0xE0000 <= ord(char) <= 0xE01EF
        or 0x180B <= ord(char) <= 0x180F
    )  # fmt: skip
