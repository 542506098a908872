"""The meme studio as a widget: a thin skin over ``studio_state``.

Callbacks change the value of HTML widgets and print nothing, since
what a callback prints has no cell to appear under.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path

import ipywidgets as widgets

from .captions import read_captions
from .pictures import UnreadablePicture
from .studio_controls import COLDEST, HOTTEST, Controls, show
from .studio_files import preview, save_meme, save_zip
from .studio_html import (
    chart_html,
    picture_html,
    shorten,
    skipped_html,
    status_html,
)
from .studio_models import download_openai, download_size, ready_models
from .studio_state import StudioState, place


def find_folder(folder: str | Path) -> Path:
    """A folder named from here, from one up, or from the project.

    So "images" is found from ``notebooks/`` too. If it is nowhere, the path
    as it was given.
    """
    folder = Path(folder).expanduser()
    project = Path(__file__).resolve().parents[2]
    for root in (Path(), Path(".."), project):
        if (root / folder).is_dir():
            return root / folder
    return folder


def _told(action):
    """Tell an error of a callback in the status line."""

    @functools.wraps(action)
    def wrapper(self, *args):
        try:
            action(self, *args)
        except Exception as error:  # nobody else would see it
            self._say(str(error) or type(error).__name__, is_problem=True)

    return wrapper


def _by_person(action):
    """Heed a change only if a person made it, not this program."""

    @functools.wraps(action)
    def wrapper(self, *args):
        if not self._is_filling:
            _told(action)(self, *args)

    return wrapper


class MemeStudio(widgets.VBox):
    """Match pictures with captions; choose, change, explain and save.

    ``folder`` is where the pictures are, ``captions`` a list of texts or the
    path of a file (by default ``captions.txt`` in the folder), ``clip`` what
    ``load_clip`` returns, or a name for it (by default StickerCLIP). Memes
    are saved to ``out``, by default ``memes`` beside the folder. Raises what
    ``load_clip`` and ``read_captions`` raise; a folder that is not there or
    empty is told in the status line, as pictures can be uploaded.

    ``state`` is the StudioState that all of it acts on, ``ui`` the widgets.
    Tab walks through them; Enter or Space presses a button.
    """

    def __init__(
        self,
        folder: str | Path = "images",
        captions: Sequence[str] | str | Path | None = None,
        clip=None,
        out: str | Path | None = None,
    ):
        if clip is None or isinstance(clip, (str, Path)):
            from ..models import load_clip

            clip = load_clip(clip)
        folder = find_folder(folder)
        if captions is None:
            file = folder / "captions.txt"
            captions = read_captions(file) if file.is_file() else []
        elif isinstance(captions, (str, Path)):
            captions = read_captions(captions)
        if out is None:
            out = folder.parent / "memes" if folder.is_dir() else "memes"
        self.state = StudioState(clip, captions, out)
        self.ui = Controls()
        super().__init__(self.ui.rows())
        self.add_class("vt-studio")
        self._models = {str(getattr(clip, "name", "this model")): clip}
        self._is_filling = False
        self._listen()
        with self._filling():
            self.ui.folder.value = str(folder)
            self.ui.captions.value = "\n".join(self.state.captions)
        self._list_models()
        self._fill_temperature()
        self._load()

    def __repr__(self) -> str:
        return f"MemeStudio: {self.state.summary()}"

    def _listen(self) -> None:
        ui = self.ui
        ui.previous.on_click(lambda _: self._turn(-1))
        ui.next.on_click(lambda _: self._turn(1))
        for k, button in enumerate(ui.choices):
            button.on_click(lambda _, k=k: self._pick(k))
        for button, action in (
            (ui.shuffle, self._shuffle), (ui.best, self._unshuffle),
            (ui.why, self._why), (ui.save, self._save),
            (ui.save_all, self._save_all), (ui.load, self._load),
            (ui.download, self._download),
        ):  # fmt: skip
            button.on_click(lambda _, action=action: action())
        for control, action in (
            (ui.picture, self._show), (ui.words, self._write),
            (ui.keep, self._keep), (ui.style, self._set_style),
            (ui.assign, self._set_assign), (ui.model, self._set_model),
            (ui.captions, self._set_captions), (ui.upload, self._add),
        ):  # fmt: skip
            control.observe(lambda _, action=action: action(), "value")
        ui.temperature.observe(
            lambda change: self._set_temperature(change["new"]), "value"
        )

    # what is to be seen

    @contextmanager
    def _filling(self):
        before, self._is_filling = self._is_filling, True
        try:
            yield
        finally:
            self._is_filling = before

    def _say(self, text: str, is_problem: bool = False) -> None:
        self.ui.status.value = status_html(text, is_problem)

    def _progress(self, done: int, total: int) -> None:
        if done % 20 == 0:
            self._say(f"{done:,} of {total:,} pictures …")

    def _list_pictures(self, shown: int = 0) -> None:
        pictures = self.state.pictures
        with self._filling():
            self.ui.picture.options = [
                (f"{i + 1} of {len(pictures)}: {shorten(p.name, 60)}", i)
                for i, p in enumerate(pictures)
            ]
            if pictures:
                self.ui.picture.value = min(shown, len(pictures) - 1)
        self.ui.skipped.value = skipped_html(self.state.skipped)
        self._draw()

    def _list_models(self) -> None:
        ready = ready_models()
        with self._filling():
            labels = {name: name for name in self._models}
            labels |= {v: k for k, v in ready.items()}  # name → label
            self.ui.model.options = [(v, k) for k, v in labels.items()]
            name = str(getattr(self.state.clip, "name", "this model"))
            self.ui.model.value = name
        megabytes = download_size()
        self.ui.download.description = (
            f"Download OpenAI's CLIP ({megabytes} MB)"
        )
        show(self.ui.download, megabytes > 0)

    @_by_person
    def _show(self) -> None:
        self._draw()
        self._say(self._about())

    def _about(self) -> str:
        """The picture on show in words."""
        i = self.ui.picture.value
        if i is None:
            return "No pictures yet: load a folder, or upload some."
        name = self.state.pictures[i].name
        count = f"Picture {i + 1} of {len(self.state.pictures)}"
        caption = self.state.caption(i) or "no caption"
        return f"{count}, {shorten(name, 60)}: {shorten(caption, 200)}"

    def _draw(self) -> None:
        """Show the meme and all that belongs to it."""
        ui, i = self.ui, self.ui.picture.value
        bars = [] if i is None else self.state.alternatives(i)
        with self._filling():
            ui.words.value = "" if i is None else self.state.caption(i)
            ui.keep.value = i is not None and self.state.is_kept(i)
        for k, button in enumerate(ui.choices):
            show(button, k < len(bars))
            if k < len(bars):
                share = f"{100 * bars[k].probability:.0f} %"
                caption = shorten(bars[k].caption, 120)
                button.description = f"{caption} ({share})"
        ui.chart.value = chart_html([] if i is None else self.state.chart(i))
        for widget in (ui.image, ui.words, ui.keep, ui.save, ui.save_all,
                       ui.why, ui.why_words):  # fmt: skip
            show(widget, i is not None)
        show(ui.heat, False)
        ui.heat_note.value = ""
        if i is not None:
            png = preview(self.state.meme(i))
            ui.image.value = picture_html(png, f"Meme. {self._about()}")

    def _fill_temperature(self) -> None:
        with self._filling():
            value = min(max(self.state.temperature, COLDEST), HOTTEST)
            self.ui.temperature.value = round(value, 4)

    # what a person does

    @_told
    def _turn(self, step: int) -> None:
        count = len(self.state.pictures)
        if count:
            self.ui.picture.value = (self.ui.picture.value + step) % count

    @_by_person
    def _write(self) -> None:
        self.state.write(self.ui.picture.value, self.ui.words.value)
        self._draw()
        self._say(f"Your caption. {self._about()}")

    @_told
    def _pick(self, k: int) -> None:
        i = self.ui.picture.value
        self.state.write(i, self.state.alternatives(i)[k].caption)
        self._draw()
        self._say(f"Taken. {self._about()}")

    @_by_person
    def _keep(self) -> None:
        i, on = self.ui.picture.value, self.ui.keep.value
        self.state.keep(i, on)
        self._draw()
        done = "This caption stays." if on else "The model chooses again."
        self._say(f"{done} {self._about()}")

    @_told
    def _shuffle(self) -> None:
        self.state.shuffle()
        self._draw()
        self._say(f"Shuffled; kept captions stayed. {self._about()}")

    @_told
    def _unshuffle(self) -> None:
        self.state.unshuffle()
        self._draw()
        self._say(f"The best captions again. {self._about()}")

    @_told
    def _why(self) -> None:
        i = self.ui.picture.value
        words = self.ui.why_words.value.strip() or self.state.caption(i)
        image, heat = self.state.why(i, words)
        text = f"“{shorten(words, 120)}”: brightest {place(heat)}."
        png = preview(image, 420)
        self.ui.heat.value = picture_html(png, f"Heat map. {text}")
        self.ui.heat_note.value = status_html(text)
        show(self.ui.heat, True)

    @_by_person
    def _set_style(self) -> None:
        self.state.set_style(self.ui.style.value)
        self._draw()
        self._say(f"Style: {self.ui.style.label}.")

    @_by_person
    def _set_assign(self) -> None:
        self.state.set_assign(self.ui.assign.value)
        self._draw()
        self._say(f"{self.state.summary()}. {self._about()}")

    @_by_person
    def _set_temperature(self, value: float) -> None:
        self.state.set_temperature(value)
        self._fill_temperature()
        i = self.ui.picture.value
        if i is not None:
            self.ui.chart.value = chart_html(self.state.chart(i))
        self._say(f"Temperature {value:.3g}: see the scores.")

    @_by_person
    def _set_captions(self) -> None:
        self.state.set_captions(self.ui.captions.value)
        self._draw()
        self._say(f"{self.state.summary()}. {self._about()}")

    @_by_person
    def _set_model(self) -> None:
        from ..models import load_clip

        name = self.ui.model.value
        self._say(f"Opening {self.ui.model.label} …")
        try:
            if name not in self._models:
                self._models[name] = load_clip(name)
            self.state.set_clip(self._models[name], self._progress)
        finally:
            self._list_models()
            self._fill_temperature()
            self._list_pictures(self.ui.picture.value or 0)
        self._say(f"{self.state.summary()}. {self._about()}")

    @_told
    def _download(self) -> None:
        self._say("Asking the hub …")
        size = download_size()
        download_openai(
            lambda done: self._say(f"{done:,.0f} of {size} MB are here …")
        )
        self._list_models()
        self._say("OpenAI's CLIP is here: choose it under Model.")

    @_told
    def _load(self) -> None:
        folder = find_folder(self.ui.folder.value)
        self._say(f"Looking at {folder} …")
        try:
            self.state.load_folder(folder, self._progress)
        finally:
            self._list_pictures()
        self._say(f"{self.state.summary()}. {self._about()}")

    @_by_person
    def _add(self) -> None:
        files = self.ui.upload.value
        with self._filling():
            self.ui.upload.value = ()  # so that one can be sent again
        added, problems = [], []
        for file in files:
            name = shorten(str(file["name"]), 60)
            try:
                data = bytes(file["content"])
                added.append(self.state.add_upload(file["name"], data).name)
            except UnreadablePicture as reason:
                problems.append(f"{name}: {reason}")
        if added:
            self._list_pictures(len(self.state.pictures) - 1)
        told = [f"Added {', '.join(added)}. {self._about()}"] if added else []
        self._say(" ".join(told + problems), is_problem=bool(problems))

    @_told
    def _save(self) -> None:
        path = save_meme(self.state, self.ui.picture.value)
        self._say(f"Saved: {path.resolve()}")

    @_told
    def _save_all(self) -> None:
        path = save_zip(self.state, self._progress)
        self._say(f"Saved: {path.resolve()}")
