"""The meme studio as a widget: a thin skin over ``state``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ...console import counted
from ..cache import EmbeddingCache
from ..captions import read_captions
from ..explain import brightest
from ..folder import stored_embeddings
from ..listing import named
from .callbacks import by_person, job, of_picture, told
from .files import left_out, save_meme, save_zip
from .html import shorten, shown_name
from .models import fetch_model
from .pictures import find_folder, unread_captions
from .state import StudioState
from .view import StudioView


class MemeStudio(StudioView):
    """Match pictures with captions; choose, change, explain and save.

    ``folder`` is where the pictures are, ``captions`` a list of texts or the
    path of a file (by default ``captions.txt`` in the folder), ``clip`` what
    ``load_clip`` returns, or a name for it (by default StickerCLIP). Memes
    are saved to ``out``, by default ``memes`` beside the folder; pictures
    that ``caption_folder`` has encoded for ``out`` are not encoded again.
    Models are opened on ``device``, as by ``load_clip``; ``font`` is a font
    file for scripts that the fonts here lack. Raises what ``load_clip`` and
    ``read_captions`` raise, OSError for a font that is none, ValueError for a
    folder without a name; one that is not there or empty is told in the
    status line, as pictures can be uploaded.

    ``state`` is the StudioState that all of it acts on, ``ui`` the widgets.
    Tab walks through them; Enter or Space presses a button.
    """

    def __init__(
        self,
        folder: str | Path = "images",
        captions: Sequence[str] | str | Path | None = None,
        clip=None,
        out: str | Path | None = None,
        device: str = "cpu",
        font: str | Path | None = None,
    ):
        self.device = device
        if clip is None or isinstance(clip, (str, Path)):
            from ...models import load_clip

            clip = load_clip(clip, device=device)
        folder = find_folder(folder)
        if captions is None:
            file = folder / "captions.txt"
            captions = read_captions(file) if os.path.isfile(file) else []
        elif isinstance(captions, (str, Path)):
            captions = read_captions(captions)
        if out is None:
            out = folder.parent / "memes" if os.path.isdir(folder) else "memes"
        out = named(out)
        stored = stored_embeddings(out)
        cache = EmbeddingCache(stored) if os.path.isdir(stored) else None
        state = StudioState(clip, captions, out, cache, font)
        super().__init__(state, str(folder))
        self._listen()
        self._list_pictures()
        self._load()

    def _listen(self) -> None:
        ui = self.ui
        ui.previous.on_click(lambda _: self._turn(-1))
        ui.next.on_click(lambda _: self._turn(1))
        for k, button in enumerate(ui.choices):
            button.on_click(lambda _, k=k: self._pick(k))
        for button, action in (
            (ui.shuffle, self._shuffle),
            (ui.best, self._unshuffle),
            (ui.why, self._why),
            (ui.save, self._save),
            (ui.save_all, self._save_all),
            (ui.load, self._load),
            (ui.download, self._download),
        ):
            button.on_click(lambda _, action=action: action())
        for control, action in (
            (ui.picture, self._show),
            (ui.words, self._write),
            (ui.keep, self._keep),
            (ui.style, self._set_style),
            (ui.assign, self._set_assign),
            (ui.correction, self._set_correction),
            (ui.model, self._set_model),
            (ui.temperature, self._set_temperature),
            (ui.captions, self._set_captions),
            (ui.upload, self._add),
            (ui.why_words, self._why),
        ):
            control.observe(lambda _, action=action: action(), "value")

    @by_person
    def _show(self) -> None:
        self._draw()
        self._say(self._about())

    @told
    def _turn(self, step: int) -> None:
        count = len(self.state.pictures)
        if count:
            self.ui.picture.value = (self.ui.picture.value + step) % count

    @of_picture
    @by_person
    def _write(self) -> None:
        self.state.write(self.ui.picture.value, self.ui.words.value)
        self._draw()
        self._say(f"Your caption. {self._about()}")

    @of_picture
    @told
    def _pick(self, k: int) -> None:
        if k < len(self._offered):  # else the button has just gone
            self.state.write(self.ui.picture.value, self._offered[k])
            self._draw(offer=False)
            self._say(f"Taken. {self._about()}")

    @of_picture
    @by_person
    def _keep(self) -> None:
        i, on = self.ui.picture.value, self.ui.keep.value
        self.state.keep(i, on)
        self._draw()
        done = "This caption stays." if on else "The model chooses again."
        self._say(f"{done} {self._about()}")

    @told
    def _shuffle(self) -> None:
        self.state.shuffle()
        self._draw()
        self._say(f"Shuffled; kept captions stayed. {self._about()}")

    @told
    def _unshuffle(self) -> None:
        self.state.unshuffle()
        self._draw()
        self._say(f"The best captions again. {self._about()}")

    @of_picture
    @told
    def _why(self) -> None:
        i = self.ui.picture.value
        words = self.ui.why_words.value.strip() or self.state.caption(i)
        image, heat = self.state.why(i, words)
        text = f"“{shorten(words, 120)}”: brightest {brightest(heat)}."
        self._draw_heat(image, text)

    @by_person
    def _set_style(self) -> None:
        try:
            self.state.set_style(self.ui.style.value)
        finally:
            with self._filling():
                self.ui.style.value = self.state.style
        self._draw_meme()
        i = self.ui.picture.value
        placement = None if i is None else self.state.placement(i)
        where = f" Here {placement.reason()}." if placement else ""
        self._say(f"Style: {self.ui.style.label}.{where}")

    @by_person
    def _set_assign(self) -> None:
        self.state.set_assign(self.ui.assign.value)
        self._draw()
        self._tell()

    @by_person
    def _set_correction(self) -> None:
        self.state.set_correction(self.ui.correction.value or None)
        self._draw()
        self._tell()

    @by_person
    def _set_temperature(self) -> None:
        value = self.ui.temperature.value
        self.state.set_temperature(value)
        self._draw_scores()
        self._say(f"Temperature {value:.3g}: see the scores.")

    @by_person
    @job
    def _set_captions(self) -> None:
        self.state.set_captions(self.ui.captions.value, self._progress)
        self._draw()
        self._tell()

    @by_person
    @job
    def _set_model(self) -> None:
        from ...models import load_clip

        name, shown = self.ui.model.value, self.ui.picture.value
        self._say(f"Opening {self.ui.model.label} …")
        try:
            if name not in self.models:
                self.models[name] = load_clip(name, device=self.device)
            self.state.set_clip(self.models[name], self._progress)
            self.model = name
        finally:
            self._list_models()
            self._fill_temperature()
            self._list_pictures(shown or 0)
        self._tell()

    @told
    @job
    def _download(self) -> None:
        self._say("Asking the hub …")
        model = self.ui.more.value
        fetch_model(model.id, self._say)
        self._list_models()
        self._say(f"{model.label} is here: choose it under Model.")

    @told
    @job
    def _load(self) -> None:
        folder = find_folder(self.ui.folder.value)
        self._say(f"Looking at {folder} …")
        self.state.load_folder(folder, self._progress)
        self._list_pictures()
        self._tell(unread_captions(folder, self.state.captions))

    @by_person
    @job
    def _add(self) -> None:
        files = self.ui.upload.value
        with self._filling():
            self.ui.upload.value = ()  # so that one can be sent again
        added, problems = [], []
        for file in files:
            name = shown_name(str(file["name"]))
            try:
                data = bytes(file["content"])
                added.append(self.state.add_upload(file["name"], data).name)
            except Exception as error:  # the others are taken all the same
                problems.append(f"{name}: {str(error) or type(error).__name__}")
        if added:
            self._list_pictures(len(self.state.pictures) - 1)
        told = [f"Added {', '.join(added)}. {self._about()}"] if added else []
        self._say(" ".join(told + problems), is_problem=bool(problems))

    @of_picture
    @told
    def _save(self) -> None:
        path = save_meme(self.state, self.ui.picture.value)
        self._say(f"Saved: {path.resolve()}")

    @told
    @job
    def _save_all(self) -> None:
        path = save_zip(self.state, self._progress)
        text = f"Saved: {path.resolve()}"
        if lacking := left_out(path):
            first = f"{shown_name(lacking[0].name)}: {lacking[0].reason}"
            which = "the first is " if lacking[1:] else ""
            text += f"\n{counted(len(lacking), 'picture')} left out: {which}{first}"
        self._say(text)
