"""Letters and emoji: which font draws a text, how wide it is, its ink.

Anton (SIL Open Font License, in ``fonts/``) gives memes their look; a text
with letters that Anton lacks is set in DejaVu Sans Bold, which matplotlib
brings along; emoji are OpenMoji pictures (CC BY-SA 4.0).
"""

from __future__ import annotations

import functools
import re
import unicodedata
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import emoji
from PIL import Image, ImageDraw, ImageFont, features

from ..world import glyphs
from .bidi import is_right_to_left, visual_order

REFERENCE = 128  # pixels an em at which widths are measured
EMOJI_WIDTH = 1.04  # em, with the air beside it
_FIRST_PICTURE = 0x2600  # below it ©, ™ or arrows are letters


def clean_text(text: str) -> str:
    """What can be drawn of a text.

    Line ends become ``\\n``, other white space one space; control and
    formatting characters go, and so does white space at the ends. Half a
    surrogate pair, which no encoding can write, becomes U+FFFD.
    """
    text = re.sub("[\ud800-\udfff]", "\ufffd", text)
    text = unicodedata.normalize("NFC", text)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    kept = (c for c in "\n".join(lines) if _visible(c))
    return "".join(kept).strip()


def _visible(char: str) -> bool:
    if char in "\n\u200c\u200d\ufe0e\ufe0f":  # joiners and emoji selectors
        return True
    if 0xE0020 <= ord(char) <= 0xE007F:  # tags: flags of regions
        return True
    return unicodedata.category(char) not in ("Cc", "Cf")


class Run(NamedTuple):
    """A stretch of one line that one font draws."""

    text: str
    is_emoji: bool


def split_runs(line: str) -> list[Run]:
    """Cut a line into letters and single emoji, in reading order."""
    runs, end = [], 0
    for found in emoji.emoji_list(line):
        char = found["emoji"]
        if len(char) == 1 and ord(char) < _FIRST_PICTURE:
            continue
        if line[end : found["match_start"]]:
            runs.append(Run(line[end : found["match_start"]], False))
        runs.append(Run(char, True))
        end = found["match_end"]
    if line[end:]:
        runs.append(Run(line[end:], False))
    return runs


def clusters(word: str) -> list[str]:
    """What must not be torn apart: an emoji, a letter with its marks."""
    out: list[str] = []
    for run in split_runs(word):
        if run.is_emoji:
            out.append(run.text)
            continue
        for i, char in enumerate(run.text):
            joins = unicodedata.category(char)[0] == "M" or char == "\u200d"
            if joins and i:
                out[-1] += char
            else:
                out.append(char)
    return out


class Face:
    """A font file and the handful of numbers that layout needs, in em."""

    def __init__(self, path: str):
        self.path = path
        left, top, right, bottom = self.font(REFERENCE).getbbox("Ágjpqy", anchor="ls")
        self.ascent = -top / REFERENCE
        self.descent = bottom / REFERENCE
        self.step = 0.94 * (self.ascent + self.descent)  # line to line
        self.space = self.width(" ")

    def font(self, size: int) -> ImageFont.FreeTypeFont:
        """The font at ``size`` pixels an em."""
        return _font(self.path, size, _shapes_text())

    def width(self, text: str) -> float:
        """Advance width in em, emoji included."""
        return self._advance(text, REFERENCE) / REFERENCE

    def _advance(self, text: str, size: int) -> float:
        return sum(
            EMOJI_WIDTH * size
            if run.is_emoji
            else self.font(size).getlength(_plain(run.text))
            for run in split_runs(text)
        )

    def draw(
        self,
        layer: Image.Image,
        line: str,
        baseline: tuple[float, float],
        size: int,
        color: str,
        outline: int = 0,
        right_to_left: bool = False,
    ) -> None:
        """Draw one line centred on ``baseline`` (x, y in pixels)."""
        draw = ImageDraw.Draw(layer)
        font = self.font(size)
        runs = split_runs(line)
        x = baseline[0] - self._advance(line, size) / 2
        y = baseline[1]
        for run in reversed(runs) if right_to_left else runs:
            if run.is_emoji:
                _paste_emoji(layer, run.text, x, y, size)
                x += EMOJI_WIDTH * size
                continue
            text = _plain(run.text)
            advance = font.getlength(text)
            options = {"stroke_width": outline, "stroke_fill": color}
            if _shapes_text():
                options["direction"] = "rtl" if right_to_left else "ltr"
            else:
                text = visual_order(text, right_to_left)
            draw.text((x, y), text, color, font, anchor="ls", **options)
            x += advance


def _plain(text: str) -> str:
    return text.replace("\ufe0e", "").replace("\ufe0f", "")


@functools.cache
def _shapes_text() -> bool:
    return features.check("raqm")


def _paste_emoji(layer, char: str, x: float, y: float, size: int) -> None:
    side = max(1, round(size))
    # Without Raqm a sequence would be drawn as several pictures in a row.
    char = char if _shapes_text() else char[0]
    try:
        picture = glyphs.sticker(char, side)
    except ValueError:  # the font has no such emoji
        return
    left = x + (EMOJI_WIDTH * size - picture.width) / 2
    top = y - 0.42 * size - picture.height / 2
    layer.alpha_composite(picture, (max(0, round(left)), max(0, round(top))))


@functools.lru_cache(maxsize=128)
def _font(path: str, size: int, shaped: bool) -> ImageFont.FreeTypeFont:
    layout = ImageFont.Layout.RAQM if shaped else ImageFont.Layout.BASIC
    return ImageFont.truetype(path, size, layout_engine=layout)


@functools.cache
def _face(path: str) -> Face:
    return Face(path)


@functools.cache
def _letters_of(path: str) -> frozenset[str]:
    from matplotlib.ft2font import FT2Font

    return frozenset(map(chr, FT2Font(path).get_charmap()))


@functools.cache
def _anton() -> str:
    path = resources.files(__package__) / "fonts" / "Anton-Regular.ttf"
    return str(path)


@functools.cache
def _dejavu() -> str:
    import matplotlib

    fonts = Path(matplotlib.get_data_path(), "fonts", "ttf")
    return str(fonts / "DejaVuSans-Bold.ttf")


def choose_face(text: str, font: str | Path | None = None) -> Face:
    """The face that draws a text.

    ``font`` is the path of a TrueType or OpenType file for scripts that
    neither Anton nor DejaVu has, such as Chinese; OSError if it is none.
    """
    if font is not None:
        try:
            return _face(str(font))
        except OSError as error:
            raise OSError(f"cannot read the font {font}: {error}") from None
    letters = {c for r in split_runs(text) if not r.is_emoji for c in r.text}
    known = _letters_of(_anton()) | set("\n\ufe0e\ufe0f\u200c\u200d")
    return _face(_anton() if letters <= known else _dejavu())


__all__ = [
    "Face",
    "Run",
    "choose_face",
    "clean_text",
    "clusters",
    "is_right_to_left",
    "split_runs",
]
