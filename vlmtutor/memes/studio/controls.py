"""The studio's controls and where they stand on the page."""

from __future__ import annotations

import ipywidgets as widgets

from .html import heading_html, style_html

STYLES = {
    "classic: top and bottom": "classic",
    "top": "top",
    "bottom": "bottom",
    "on a bar above": "above",
    "on a bar below": "below",
    "auto: where it hides least": "auto",
}
ASSIGNMENTS = {
    "the best for each picture": "best",
    "one to one, none used twice": "one_to_one",
}
CORRECTIONS = {
    "no caption for everyone (dual softmax)": "dual_softmax",
    "no caption for everyone (CSLS)": "csls",
    "none: plain cosines": "",
}
UPLOAD_LIMIT = (
    "All together at most 10 MB at a time where Jupyter keeps its own limit: it "
    "says nothing when more is lost. “make lab” sets 200 MB."
)
ALTERNATIVES = 3
COLDEST, HOTTEST = 0.001, 1.0  # temperatures


class Controls:
    """All widgets of a studio, each with a label, and :meth:`rows`.

    They stand in the order in which they are used, which is also the order
    in which Tab walks through them.
    """

    def __init__(self) -> None:
        self.status = widgets.HTML()
        self.status.add_class("vt-news")
        self._make_meme()
        self._make_reasons()
        self._make_settings()

    def _make_meme(self) -> None:
        self.picture = widgets.Dropdown(description="Picture")
        self.previous = widgets.Button(description="← Previous")
        self.next = widgets.Button(description="Next →")
        self.image = widgets.HTML()
        self.place = widgets.HTML()
        self.words = widgets.Text(
            description="Caption",
            continuous_update=False,
            placeholder="type your own, then press Enter",
        )
        self.keep = widgets.Checkbox(description="Keep this caption", indent=False)
        self.choices = [widgets.Button() for _ in range(ALTERNATIVES)]
        for button in self.choices:
            button.add_class("vt-choice")
        self.shuffle = widgets.Button(description="Shuffle all")
        self.best = widgets.Button(description="Back to the best")
        self.save = widgets.Button(description="Save this meme", button_style="primary")
        self.save_all = widgets.Button(description="Save all as zip")

    def _make_reasons(self) -> None:
        self.chart = widgets.HTML()
        self.why_words = widgets.Text(
            description="Words",
            continuous_update=False,
            placeholder="empty: the whole caption",
        )
        self.why = widgets.Button(description="Why this caption?")
        self.heat = widgets.HTML()
        self.heat_note = widgets.HTML()

    def _make_settings(self) -> None:
        self.style = widgets.Dropdown(description="Style")
        self.assign = widgets.Dropdown(description="Assignment", options=ASSIGNMENTS)
        self.correction = widgets.Dropdown(
            description="Correction", options=CORRECTIONS
        )
        # No slider: its handle would have no name for screen readers.
        self.temperature = widgets.BoundedFloatText(
            description="Temperature", min=COLDEST, max=HOTTEST, step=0.005
        )
        self.model = widgets.Dropdown(description="Model")
        self.more = widgets.Dropdown(description="More models")
        self.download = widgets.Button(description="Download this model")
        self.folder = widgets.Text(description="Folder", continuous_update=False)
        self.load = widgets.Button(description="Load the folder")
        self.upload = widgets.FileUpload(
            accept="image/*", multiple=True, description="Upload pictures"
        )
        self.skipped = widgets.HTML()
        self.captions = widgets.Textarea(
            description="All captions", rows=8, continuous_update=False
        )

    def controls(self) -> list[widgets.Widget]:
        """All that can be pressed, chosen or typed into."""
        parts = [*vars(self).values(), *self.choices]
        return [part for part in parts if hasattr(part, "disabled")]

    def rows(self) -> list[widgets.Widget]:
        """What the studio shows, from top to bottom."""
        meme = _column(
            self.picture,
            _row(self.previous, self.next),
            self.image,
            self.place,
            self.words,
            self.keep,
            _row(self.save, self.save_all),
            _title("Other captions that fit"),
            *self.choices,
            _row(self.shuffle, self.best),
        )
        others = _column(
            _title("Scores", "How the model shares 100 % among the captions."),
            self.chart,
            _title(
                "Why this caption?",
                "Where in the picture the score of some words comes from: "
                "attention, weighted by its gradient (Chefer and others, "
                "2021). Bright patches raised it most.",
            ),
            self.why_words,
            self.why,
            self.heat,
            self.heat_note,
            _title("Settings"),
            self.style,
            self.assign,
            self.correction,
            self.temperature,
            self.model,
            _row(self.more, self.download),
            _title("Pictures", UPLOAD_LIMIT),
            self.folder,
            _row(self.load, self.upload),
            self.skipped,
            _title("Captions", "One a line; used when you leave the field."),
            self.captions,
        )
        meme.add_class("vt-wide")
        columns = widgets.Box([meme, others])
        columns.add_class("vt-columns")
        return [widgets.HTML(style_html()), self.status, columns]


def _row(*children: widgets.Widget) -> widgets.Widget:
    box = widgets.HBox(children)
    box.add_class("vt-row")
    return box


def _column(*children: widgets.Widget) -> widgets.Widget:
    box = widgets.VBox(children)
    box.add_class("vt-column")
    return box


def _title(text: str, note: str = "") -> widgets.Widget:
    return widgets.HTML(heading_html(text, note))


def show(widget: widgets.Widget, on: bool) -> None:
    """Show or hide a widget; a hidden one is not reached by Tab."""
    widget.layout.display = None if on else "none"
