"""Letters and emoji: which font draws a text, how wide it is, its ink.

Anton (SIL Open Font License, in ``fonts/``) gives memes their look; a text
with letters that Anton lacks is set in DejaVu Sans Bold, which matplotlib
brings along, and what that lacks in a font of the system; emoji are OpenMoji
pictures (CC BY-SA 4.0).
"""

from __future__ import annotations

import functools
import itertools
import re
from importlib import resources
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, features

from .. import fonts
from ..console import printable
from ..world import glyphs
from . import direction
from .direction import is_right_to_left
from .text import (
    MAY_BREAK,
    NO_BREAK,
    Run,
    clean_text,
    clusters,
    draws_nothing,
    split_runs,
)

REFERENCE = 128  # pixels an em at which widths are measured
EMOJI_WIDTH = 1.04  # em, with the air beside it
_MOST_NAMED = 20  # letters in a message


class Face:
    """The fonts of a text and the handful of numbers that layout needs, in em.

    The first of ``paths`` is the text's own; each of the others draws the
    letters of ``samples`` that those before it lack.
    """

    def __init__(self, *paths: str, samples: tuple[str, ...] = (), missing: str = ""):
        self.path, self.paths, self.missing = paths[0], paths, missing
        self.ascent = self.descent = 0.0
        for path, letters in zip(paths, ("Ágjpqy", *samples), strict=True):
            font = _font(path, REFERENCE, _shapes_text())
            up, down = font.getmetrics()
            if path != self.path or fonts.has(path, "g"):  # else: blank, or a box
                _, top, _, down = font.getbbox(letters, anchor="ls")
                up = -top
            self.ascent = max(self.ascent, up / REFERENCE)
            self.descent = max(self.descent, down / REFERENCE)
        self.step = 0.94 * (self.ascent + self.descent)  # line to line
        self.space = self.width(" ") or 0.25

    def width(self, text: str) -> float:
        """Advance width in em, emoji included."""
        return self._advance(text, REFERENCE) / REFERENCE

    def _advance(self, text: str, size: int) -> float:
        shaped = _shapes_text()
        return sum(
            _font(path, size, shaped).getlength(_plain(part, shaped))
            if path
            else EMOJI_WIDTH * size
            for part, path in self._runs(text)
        )

    def _runs(self, line: str) -> list[tuple[str, str | None]]:
        """The line in pieces with the font of each, None for an emoji."""
        runs: list[tuple[str, str | None]] = []
        for run in split_runs(line):
            if run.is_emoji:
                runs.append((run.text, None))
            elif len(self.paths) == 1:
                runs.append((run.text, self.path))
            else:
                drawn = itertools.groupby(clusters(run.text), self._font_of)
                runs += [("".join(part), path) for path, part in drawn]
        return runs

    def _font_of(self, cluster: str) -> str:
        """The first font that has a letter and its marks, or the letter."""
        codes = {ord(c) for c in cluster if not draws_nothing(c)}
        for wanted in (codes, {ord(cluster[0])}):
            for path in self.paths:
                if wanted <= fonts.letters_of(path):
                    return path
        return self.paths[-1]

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
        shaped = _shapes_text()
        x = baseline[0] - self._advance(line, size) / 2
        y = baseline[1]
        for text, path, backward in self.pieces(line, right_to_left):
            if path is None:
                _paste_emoji(layer, text, x, y, size)
                x += EMOJI_WIDTH * size
                continue
            font = _font(path, size, shaped)
            advance = font.getlength(_plain(text, shaped))
            options = {"stroke_width": outline, "stroke_fill": color}
            if shaped:
                text = _plain(text, shaped)
                options["direction"] = "rtl" if backward else "ltr"
            else:
                text = direction.displayed(_plain(text, True), backward)
            draw.text((x, y), text, color, font, anchor="ls", **options)
            x += advance

    def pieces(self, line: str, right_to_left: bool) -> list:
        """(text, font or None for an emoji, backward?) from left to right."""
        runs = self._runs(line)
        if _shapes_text() and len(runs) == 1:  # Raqm finds the order itself
            return [(*runs[0], right_to_left)]
        pieces = []
        for part, backward in direction.parts(line, right_to_left):
            runs = self._runs(part)
            pieces += [(*run, backward) for run in (runs[::-1] if backward else runs)]
        return pieces


def _plain(text: str, shaped: bool) -> str:
    """What is drawn of a text, and measured."""
    text = re.sub(f"[\ufe0e\ufe0f{MAY_BREAK}]", "", text).replace(NO_BREAK, " ")
    return text if shaped else direction.joined(text)


@functools.cache
def _shapes_text() -> bool:
    return features.check("raqm")


def _paste_emoji(layer, char: str, x: float, y: float, size: int) -> None:
    picture = _emoji(char, max(1, round(size)))
    if picture is not None:
        left = x + (EMOJI_WIDTH * size - picture.width) / 2
        top = y - 0.42 * size - picture.height / 2
        layer.alpha_composite(picture, (max(0, round(left)), max(0, round(top))))


def _emoji(char: str, side: int) -> Image.Image | None:
    """The picture of an emoji; None if the font has no such one."""
    # Without Raqm a sequence would be drawn as several pictures in a row.
    char = char if _shapes_text() else char[0]
    try:
        return glyphs.sticker(char, side)
    except ValueError:
        return None


@functools.lru_cache(maxsize=128)
def _font(path: str, size: int, shaped: bool) -> ImageFont.FreeTypeFont:
    layout = ImageFont.Layout.RAQM if shaped else ImageFont.Layout.BASIC
    return ImageFont.truetype(path, size, layout_engine=layout)


@functools.cache
def _anton() -> str:
    path = resources.files(__package__) / "fonts" / "Anton-Regular.ttf"
    return str(path)


def choose_face(text: str, font: str | Path | None = None) -> Face:
    """The face that draws a text.

    ``font`` is the path of a TrueType or OpenType file to use before the
    others; OSError if it is none. What it lacks comes from DejaVu, and what
    that lacks from a font of the system; ``missing`` of the face holds the
    letters that are in none of them.
    """
    anton, dejavu = _anton(), fonts.dejavu("DejaVuSans-Bold.ttf")
    drawn = "".join(run.text for run in split_runs(text) if not run.is_emoji)
    letters = [char for char in dict.fromkeys(drawn) if not draws_nothing(char)]
    own = fonts.opened(font) if font is not None else anton
    lacking = _without(letters, own)
    if font is None and _without(lacking, dejavu) != lacking:
        own = dejavu  # one look for all letters, where it has any of the others
        lacking = _without(letters, own)
    if not lacking:
        return _face(own)
    used: dict[str, str] = {}  # font → what it draws
    missing = ""
    for char in lacking:
        path = dejavu if fonts.has(dejavu, char) else fonts.system_font(char)
        if path is None:
            missing, path = missing + char, dejavu  # it draws a box
        used[path] = used.get(path, "") + char
    used.pop(own, None)
    return Face(own, *used, samples=tuple(used.values()), missing=missing)


@functools.cache
def _face(path: str) -> Face:
    return Face(path)


def _without(letters: list[str], path: str) -> list[str]:
    return [char for char in letters if not fonts.has(path, char)]


def complaints(text: str, font: str | Path | None = None) -> list[str]:
    """What a reader of a meme with this text would miss, in sentences."""
    said = []
    missing = [*choose_face(text, font).missing]
    missing += [
        run.text
        for run in split_runs(text)
        if run.is_emoji and _emoji(run.text, REFERENCE) is None
    ]
    if missing:
        named = printable(" ".join(missing[:_MOST_NAMED]), keep="\u200d\ufe0f")
        more = " …" if len(missing) > _MOST_NAMED else ""
        said.append(
            f"no font here has the letters {named}{more} (boxes stand for them): "
            "name a font file that has them"
        )
    if not _shapes_text() and direction.needs_raqm(text):
        said.append(
            "without the library FriBiDi letters of this script stand side by "
            "side, unjoined: install it, and Pillow finds it"
        )
    return said


__all__ = [
    "Face",
    "Run",
    "choose_face",
    "clean_text",
    "clusters",
    "complaints",
    "is_right_to_left",
    "split_runs",
]
