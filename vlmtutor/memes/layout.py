"""Letters on a picture: where the lines break, how large, and at which end."""

from __future__ import annotations

import re
from pathlib import Path

from PIL import Image

from .fitting import MOST_CHARACTERS, SPACE, Block, fit
from .letters import Face, choose_face, clean_text, is_right_to_left

_SUPERSAMPLE = 4  # small letters are drawn larger, then reduced
_SMALL = 28  # pixels an em


def drawn_text(caption: str, upper: bool = False) -> str:
    """A caption as it is drawn: cleaned, "|" as a line break.

    Of a very long one the beginning, as no picture holds the rest.
    """
    text = clean_text(caption[: 5 * MOST_CHARACTERS])
    text = re.sub(r"\s*[|\n]\s*", "\n", text).strip()
    return "".join(map(_capital, text)) if upper else text


def _capital(char: str) -> str:
    """A letter's capital; Georgian has some since 2018, which few fonts have and
    nobody misses."""
    return char if "\u10d0" <= char <= "\u10ff" else char.upper()


def outlined(
    size: tuple[int, int], text: str, style: str, font: str | Path | None = None
) -> list[tuple[Image.Image, tuple[int, int]]]:
    """Letters (RGBA) and where they go on a picture: one block, or two."""
    face = choose_face(text, font)
    width, height = size
    largest = max(7, round(min(height / 8.5, width / 6.5)))
    smallest = max(6, min(width, height) // 34)
    margin = max(1, round(0.025 * min(width, height)))
    room = width - 2 * margin
    backward = is_right_to_left(text)

    def block_of(words: str, on_top: bool, share: float) -> tuple:
        # A third of the picture, unless the letters would become small.
        box = (room, round(min(0.3, share) * height))
        block = fit(words, face, *box, largest, smallest)
        if block.is_cut or block.size < 0.6 * largest:
            box = (room, round(share * height))
        ink = ink_of(words, face, box, largest, smallest, backward, True)
        left = (width - ink.width) // 2
        return ink, (left, margin if on_top else height - margin - ink.height)

    if style == "classic":
        box = (room, round(0.4 * height))
        head, tail = split_in_two(text, face, box, largest, smallest)
        if tail:
            return [block_of(head, True, 0.4), block_of(tail, False, 0.4)]
    return [block_of(text, style == "top", 0.5)]


def split_in_two(
    text: str, face: Face, box: tuple[int, int], largest: int, smallest: int
) -> tuple[str, str]:
    """Divide a text between the top and the bottom of a picture.

    At its first line break if it has one; else, if it fills more than about
    one and a half lines, at the space nearest to its middle, where the end
    of a sentence or a comma attracts the cut. A short text comes back whole,
    with "" for the second half. A text too long for two boxes loses its
    end first, so that what is left can be read on from top to bottom.
    """
    head, _, tail = text.partition("\n")
    if tail:
        return head, tail
    if face.width(text[:400]) <= 1.5 * box[0] / largest:
        return text, ""
    text = text[:MOST_CHARACTERS]
    while True:
        at = _middle(text)
        if at is None:
            return text, ""
        head, tail = text[:at], text[at + 1 :]
        if not fit(head, face, *box, largest, smallest).is_cut:
            return head, tail
        shorter = text[: int(0.9 * len(text))].rsplit(" ", 1)[0]
        text = shorter.rstrip(" .,…") + "…"


def _middle(text: str) -> int | None:
    """Where to divide a text; None if it has no space."""
    spaces = [m.start() for m in SPACE.finditer(text)]

    def badness(at: int) -> float:
        bonus = 0.0
        if text[at - 1] in ".?!…":
            bonus = 0.25
        elif text[at - 1] in ",;:—–":
            bonus = 0.12
        return abs(at / len(text) - 0.5) - bonus

    return min(spaces, key=badness, default=None)


def ink_of(text, face, box, largest, smallest, backward, outlined) -> Image.Image:
    """The fitted text as a tight RGBA picture that is not above ``box``.

    Layout goes by the widths of the font; marks piled on a letter can reach
    beyond them, so the ink itself has the last word.
    """
    size = largest
    while True:
        block = fit(text, face, *box, size, smallest, outlined)
        ink = _draw(block, face, backward, outlined)
        if ink.width <= box[0] and ink.height <= box[1]:
            return ink
        if block.size <= smallest:
            ink.thumbnail(box)
            return ink
        size = max(smallest, min(block.size - 1, int(0.95 * block.size)))


def _draw(block: Block, face: Face, backward, outlined) -> Image.Image:
    scale = _SUPERSAMPLE if block.size < _SMALL else 1
    size = block.size * scale
    outline = round(block.outline * scale)
    widest = max(face.width(line) for line in block.lines)
    pad = size + outline
    step = round(face.step * size)
    canvas = (round(widest * size) + 2 * pad, len(block.lines) * step + 2 * pad)
    layer = Image.new("RGBA", canvas)
    # All outlines first, so that none covers a letter of the line above.
    passes = [("white", 0)] if outlined else [("black", 0)]
    if outlined:
        passes.insert(0, ("black", outline))
    for color, stroke in passes:
        y = pad + face.ascent * size
        for line in block.lines:
            at = (canvas[0] / 2, y)
            face.draw(layer, line, at, size, color, stroke, backward)
            y += step
    layer = layer.reduce(scale) if scale > 1 else layer
    box = layer.getbbox()
    return layer.crop(box) if box else Image.new("RGBA", (1, 1))
