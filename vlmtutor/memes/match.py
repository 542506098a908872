"""Choose a caption for each picture by the cosine of their embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from ..models.pictures import UnreadablePicture

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

    ``scores``: cosines [N, M]. ``probabilities`` [N, M]: the softmax over
    the captions of ``scores / temperature``. ``chosen``: for each picture
    the index of its caption, or None if one-to-one had none left.
    """

    captions: tuple[str, ...]
    scores: torch.Tensor
    probabilities: torch.Tensor
    chosen: tuple[int | None, ...]

    def choice(self, picture: int) -> Choice | None:
        """The chosen caption of a picture."""
        index = self.chosen[picture]
        return None if index is None else self._choice(picture, index)

    def alternatives(self, k: int = 3) -> list[list[Choice]]:
        """For each picture the ``k`` best captions that were not chosen."""
        return [self.alternatives_of(i, k) for i in range(len(self.chosen))]

    def alternatives_of(self, picture: int, k: int = 3) -> list[Choice]:
        """The ``k`` best captions for one picture besides the chosen."""
        order = _best_first(self.scores[picture])
        rest = [j for j in order if j != self.chosen[picture]]
        return [self._choice(picture, j) for j in rest[: max(0, k)]]

    def _choice(self, picture: int, index: int) -> Choice:
        return Choice(
            index,
            self.captions[index],
            self.scores[picture, index].item(),
            self.probabilities[picture, index].item(),
        )


def match(
    images: Sequence[Image.Image | str | Path],
    captions: Sequence[str],
    clip,
    assign: str = "best",
    *,
    temperature: float | None = None,
    cache: EmbeddingCache | None = None,
    precision: str = "fp32",
    batch_size: int = 32,
) -> Matches:
    """Match N pictures (PIL or paths) with M captions through a CLIP.

    ``assign``: "best" gives each picture the caption with the highest
    cosine; "one_to_one" uses no caption twice and makes the sum of the
    cosines as large as it can be (the Hungarian method: Kuhn, 1955).
    ``temperature`` divides the cosines before the softmax; the default is
    the model's own, ``1 / clip.logit_scale``.

    Each picture and each caption is encoded once, and not at all if the
    cache has it. Raises ValueError without captions, or for a picture that
    cannot be read (naming it).
    """
    import torch

    from .embed import Embedder

    captions = _checked(captions)
    embedder = Embedder(clip, cache, precision, batch_size)
    images = list(images)
    stream = embedder.images(images)
    text_embeds = embedder.texts(captions)
    rows = []
    for i, row in enumerate(stream):
        if isinstance(row, UnreadablePicture):
            raise UnreadablePicture(f"picture {i} ({images[i]}): {row}")
        rows.append(row)
    image_embeds = torch.stack(rows) if rows else text_embeds[:0]
    if temperature is None:
        temperature = 1 / float(clip.logit_scale)
    return match_embeddings(image_embeds, text_embeds, captions, assign, temperature)


def match_embeddings(
    image_embeds: torch.Tensor,
    text_embeds: torch.Tensor,
    captions: Sequence[str],
    assign: str = "best",
    temperature: float = 0.01,
) -> Matches:
    """Like ``match``, from normalised embeddings [N, D] and [M, D]."""
    captions = _checked(captions)
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    scores = image_embeds @ text_embeds.T  # [N, M]
    probabilities = (scores / temperature).softmax(dim=-1)  # [N, M]
    chosen = assign_captions(scores, assign)
    return Matches(captions, scores, probabilities, chosen)


def assign_captions(
    scores: torch.Tensor, assign: str = "best"
) -> tuple[int | None, ...]:
    """For each row of ``scores`` [N, M] a column, or None.

    Cosines closer than a millionth count as equal; of equal ones "best"
    takes the first. With more pictures than captions, "one_to_one" leaves
    the pictures that would add least without a caption.
    """
    if assign not in ASSIGNMENTS:
        known = ", ".join(ASSIGNMENTS)
        raise ValueError(f"unknown assignment {assign!r}: use {known}")
    # Rounding: batches of other sizes give sums of another order.
    values = np.round(scores.detach().cpu().double().numpy(), 6)
    if assign == "best":
        return tuple(int(j) for j in values.argmax(axis=1))
    from scipy.optimize import linear_sum_assignment

    chosen: list[int | None] = [None] * len(values)
    rows, columns = linear_sum_assignment(values, maximize=True)
    for i, j in zip(rows, columns, strict=True):
        chosen[i] = int(j)
    return tuple(chosen)


def _best_first(scores: torch.Tensor) -> list[int]:
    """Columns from the best to the worst; of equal ones the first first."""
    values = np.round(scores.detach().cpu().double().numpy(), 6)
    return [int(j) for j in np.argsort(-values, kind="stable")]


def _checked(captions: Sequence[str]) -> tuple[str, ...]:
    if isinstance(captions, str):
        raise TypeError("captions must be a list of texts, not one text")
    if not captions:
        raise ValueError("no captions to choose from: give at least one")
    return tuple(captions)
