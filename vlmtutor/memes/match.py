"""Choose a caption for each picture by the cosine of their embeddings."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from ..models.pictures import UnreadablePicture
from ..models.texts import as_texts
from ..naming import even_cosine, probabilities
from .hubs import CORRECTION, Scores
from .options import one_of, temperature_of

if TYPE_CHECKING:  # loaded on first use: drawing captions needs no torch
    import torch

    from .cache import EmbeddingCache

ASSIGNMENTS = ("best", "one_to_one")


class Choice(NamedTuple):
    """A caption with its cosine and its probability for one picture."""

    index: int
    caption: str
    score: float
    probability: float


@dataclass(frozen=True)
class Matches:
    """How well N pictures and M captions fit, and which were chosen.

    ``chosen``: for each picture the index of its caption, or None if
    one-to-one had none left. ``table`` gives rows of what the choice rests
    on; whole tables [N, M] are made only when they are asked for.
    """

    captions: tuple[str, ...]
    table: Scores
    temperature: float
    chosen: tuple[int | None, ...]
    even: float | None = None

    @property
    def scores(self) -> torch.Tensor:
        """Cosines [N, M]."""
        return self.table.cosines(slice(None))

    @property
    def corrected(self) -> torch.Tensor:
        """The cosines after the correction for hubs: [N, M]."""
        return self.table.corrected(slice(None))

    @property
    def probabilities(self) -> torch.Tensor:
        """Softmax over the captions of ``corrected / temperature``: [N, M].

        A SigLIP's are sigmoids of the cosines, whatever the other captions.
        """
        return self._shares(self.scores, self.corrected)

    def _shares(self, cosines: torch.Tensor, corrected: torch.Tensor) -> torch.Tensor:
        scores = corrected if self.even is None else cosines
        return probabilities(scores, self.temperature, self.even)

    def choice(self, picture: int) -> Choice | None:
        """The chosen caption of a picture."""
        index = self.chosen[picture]
        return None if index is None else self.about(picture, [index])[0]

    def alternatives(self, k: int = 3) -> list[list[Choice]]:
        """For each picture the ``k`` best captions that were not chosen."""
        return [self.alternatives_of(i, k) for i in range(len(self.chosen))]

    def alternatives_of(self, picture: int, k: int = 3) -> list[Choice]:
        """The ``k`` best captions for one picture besides the chosen."""
        best = self.best_of(picture, max(0, k) + 1)
        rest = [c for c in best if c.index != self.chosen[picture]]
        return rest[: max(0, k)]

    def best_of(self, picture: int, k: int) -> list[Choice]:
        """The ``k`` best captions for one picture; of equal ones the first."""
        values = _rounded(self._row(picture)[1])
        k = min(k, len(values))
        least = np.partition(values, -k)[-k]
        near = np.flatnonzero(values >= least)
        order = near[np.argsort(-values[near], kind="stable")]
        return self.about(picture, order[:k].tolist())

    def about(self, picture: int, captions: Sequence[int]) -> list[Choice]:
        """Some captions, by index, with their figures for one picture."""
        scores, _, shares = self._row(picture)
        return [
            Choice(j, self.captions[j], scores[j].item(), shares[j].item())
            for j in captions
        ]

    def _row(self, picture: int) -> tuple:
        """Cosines, corrected ones and shares of one picture: [M] each."""
        rows = slice(picture, picture + 1)
        cosines, corrected = self.table.cosines(rows), self.table.corrected(rows)
        return cosines[0], corrected[0], self._shares(cosines, corrected)[0]


def opened(clip):
    """A model as it is; TypeError for the mere name of one."""
    if clip is None or isinstance(clip, (str, os.PathLike)):
        name = "" if clip is None else repr(os.fspath(clip))
        raise TypeError(f"{name or clip} is no model: open it with load_clip({name})")
    return clip


def match(
    images: Sequence[Image.Image | str | Path],
    captions: Sequence[str],
    clip,
    assign: str = "best",
    *,
    correction: str | None = CORRECTION,
    temperature: float | None = None,
    cache: EmbeddingCache | None = None,
    precision: str = "fp32",
    batch_size: int = 32,
) -> Matches:
    """Match N pictures (PIL or paths) with M captions through a CLIP.

    ``assign``: "best" gives each picture the caption with the highest
    score; "one_to_one" uses no caption twice and makes the sum of the
    scores as large as it can be (the Hungarian method: Kuhn, 1955).

    The score is the cosine, corrected for captions that lie near every
    picture: by "dual_softmax" (Cheng et al. 2021, arXiv 2109.04290), "csls"
    (Conneau et al. 2018, arXiv 1710.04087) or None. A correction compares
    the pictures, so what one gets may depend on the others; a picture alone
    gets the same with and without. ``temperature`` divides the scores before
    the softmax; the default is the model's own, ``1 / clip.logit_scale``.

    Each picture and each caption is encoded once, and not at all if the
    cache has it. Raises ValueError without captions, or for a picture that
    cannot be read (naming it), and TypeError for what is none or a model's
    mere name.
    """
    import torch

    from .embed import Embedder

    captions = _checked(captions)
    embedder = Embedder(opened(clip), cache, precision, batch_size)
    if isinstance(images, (str, os.PathLike, Image.Image)):
        raise TypeError("pass a list of pictures, not a single one")
    images = list(images)
    stream = embedder.images(images)
    text_embeds = embedder.texts(captions)
    rows = []
    for i, row in enumerate(stream):
        if isinstance(row, UnreadablePicture):
            raise UnreadablePicture(f"picture {i} ({images[i]}): {row}")
        rows.append(row)
    return match_embeddings(
        torch.stack(rows) if rows else text_embeds[:0],
        text_embeds,
        captions,
        assign,
        temperature,
        correction,
        float(clip.logit_scale),
        even_cosine(clip),
    )


def match_embeddings(
    image_embeds: torch.Tensor,
    text_embeds: torch.Tensor,
    captions: Sequence[str],
    assign: str = "best",
    temperature: float | None = None,
    correction: str | None = CORRECTION,
    logit_scale: float = 100.0,
    even: float | None = None,
) -> Matches:
    """Like ``match``, from normalised embeddings [N, D] and [M, D].

    ``even`` is the model's ``naming.even_cosine``: only a SigLIP has one.
    """
    captions = _checked(captions)
    temperature = temperature_of(
        1 / logit_scale if temperature is None else temperature
    )
    table = Scores(image_embeds, text_embeds, correction, logit_scale)
    if assign == "best":
        parts = [assign_captions(table.corrected(r)) for r in table.blocks()]
        chosen = tuple(j for part in parts for j in part)
    else:
        chosen = assign_captions(table.corrected(slice(None)), assign)
    return Matches(captions, table, temperature, chosen, even)


def assign_captions(
    scores: torch.Tensor, assign: str = "best"
) -> tuple[int | None, ...]:
    """For each row of ``scores`` [N, M] a column, or None.

    Scores closer than a millionth count as equal; of equal ones "best"
    takes the first. With more pictures than captions, "one_to_one" leaves
    the pictures that would add least without a caption.
    """
    one_of(ASSIGNMENTS, assign, "assignment")
    values = _rounded(scores)
    if assign == "best":
        return tuple(int(j) for j in values.argmax(axis=1))
    from scipy.optimize import linear_sum_assignment

    chosen: list[int | None] = [None] * len(values)
    rows, columns = linear_sum_assignment(values, maximize=True)
    for i, j in zip(rows, columns, strict=True):
        chosen[i] = int(j)
    return tuple(chosen)


def _rounded(scores: torch.Tensor) -> np.ndarray:
    """Batches of other sizes give sums of another order: no difference."""
    values = scores.detach().cpu().numpy().astype(np.float64)
    return np.round(values, 6, out=values)


def _checked(captions: Sequence[str]) -> tuple[str, ...]:
    captions = tuple(as_texts(captions, "caption"))
    if not captions:
        raise ValueError("no captions to choose from: give at least one")
    return captions
