"""What the meme studio knows and does, without widgets.

:class:`StudioState` holds pictures, captions, a model and the choices made;
what a button of the studio does, one of its methods or a function of
``files`` does.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ...console import counted
from ...naming import even_cosine
from ..cache import EmbeddingCache
from ..captions import unique_captions
from ..embed import Embedder
from ..explain import explain, overlay, seen_box
from ..hubs import CORRECTION, CORRECTIONS
from ..layout import drawn_text
from ..legible import legible, legible_lines
from ..letters import choose_face, clean_text, complaints
from ..listing import named
from ..match import ASSIGNMENTS, Matches, assign_captions, match_embeddings, opened
from ..options import one_of, temperature_of
from ..placement import Placement, can_place, place_caption
from ..render import STYLES, draw
from ..report import Skipped
from .html import Bar
from .pictures import Picture, Progress, embed_pictures, list_folder, open_upload


class StudioState:
    """Pictures, captions, a CLIP, and which caption goes with which picture.

    ``pictures``, ``captions``, ``style``, ``assign``, ``correction``,
    ``temperature``, ``clip`` and ``skipped`` (what is no picture, and why) may
    be read freely; change them through the methods. ``out`` is the folder that
    memes are saved to, ``cache`` where embeddings are kept (by default in
    memory), ``font`` a font file, as for ``render``.
    """

    def __init__(
        self,
        clip,
        captions: Iterable[str] = (),
        out: str | Path = "memes",
        cache: EmbeddingCache | None = None,
        font: str | Path | None = None,
    ):
        self.clip, self.font = opened(clip), font
        choose_face("", font)  # OSError now, not with the first meme
        self.captions = legible(unique_captions(captions), clip)
        self.out, self._cache = named(out), cache
        self.temperature = 1 / float(clip.logit_scale)
        self.style, self.assign, self.correction = "classic", "best", CORRECTION
        self.pictures: list[Picture] = []
        self.skipped: list[Skipped] = []
        self._image_embeds: list[torch.Tensor] = []  # one [D] a picture
        self._own: dict[str, str] = {}  # picture name → caption that stays
        self._noise: np.ndarray | None = None  # [N, M], after a shuffle
        self._chosen: list[str | None] = []
        self._shuffles = 0
        self._places: dict[tuple[str, str], Placement] = {}  # of style "auto"

    # pictures

    def load_folder(self, folder: str | Path, progress: Progress | None = None) -> int:
        """Take the pictures of a folder: how many there are.

        They replace those of an earlier folder; uploads stay, and so does a
        kept caption whose picture is still there. The rest is noted in
        ``skipped``. If ``list_folder`` raises, nothing has changed.
        """
        uploads = [p for p in self.pictures if p.is_upload]
        files, rest = list_folder(folder, uploads)
        found = embed_pictures(files, Embedder(self.clip, self._cache), progress)
        self._encode(self.captions, progress)
        own = {p.origin: self._own.get(p.name) for p in self.pictures}
        self.pictures, self._image_embeds, unreadable = found
        self.skipped = sorted(rest + unreadable, key=lambda skip: skip.name)
        self._places = {}
        texts = {p.name: own.get(p.origin) for p in self.pictures}
        self._own = {k: text for k, text in texts.items() if text is not None}
        self.unshuffle()
        return sum(not p.is_upload for p in self.pictures)

    def add_upload(self, name: str, data: bytes) -> Picture:
        """Add a picture from its bytes, under a safe and unused name.

        Raises UnreadablePicture, with the reason, if the bytes are none.
        """
        picture = open_upload(name, data, self.pictures)
        _, rows, _ = embed_pictures([picture], Embedder(self.clip, self._cache))
        self.pictures.append(picture)
        self._image_embeds += rows
        self._noise = None
        self._choose()
        return picture

    # settings

    def set_clip(self, clip, progress: Progress | None = None) -> None:
        """Choose the model; the temperature becomes the model's own.

        Raises ValueError for one that gives no numbers or cannot read a
        caption, and then nothing has changed.
        """
        embedder = Embedder(opened(clip), self._cache)
        found = embed_pictures(self.pictures, embedder, progress)
        embedder.texts([*self.captions, *filter(None, self._own.values())])
        self.clip, self._places = clip, {}
        if self.style not in self.styles():
            self.style = "classic"
        self.temperature = 1 / float(clip.logit_scale)
        self.pictures, self._image_embeds, gone = found
        self.skipped = self.skipped + gone
        self.unshuffle()

    def set_captions(self, text: str, progress: Progress | None = None) -> int:
        """Take one caption from each line: how many different ones.

        As in a captions file, a line that starts with "# " is a comment; what
        the model cannot read is left out. Raises ValueError if there is none,
        and then nothing has changed.
        """
        captions = legible_lines(text, self.clip)
        if captions != self.captions:
            self._encode(captions, progress)
            self.captions = captions
            self.unshuffle()
        self.captions = captions  # which may leave out other lines
        return len(captions)

    def styles(self) -> list[str]:
        """Where the words can stand: "auto" has to look into the model."""
        return [s for s in STYLES if s != "auto" or can_place(self.clip)]

    def set_style(self, style: str) -> None:
        """Where the words stand: ValueError if not one of ``styles()``."""
        self.style = one_of(self.styles(), style, "style")

    def set_assign(self, assign: str) -> None:
        """Take "best" or "one_to_one"; ValueError for any other."""
        self.assign = one_of(ASSIGNMENTS, assign, "assignment")
        self._choose()

    def set_correction(self, correction: str | None) -> None:
        """How captions that fit all are held back: one of ``CORRECTIONS``."""
        self.correction = one_of(CORRECTIONS, correction, "correction")
        self._choose()

    def set_temperature(self, temperature: float) -> None:
        """What cosines are divided by; ValueError unless positive."""
        self.temperature = temperature_of(temperature)

    # choices

    def caption(self, i: int) -> str:
        """The caption of picture ``i``; "" if there is none for it."""
        return self._chosen[i] or ""

    def is_kept(self, i: int) -> bool:
        """Whether the caption of picture ``i`` stays whatever else changes."""
        return self.pictures[i].name in self._own

    def write(self, i: int, caption: str) -> None:
        """Give a picture a caption of your own; ValueError if it is illegible."""
        caption = clean_text(caption)
        self._encode([caption] if caption else [])
        self._own[self.pictures[i].name] = caption
        self._choose()

    def keep(self, i: int, on: bool = True) -> None:
        """Keep the present caption of a picture, or let it be chosen."""
        if on:
            self._own.setdefault(self.pictures[i].name, self.caption(i))
        else:
            self._own.pop(self.pictures[i].name, None)
        self._choose()

    def shuffle(self) -> None:
        """Draw new captions for all pictures whose caption is not kept.

        Each is drawn with the probability that the chart shows, so likely
        captions come often, and a higher temperature gives wilder memes.
        (With Gumbel noise added, the largest logit is a sample of their
        softmax.) The n-th shuffle is the same every time.
        """
        self._shuffles += 1
        generator = np.random.default_rng(self._shuffles)
        shape = len(self.pictures), len(self.captions)
        self._noise = generator.gumbel(size=shape) * self.temperature
        self._choose()

    def unshuffle(self) -> None:
        """Back to the captions that fit best."""
        self._noise = None
        self._choose()

    # results

    def meme(self, i: int) -> Image.Image:
        """Picture ``i`` with its caption: RGB, at full size."""
        style = getattr(self.placement(i), "style", self.style)
        return draw(self.pictures[i].read(), self.caption(i), style, font=self.font)

    def notes(self, i: int) -> list[str]:
        """What is not as one would expect of a meme: letters without a font."""
        text = drawn_text(self.caption(i))
        return complaints(text, self.font) + self.pictures[i].notes()

    def placement(self, i: int) -> Placement | None:
        """Where style "auto" puts the caption of picture ``i``; else None."""
        caption = self.caption(i)
        if self.style != "auto" or not caption:
            return None
        key = self.pictures[i].name, caption
        if key not in self._places:
            asked = self.clip, self.pictures[i].read(), caption
            self._places[key] = place_caption(*asked, font=self.font)
        return self._places[key]

    def chart(self, i: int, k: int = 6) -> list[Bar]:
        """The ``k`` best captions of a picture, and the chosen one."""
        bars = self._bars(i)
        return bars[:k] + [bar for bar in bars[k:] if bar.is_chosen]

    def alternatives(self, i: int, k: int = 3) -> list[Bar]:
        """The ``k`` captions that fit best besides the chosen one."""
        return [bar for bar in self._bars(i) if not bar.is_chosen][:k]

    def why(self, i: int, words: str) -> tuple[Image.Image, torch.Tensor]:
        """The heat map of ``words`` over a picture, and the heat [h, w].

        Raises ValueError without words.
        """
        image = self.pictures[i].read()
        image.thumbnail((2048, 2048))  # no page shows more, and it fills memory
        heat = explain(self.clip, image, words)
        return overlay(image, heat, seen_box(self.clip, image)), heat

    def summary(self) -> str:
        """One line for a person: what there is."""
        name = getattr(self.clip, "name", type(self.clip).__name__)
        pictures = counted(len(self.pictures), "picture")
        text = f"{pictures}, {counted(len(self.captions), 'caption')}, {name}"
        bare = sum(caption is None for caption in self._chosen)
        if bare and self.captions:
            text += f"; too few captions: {counted(bare, 'picture')} without"
        return text

    def _bars(self, i: int) -> list[Bar]:
        """The captions for a picture, best first; its own among them."""
        texts, chosen = list(self.captions), self._chosen[i]
        if chosen and chosen not in texts:
            texts.append(chosen)
        if not texts:
            return []
        best = self._match(texts).best_of(i, len(texts))
        bars = ((c.caption, c.score, c.probability, c.caption == chosen) for c in best)
        return [Bar(*bar) for bar in bars]

    def _match(self, texts: list[str]) -> Matches:
        """All pictures and some texts."""
        return match_embeddings(
            torch.stack(self._image_embeds),
            self._encode(texts),
            texts,
            temperature=self.temperature,
            correction=self.correction,
            logit_scale=float(self.clip.logit_scale),
            even=even_cosine(self.clip),
        )

    def _encode(self, texts: list[str], progress: Progress | None = None):
        """[M, D]"""
        told = progress and (lambda *counts: progress(*counts, "captions"))
        return Embedder(self.clip, self._cache).texts(texts, told)

    def _choose(self) -> None:
        """A caption for every picture; those that are kept stay."""
        self._chosen = [self._own.get(p.name) for p in self.pictures]
        rows = [i for i, caption in enumerate(self._chosen) if caption is None]
        columns = list(range(len(self.captions)))
        if self.assign == "one_to_one":
            used = set(self._own.values())
            columns = [j for j in columns if self.captions[j] not in used]
        if not rows or not columns:
            return
        scores = self._match(self.captions).corrected[rows][:, columns]
        if self._noise is not None:
            scores = scores + torch.from_numpy(self._noise[np.ix_(rows, columns)])
        chosen = assign_captions(scores, self.assign)
        for i, j in zip(rows, chosen, strict=True):
            self._chosen[i] = None if j is None else self.captions[columns[j]]
