"""The studio's texts and its chart as HTML."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from ...console import printable
from ..names import JOINERS

# Colours come from JupyterLab's theme, so that dark themes work too. Lengths
# are relative, so that zooming wraps instead of cutting off. The line that
# tells what happened stays in sight on the way down: for that no box around
# it may scroll by itself.
STYLE = """
.vt-studio { max-width: 72rem; overflow: visible; padding-right: 4px; }
.vt-studio .vt-columns { display: flex; flex-flow: row wrap; gap: 0.5rem 2rem;
  overflow: visible; }
.vt-studio .vt-column { flex: 1 1 19rem; min-width: 0; overflow: visible; }
.vt-studio .vt-wide { flex: 1.4 1 22rem; }
.vt-studio .widget-html, .vt-studio .widget-html-content { height: auto;
  min-width: 0; width: auto; line-height: 1.4; overflow: visible; }
.vt-studio h3 { font-size: 1.05em; margin: 0.7em 0 0.2em; }
.vt-studio p { margin: 0.2em 0; }
.vt-studio .vt-row { flex-flow: row wrap; gap: 0.1rem 0.4rem;
  align-items: center; overflow: visible; }
.vt-studio .vt-column > *, .vt-studio .vt-row > * { max-width: 100%; }
.vt-studio .widget-inline-hbox { flex-flow: row wrap; height: auto;
  width: auto; }
.vt-studio .widget-label { width: auto; min-width: 7.5em; height: auto;
  text-align: left; white-space: normal; }
.vt-studio .widget-text, .vt-studio .widget-dropdown,
.vt-studio .widget-textarea { width: calc(100% - 4px);
  box-sizing: border-box; }
.vt-studio .widget-text input, .vt-studio .widget-dropdown select,
.vt-studio .widget-textarea textarea { flex: 1 1 14em; min-width: 0;
  max-width: 100%; box-sizing: border-box; }
.vt-studio .widget-dropdown select { height: 2.2em; padding: 0 0.4em; }
.vt-studio .widget-checkbox { width: auto; }
.vt-studio .jupyter-button { height: auto; min-height: 2.2em; width: auto;
  white-space: normal; line-height: 1.3; padding: 0.25em 0.8em; }
.vt-studio .vt-choice { display: block; width: calc(100% - 4px);
  text-align: left; }
.vt-studio img { display: block; max-width: 100%; height: auto;
  object-fit: contain; }
.vt-studio :is(button, input, select, textarea):focus-visible {
  outline: 3px solid var(--jp-brand-color1, #1976d2) !important;
  outline-offset: 1px; }
.vt-studio .vt-status { border-left: 4px solid var(--jp-brand-color1, #1976d2);
  padding: 0.3em 0.7em; background: var(--jp-layout-color2, #eee);
  overflow-wrap: anywhere; white-space: pre-line; }
.vt-studio .vt-news { position: sticky; top: 0; z-index: 5; }
:is(.jp-OutputArea, .jp-OutputArea-child, .jp-OutputArea-output):has(
  .vt-studio) { overflow: visible !important; }
.vt-studio .vt-problem { border-left-color: var(--jp-error-color1, #d32f2f); }
.vt-studio .vt-bars { list-style: none; margin: 0; padding: 0; }
.vt-studio .vt-bars li { margin: 0 0 0.45em; }
.vt-studio .vt-bar { display: flex; align-items: center; gap: 0.5em; }
.vt-studio .vt-bar i { flex: 1 1 6em; height: 0.7em;
  background: var(--jp-layout-color3, #ddd); }
.vt-studio .vt-bar b { display: block; height: 100%; background: #0072b2; }
.vt-studio .vt-chosen { font-weight: 600; }
.vt-studio .vt-chosen b { background: repeating-linear-gradient(45deg,
  #d55e00 0 6px, #a84a00 6px 9px); }
.vt-studio .vt-note { color: var(--jp-ui-font-color2, #616161); }
"""


class Bar(NamedTuple):
    """One row of the score chart; ``score`` is the cosine."""

    caption: str
    score: float
    probability: float
    is_chosen: bool


def style_html() -> str:
    """The studio's style sheet."""
    return f"<style>{STYLE}</style>"


def heading_html(text: str, note: str = "") -> str:
    """A heading, and a line of explanation below it."""
    return f"<h3>{escape(text)}</h3>" + note_html(note)


def note_html(text: str) -> str:
    """A line of explanation; nothing for no text."""
    return f'<p class="vt-note">{escape(text)}</p>' if text else ""


def picture_html(png: bytes, alt: str) -> str:
    """A picture with its description, which ``widgets.Image`` cannot have."""
    data = base64.b64encode(png).decode("ascii")
    return f'<img alt="{escape(alt)}" src="data:image/png;base64,{data}">'


def status_html(text: str, is_problem: bool = False) -> str:
    """What just happened; screen readers say it as soon as it changes."""
    role = "alert" if is_problem else "status"
    live = "assertive" if is_problem else "polite"
    kind = "vt-status vt-problem" if is_problem else "vt-status"
    lead = "<strong>Problem:</strong> " if is_problem else ""
    return (
        f'<div class="{kind}" role="{role}" aria-live="{live}">'
        f"{lead}{escape(text)}</div>"
    )


def progress_html(done: int, total: int, seconds: float, what: str = "pictures") -> str:
    """A bar: how many of ``total`` are done after ``seconds``, what is left.

    What is left is told in the pace so far.
    """
    text = f"{done:,} of {total:,} {what}"
    if 0 < done < total:
        text += f", {duration(seconds * (total - done) / done)} left"
    return (
        f'<div class="vt-status"><progress max="{total}" value="{done}" '
        f'aria-label="{text}"></progress> {text}</div>'
    )


def duration(seconds: float) -> str:
    """As a person would say it: "about 3 min"."""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} h"


def chart_html(bars: Sequence[Bar]) -> str:
    """A list of captions, each with its cosine, its share and a bar.

    The bar is the share, drawn; screen readers get the numbers.
    """
    if not bars:
        return '<p class="vt-note">No captions to compare yet.</p>'
    rows = []
    for bar in bars:
        share = f"{100 * bar.probability:.0f} %"
        mark = " ← chosen" if bar.is_chosen else ""
        kind = ' class="vt-chosen"' if bar.is_chosen else ""
        width = max(0.5, 100 * bar.probability)
        rows.append(
            f"<li{kind}>{escape(shorten(bar.caption, 160))}{mark}"
            f'<span class="vt-bar"><i aria-hidden="true">'
            f'<b style="width:{width:.1f}%"></b></i>'
            f"<span>{share}, cosine {bar.score:.3f}</span></span></li>"
        )
    return f'<ul class="vt-bars">{"".join(rows)}</ul>'


def skipped_html(skipped) -> str:
    """The files that are no pictures, each with the reason."""
    if not skipped:
        return ""
    rows = "".join(
        f"<li>{escape(shown_name(item.name, 80))}: {escape(item.reason)}</li>"
        for item in skipped[:20]
    )
    more = len(skipped) - 20
    rest = f"<li>and {more:,} more</li>" if more > 0 else ""
    count = f"{len(skipped):,} files that are no pictures"
    if len(skipped) == 1:
        count = "One file that is no picture"
    return f"<details><summary>{count}</summary><ul>{rows}{rest}</ul></details>"


def shown_name(name: str, most: int = 60) -> str:
    """A file's name on one line; what would turn the page's writing, escaped."""
    return shorten(printable(" ".join(name.split()), keep=JOINERS), most)


def shorten(text: str, most: int) -> str:
    """One line of at most ``most`` characters."""
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"
