"""Nouns of sentences, and which region of its picture each speaks of."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .box_regions import BoxRegions
from .matching import match
from .yes_no import largest

MATCHINGS = ("one to one", "best", "largest")


@dataclass(frozen=True)
class Spoken:
    """M nouns of B sentences, one after another: repeats are kept.

    ``picture`` [M]: whose a noun is; ``noun`` [M], its place in a vocabulary.
    """

    picture: Tensor
    noun: Tensor
    pictures: int

    @classmethod
    def of(cls, nouns: list[list[int]]) -> Spoken:
        """Those of B lists of places."""
        counts = torch.tensor([len(own) for own in nouns])
        flat = torch.tensor([k for own in nouns for k in own], dtype=torch.long)
        return cls(torch.arange(len(nouns)).repeat_interleave(counts), flat, len(nouns))

    def others(self) -> Tensor:
        """Which nouns each noun's sentence denies: bool [M, M].

        Those of other sentences that its own has not.
        """
        has = torch.zeros(self.pictures, int(self.noun.max()) + 1, dtype=torch.bool)
        has[self.picture, self.noun] = True
        return ~has[self.picture][:, self.noun]


def paired(
    scores: Tensor, found: BoxRegions, spoken: Spoken, matching="one to one"
) -> Tensor:
    """The region of each noun: [M], by its ``scores`` [B, K, M].

    "one to one" gives no region to two nouns of a picture, "best" gives each
    noun the region that it suits best, "largest" the largest box.  Raises
    ValueError for another matching.
    """
    if matching not in MATCHINGS:
        raise ValueError(f"matching is one of {MATCHINGS}, not {matching!r}")
    scores = scores.detach().masked_fill(found.quality[..., None] <= 0, -1e4)
    if matching == "largest":
        return largest(found)[spoken.picture]
    if matching == "best":
        columns = torch.arange(len(spoken.noun))
        return scores[spoken.picture, :, columns].argmax(1)
    exists = spoken.picture == torch.arange(spoken.pictures)[:, None]
    region = torch.zeros(len(spoken.noun), dtype=torch.long)
    for regions, columns in match(-scores, exists):
        region[columns] = regions
    return region
