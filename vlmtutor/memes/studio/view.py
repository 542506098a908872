"""What the meme studio shows: a StudioState drawn into its widgets."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import ipywidgets as widgets

from ...models.pictures import UnreadablePicture
from .controls import COLDEST, HOTTEST, STYLES, Controls, show
from .files import preview
from .html import (
    chart_html,
    note_html,
    picture_html,
    progress_html,
    shorten,
    shown_name,
    skipped_html,
    status_html,
)
from .models import missing_models, ready_models
from .state import StudioState

EVERY = 0.5  # seconds between two looks at a progress bar


class StudioView(widgets.VBox):
    """The studio's page: ``state`` and the widgets ``ui`` that show it.

    Nothing here changes the state. ``models`` holds what was opened, by the
    name that ``load_clip`` takes; ``model`` is the name of the one in use.
    """

    def __init__(self, state: StudioState, folder: str):
        self.state = state
        self.ui = Controls()
        super().__init__(self.ui.rows())
        self.add_class("vt-studio")
        self.model = str(getattr(state.clip, "name", "this model"))
        self.models = {self.model: state.clip}
        self._is_filling = False
        self._working = threading.RLock()  # held while something changes
        self._started = self._said = 0.0  # seconds, of a progress bar
        self._counted = ""  # what it counts
        self._offered: list[str] = []  # the captions on the buttons
        self._lists = 0  # of pictures that have been shown
        with self._filling():
            self.ui.folder.value = folder
            self.ui.captions.value = "\n".join(state.captions)
        self._list_models()
        self._fill_temperature()

    def __repr__(self) -> str:
        return f"MemeStudio: {self.state.summary()}"

    @contextmanager
    def _filling(self) -> Iterator[None]:
        """While the program, not a person, sets the values of widgets."""
        before, self._is_filling = self._is_filling, True
        try:
            yield
        finally:
            self._is_filling = before

    @contextmanager
    def _busy(self) -> Iterator[None]:
        """During a long job: nothing can be pressed or typed into."""
        before = {c: c.disabled for c in self.ui.controls()}
        for control in before:
            control.disabled = True
        self._counted = ""
        try:
            yield
        finally:
            for control, disabled in before.items():
                control.disabled = disabled

    def _on_show(self) -> tuple:
        """Which picture of which list is on show."""
        return self._lists, self.ui.picture.value

    def _say(self, text: str, is_problem: bool = False) -> None:
        self.ui.status.value = status_html(text, is_problem)

    def _progress(self, done: int, total: int, what: str = "pictures") -> None:
        """A bar with the time left, in the place of the status."""
        now = time.monotonic()
        if what != self._counted or done <= 1:
            self._counted, self._started = what, now
        elif now - self._said >= EVERY:
            self._said = now
            bar = progress_html(done, total, now - self._started, what)
            self.ui.status.value = bar

    def _about(self) -> str:
        """The picture on show in words."""
        i = self.ui.picture.value
        if i is None:
            return "No pictures yet: load a folder, or upload some."
        name = shown_name(self.state.pictures[i].name)
        count = f"Picture {i + 1} of {len(self.state.pictures)}"
        caption = self.state.caption(i) or "no caption"
        notes = "".join(f". Note: {note}" for note in self.state.notes(i))
        return f"{count}, {name}: {shorten(caption, 200)}{notes}"

    def _tell(self, note: str = "") -> None:
        """Say what there is, which picture is on show, and perhaps more."""
        text = f"{self.state.summary()}. {self._about()}"
        if not self.state.captions:
            text += " Write captions into the last field, one a line."
        notes = [*self.state.captions.notes(), *([note] if note else [])]
        text += "".join(f" Note: {note}." for note in notes)
        self._say(text)

    def _list_pictures(self, shown: int = 0) -> None:
        pictures = self.state.pictures
        self._lists += 1
        with self._filling():
            self.ui.picture.options = [
                (f"{i + 1} of {len(pictures)}: {shown_name(p.name)}", i)
                for i, p in enumerate(pictures)
            ]
            if pictures:
                self.ui.picture.value = min(shown, len(pictures) - 1)
        self.ui.skipped.value = skipped_html(self.state.skipped)
        self._draw()

    def _list_models(self) -> None:
        """The models to choose from, and the styles that this one can."""
        labels = {name: name for name in self.models}
        labels |= {name: label for label, name in ready_models().items()}
        with self._filling():
            self.ui.model.options = [(v, k) for k, v in labels.items()]
            self.ui.model.value = self.model
            styles = self.state.styles()
            self.ui.style.options = [(k, v) for k, v in STYLES.items() if v in styles]
            self.ui.style.value = self.state.style
        missing = missing_models()
        self.ui.more.options = list(missing.items())
        self.ui.more.index = 0 if missing else None
        for widget in (self.ui.more, self.ui.download):
            show(widget, bool(missing))

    def _draw(self, offer: bool = True) -> None:
        """Show the meme and all that belongs to it."""
        ui, i = self.ui, self.ui.picture.value
        with self._filling():
            ui.words.value = "" if i is None else self.state.caption(i)
            ui.keep.value = i is not None and self.state.is_kept(i)
        for widget in (
            ui.image,
            ui.words,
            ui.keep,
            ui.save,
            ui.save_all,
            ui.why,
            ui.why_words,
        ):
            show(widget, i is not None)
        self._draw_meme()
        self._draw_scores(offer)
        self._draw_heat()

    def _draw_scores(self, offer: bool = True) -> None:
        """The alternatives to click on, and the chart.

        Without ``offer`` the buttons keep their captions: a second click of
        a double click takes the same again.
        """
        i = self.ui.picture.value
        if offer:
            bars = [] if i is None else self.state.alternatives(i)
            self._offered = [bar.caption for bar in bars]
        # all captions and, where it is none of them, the picture's own
        count = len(self.state.captions) + 1
        every = [] if i is None else self.state.chart(i, k=count)
        shares = {bar.caption: bar.probability for bar in every}
        for k, button in enumerate(self.ui.choices):
            show(button, k < len(self._offered))
            if k < len(self._offered):
                share = f"{100 * shares[self._offered[k]]:.0f} %"
                button.description = f"{shorten(self._offered[k], 120)} ({share})"
        bars = [] if i is None else self.state.chart(i)
        self.ui.chart.value = chart_html(bars)

    def _draw_meme(self) -> None:
        i = self.ui.picture.value
        if i is None:
            return
        self.ui.place.value = ""
        try:
            png = preview(self.state.meme(i))
            placement = self.state.placement(i)
            self.ui.place.value = note_html(placement.reason() if placement else "")
        except UnreadablePicture as reason:  # changed since it was loaded
            name = shown_name(self.state.pictures[i].name)
            text = f"{name} cannot be shown: {reason}"
            self.ui.image.value = status_html(text, is_problem=True)
        else:
            self.ui.image.value = picture_html(png, f"Meme. {self._about()}")

    def _draw_heat(self, image=None, text: str = "") -> None:
        """A heat map with a line about it; none without a picture."""
        self.ui.heat_note.value = status_html(text) if text else ""
        show(self.ui.heat, image is not None)
        if image is not None:
            png = preview(image, 420)
            self.ui.heat.value = picture_html(png, f"Heat map. {text}")

    def _fill_temperature(self) -> None:
        with self._filling():
            value = min(max(self.state.temperature, COLDEST), HOTTEST)
            self.ui.temperature.value = round(value, 4)
