"""What the meme studio knows and does, without widgets.

:class:`StudioState` holds pictures, captions, a model and the choices made;
what a button of the studio does, one of its methods or a function of
``files`` does.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from ..cache import EmbeddingCache
from ..captions import unique_captions
from ..embed import Embedder
from ..explain import explain, overlay, seen_box
from ..letters import clean_text
from ..match import ASSIGNMENTS, assign_captions, match_embeddings
from ..render import STYLES, render
from ..report import Skipped
from .pictures import Picture, Progress, embed_pictures, list_folder, open_upload


class Bar(NamedTuple):
    """One row of the score chart; ``score`` is the cosine."""

    caption: str
    score: float
    probability: float
    is_chosen: bool


class StudioState:
    """Pictures, captions, a CLIP, and which caption goes with which picture.

    ``pictures``, ``captions``, ``style``, ``assign``, ``temperature``,
    ``clip`` and ``skipped`` (files that are no pictures, each with the
    reason) may be read freely; change them through the methods. ``out`` is
    the folder that memes are saved to, ``cache`` where embeddings are kept
    (by default in memory).
    """

    def __init__(
        self,
        clip,
        captions: Iterable[str] = (),
        out: str | Path = "memes",
        cache: EmbeddingCache | None = None,
    ):
        self.clip = clip
        self.captions = unique_captions(captions)
        self.out, self._cache = Path(out), cache
        self.temperature = 1 / float(clip.logit_scale)
        self.style, self.assign = "classic", "best"
        self.pictures: list[Picture] = []
        self.skipped: list[Skipped] = []
        self._image_embeds: list[torch.Tensor] = []  # one [D] a picture
        self._own: dict[str, str] = {}  # picture name → caption that stays
        self._noise: np.ndarray | None = None  # [N, M], after a shuffle
        self._chosen: list[str | None] = []
        self._shuffles = 0

    # pictures

    def load_folder(self, folder: str | Path, progress: Progress | None = None) -> int:
        """Take the pictures of a folder: how many there are.

        They replace those of an earlier folder; uploads stay. Files that
        cannot be read are noted in ``skipped``. Raises FileNotFoundError or
        NotADirectoryError, and then nothing has changed.
        """
        uploads = [p for p in self.pictures if p.is_upload]
        files = list_folder(folder, {p.name.casefold() for p in uploads})
        embedder = Embedder(self.clip, self._cache)
        found = embed_pictures(files + uploads, embedder, progress)
        self.pictures, self._image_embeds, self.skipped = found
        names = {p.name for p in uploads}
        self._own = {k: v for k, v in self._own.items() if k in names}
        self.unshuffle()
        return sum(not p.is_upload for p in self.pictures)

    def add_upload(self, name: str, data: bytes) -> Picture:
        """Add a picture from its bytes, under a safe and unused name.

        Raises UnreadablePicture, with the reason, if the bytes are none.
        """
        taken = {p.name.casefold() for p in self.pictures}
        picture = open_upload(name, data, taken)
        embedder = Embedder(self.clip, self._cache)
        _, rows, _ = embed_pictures([picture], embedder)
        self.pictures.append(picture)
        self._image_embeds += rows
        self._noise = None
        self._choose()
        return picture

    # settings

    def set_clip(self, clip, progress: Progress | None = None) -> None:
        """Choose the model; the temperature becomes the model's own."""
        embedder = Embedder(clip, self._cache)
        found = embed_pictures(self.pictures, embedder, progress)
        self.clip = clip
        self.temperature = 1 / float(clip.logit_scale)
        self.pictures, self._image_embeds, gone = found
        self.skipped = self.skipped + gone
        self.unshuffle()

    def set_captions(self, text: str) -> int:
        """Take one caption from each line: how many different ones.

        As in a captions file, a line that starts with ``#`` is a comment.
        Raises ValueError if there is none, and then nothing has changed.
        """
        lines = text.splitlines()
        captions = unique_captions(
            line for line in lines if not line.lstrip().startswith("#")
        )
        if not captions:
            raise ValueError("no captions: write at least one")
        if captions != self.captions:
            self.captions = captions
            self.unshuffle()
        return len(captions)

    def set_style(self, style: str) -> None:
        """Where the words stand: ValueError if not one of ``STYLES``."""
        if style not in STYLES:
            known = ", ".join(STYLES)
            raise ValueError(f"unknown style {style!r}: use {known}")
        self.style = style

    def set_assign(self, assign: str) -> None:
        """Take "best" or "one_to_one"; ValueError for any other."""
        if assign not in ASSIGNMENTS:
            known = ", ".join(ASSIGNMENTS)
            raise ValueError(f"unknown assignment {assign!r}: use {known}")
        self.assign = assign
        self._choose()

    def set_temperature(self, temperature: float) -> None:
        """What cosines are divided by; ValueError unless positive."""
        if not 0 < temperature < float("inf"):
            raise ValueError(f"temperature must be positive, got {temperature}")
        self.temperature = temperature

    # choices

    def caption(self, i: int) -> str:
        """The caption of picture ``i``; "" if there is none for it."""
        return self._chosen[i] or ""

    def is_kept(self, i: int) -> bool:
        """Whether the caption of picture ``i`` stays whatever else changes."""
        return self.pictures[i].name in self._own

    def write(self, i: int, caption: str) -> None:
        """Give a picture a caption of your own choice, and keep it."""
        self._own[self.pictures[i].name] = clean_text(caption)
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
        (With Gumbel noise added to its logits, the largest of them is a
        sample of their softmax.) The n-th shuffle is the same every time.
        """
        self._shuffles += 1
        generator = np.random.default_rng(self._shuffles)
        shape = (len(self.pictures), len(self.captions))
        self._noise = generator.gumbel(size=shape) * self.temperature
        self._choose()

    def unshuffle(self) -> None:
        """Back to the captions that fit best."""
        self._noise = None
        self._choose()

    # results

    def meme(self, i: int) -> Image.Image:
        """Picture ``i`` with its caption: RGB, at full size."""
        return render(self.pictures[i].read(), self.caption(i), self.style)

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
        heat = explain(self.clip, image, words)
        return overlay(image, heat, seen_box(self.clip, image)), heat

    def summary(self) -> str:
        """One line for a person: what there is."""
        text = (
            f"{_count(len(self.pictures), 'picture')}, "
            f"{_count(len(self.captions), 'caption')}, "
            f"{getattr(self.clip, 'name', type(self.clip).__name__)}"
        )
        bare = sum(caption is None for caption in self._chosen)
        if bare and self.captions:
            text += f"; too few captions: {_count(bare, 'picture')} without"
        return text

    # inside

    def _bars(self, i: int) -> list[Bar]:
        """The captions for a picture, best first; its own among them."""
        texts, chosen = list(self.captions), self._chosen[i]
        if chosen and chosen not in texts:
            texts.append(chosen)
        if not texts:
            return []
        matches = match_embeddings(
            self._image_embeds[i][None],
            self._encode(texts),
            texts,
            temperature=self.temperature,
        )
        scores = matches.scores[0].tolist()
        shares = matches.probabilities[0].tolist()
        order = sorted(range(len(texts)), key=lambda j: -round(scores[j], 6))
        return [Bar(texts[j], scores[j], shares[j], texts[j] == chosen) for j in order]

    def _encode(self, texts: list[str]) -> torch.Tensor:
        return Embedder(self.clip, self._cache).texts(texts)

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
        image_embeds = torch.stack([self._image_embeds[i] for i in rows])
        text_embeds = self._encode([self.captions[j] for j in columns])
        scores = image_embeds @ text_embeds.T  # [rows, columns]
        if self._noise is not None:
            scores = scores + torch.from_numpy(self._noise[np.ix_(rows, columns)])
        chosen = assign_captions(scores, self.assign)
        for i, j in zip(rows, chosen, strict=True):
            self._chosen[i] = None if j is None else self.captions[columns[j]]


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def place(heat: torch.Tensor) -> str:
    """In words where a heat map [h, w] is brightest: "at the top left"."""
    row, column = divmod(int(heat.argmax()), heat.shape[1])
    down = ("top", "middle", "bottom")[3 * row // heat.shape[0]]
    across = ("left", "centre", "right")[3 * column // heat.shape[1]]
    if (down, across) == ("middle", "centre"):
        return "in the centre"
    return f"at the {down} {across}"
