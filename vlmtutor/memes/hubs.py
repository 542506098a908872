"""Scores of pictures and captions, corrected for captions that fit all.

In many dimensions some vectors lie near to most others: *hubs* (Radovanović,
Nanopoulos and Ivanović 2010, "Hubs in Space", JMLR 11). A caption that is one
wins pictures that have a better one. Two corrections weigh how near a caption
lies to a picture against how near it lies to the other pictures:

- CSLS: Conneau et al. 2018, "Word Translation Without Parallel Data", arXiv
  1710.04087;
- dual softmax: Cheng et al. 2021, "Improving Video-Text Retrieval by
  Multi-Stream Corpus Alignment and Dual Softmax Loss", arXiv 2109.04290.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .options import one_of

if TYPE_CHECKING:  # loaded on first use: drawing captions needs no torch
    from torch import Tensor

CORRECTIONS = (None, "csls", "dual_softmax")
# Of the three, the one that found most on posters drawn to choose it:
# tests/benchmarks/choose_correction.py.
CORRECTION = "dual_softmax"
NEIGHBORS = 10  # of CSLS, as in its paper

_CELLS = 2_000_000  # of a table at a time: a bound on memory


class Scores:
    """Cosines of N pictures and M captions, and corrected for hubs.

    Made from embeddings [N, D] and [M, D] of length one. The tables [N, M]
    are computed row by row as they are asked for, and never kept whole: what
    a correction needs of the other pictures is one number a caption.
    ``logit_scale`` is the model's own. Raises ValueError for an unknown
    correction.
    """

    def __init__(
        self,
        image_embeds: Tensor,
        text_embeds: Tensor,
        correction: str | None = CORRECTION,
        logit_scale: float = 100.0,
    ):
        one_of(CORRECTIONS, correction, "correction")
        self.image_embeds, self.text_embeds = image_embeds, text_embeds
        self.correction, self.logit_scale = correction, logit_scale
        self._nearness = self._near()

    def __len__(self) -> int:
        return len(self.image_embeds)

    def blocks(self) -> Iterator[slice]:
        """Rows that may be computed together, from the first to the last."""
        step = max(1, _CELLS // len(self.text_embeds))
        for start in range(0, len(self), step):
            yield slice(start, min(start + step, len(self)))

    def cosines(self, rows: slice) -> Tensor:
        """Of some pictures and all captions: [n, M]."""
        return self.image_embeds[rows] @ self.text_embeds.T

    def corrected(self, rows: slice) -> Tensor:
        """The same, corrected: on them choices rest, [n, M].

        CSLS takes from twice a cosine the mean of the picture's ten largest
        and of the caption's ten largest. Dual softmax multiplies the cosine
        with the share that the picture has of the caption, a softmax over
        the pictures; it is given here as logarithm over ``logit_scale``, so
        that no share is too small to tell from others.
        """
        cosines = self.cosines(rows)
        if self.correction == "csls":
            return 2 * cosines - _mean_of_largest(cosines, 1) - self._nearness
        if self.correction == "dual_softmax":
            share = self.logit_scale * cosines - self._nearness
            return (share + _log(cosines)) / self.logit_scale
        return cosines

    def _near(self) -> Tensor | float:
        """What a correction needs of all pictures: one number a caption."""
        import torch

        near: Tensor | float = 0.0
        if self.correction == "csls":
            largest = self.image_embeds.new_empty(0, len(self.text_embeds))
            for rows in self.blocks():
                both = torch.cat([largest, self.cosines(rows)])
                largest = both.topk(min(NEIGHBORS, len(both)), dim=0).values
                near = largest.mean(dim=0)
        if self.correction == "dual_softmax":
            parts = [
                (self.logit_scale * self.cosines(rows)).logsumexp(dim=0)
                for rows in self.blocks()
            ]
            near = torch.stack(parts).logsumexp(dim=0) if parts else near
        return near


def _log(cosines: Tensor) -> Tensor:
    """The logarithm; below 0.01, and where there is none, its tangent there."""
    rest = (cosines - 0.01).clamp_max(0.0)
    return cosines.clamp_min(0.01).log() + 100 * rest


def _mean_of_largest(table: Tensor, dim: int) -> Tensor:
    count = min(NEIGHBORS, table.shape[dim])
    return table.topk(count, dim=dim).values.mean(dim=dim, keepdim=True)
