"""The one printer of tables: text, Markdown and HTML."""

from __future__ import annotations

import html
import statistics
from collections.abc import Mapping, Sequence

MISSING = "–"


def table(
    rows: Sequence[Sequence],
    columns: Sequence[str] | Mapping[str, str],
    style: str = "text",
    widths: tuple[int, int] | None = None,
    marked: str | None = None,
) -> str:
    """Rows of cells under headings, as "text", "markdown" or "html".

    ``columns``: headings, or headings with a format ("+.1f") for cells that
    are numbers.  None becomes a dash.  In text the first column stands left
    and the others right, as wide as their cells ask for, or ``widths``: that
    of the first and that of each other.  The row whose first cell is
    ``marked`` gets an arrow.  Raises ValueError for another style, or a row
    of another length.
    """
    formats = list(columns.values()) if isinstance(columns, Mapping) else []
    heads = list(columns)
    formats = formats or [""] * len(heads)
    shown = [[_cell(c, f) for c, f in zip(row, formats, strict=True)] for row in rows]
    arrows = [marked is not None and row[0] == marked for row in rows]
    if style == "html":
        return _html(heads, shown, arrows)
    for row, arrow in zip(shown, arrows, strict=True):
        row[0] = f"→ {row[0]}" if arrow else row[0]
    if style == "markdown":
        lines = [heads, ["---"] * len(heads), *shown]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)
    if style == "text":
        return _text(heads, shown, widths)
    raise ValueError(f"style is text, markdown or html, not {style!r}")


def _cell(value, spec: str) -> str:
    if value is None:
        return MISSING
    return value if isinstance(value, str) else format(value, spec)


def _text(heads, rows, widths) -> str:
    lines = [heads, *rows]
    if widths is None:
        first, *others = (max(map(len, c)) for c in zip(*lines, strict=True))
        others = [wide + 2 for wide in others]
    else:
        first, others = widths[0], [widths[1]] * (len(heads) - 1)
    return "\n".join(
        f"{line[0]:{first}}"
        + "".join(f"{c:>{w}}" for c, w in zip(line[1:], others, strict=True))
        for line in lines
    )


def _html(heads, rows, arrows) -> str:
    lines = ["".join(f"<th>{html.escape(head)}</th>" for head in heads)]
    for row, arrow in zip(rows, arrows, strict=True):
        cells = [html.escape(cell) for cell in row]
        if arrow:
            cells[0] = f"<b>→ {cells[0]}</b>"
        lines.append("".join(f"<td>{cell}</td>" for cell in cells))
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def spread(values: Sequence[float], factor: float = 100, digits: int = 1) -> str:
    """ "60.1 [59.8–60.5]": mean, least and most, times ``factor``."""
    if not values:
        return ""
    scaled = [factor * value for value in values]
    mean = f"{statistics.mean(scaled):.{digits}f}"
    if len(values) == 1:
        return mean
    return f"{mean} [{min(scaled):.{digits}f}–{max(scaled):.{digits}f}]"
