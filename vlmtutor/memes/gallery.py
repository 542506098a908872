"""Contact sheets: all memes of a folder at a glance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from ..models.pictures import open_header

CELL = 300  # pixels a side
GAP = 12
COLUMNS = 6
PER_PAGE = 48


def pages(count: int) -> list[range]:
    """Which memes stand on which page."""
    starts = range(0, count, PER_PAGE)
    return [range(i, min(i + PER_PAGE, count)) for i in starts]


def draw_page(paths: Sequence[Path]) -> Image.Image:
    """The pictures in a grid, read from left to right, each in a cell.

    One picture is open at a time. A file that has gone leaves an empty cell.
    """
    columns = min(COLUMNS, math.ceil(math.sqrt(len(paths))))
    rows = math.ceil(len(paths) / columns)
    pitch = CELL + GAP
    size = (columns * pitch + GAP, rows * pitch + GAP)
    page = Image.new("RGB", size, (244, 244, 241))
    for i, path in enumerate(paths):
        try:
            with open_header(path.read_bytes()) as meme:
                meme.draft("RGB", (2 * CELL, 2 * CELL))  # JPEG: decode less
                cell = meme.convert("RGB")
        except (OSError, ValueError):
            continue
        cell.thumbnail((CELL, CELL), Image.Resampling.LANCZOS)
        left = GAP + i % columns * pitch + (CELL - cell.width) // 2
        top = GAP + i // columns * pitch + (CELL - cell.height) // 2
        page.paste(cell, (left, top))
    return page
