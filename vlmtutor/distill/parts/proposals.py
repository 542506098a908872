"""What a trained proposer finds in pictures: regions, the likeliest first."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..pictures import DensePictures, batched
from .proposer import Proposer
from .refine import upsample

OVERLAP = 0.7  # from here on a region is a repetition


@dataclass(frozen=True)
class Proposals:
    """Regions of N pictures, the most likely ones first.

    ``masks`` [N, Q, S, S] and ``objectness`` [N, Q] are probabilities, the
    others as in :class:`vlmtutor.distill.parts.matching.Outputs`.
    """

    masks: Tensor
    objectness: Tensor
    states: Tensor
    vectors: Tensor | None

    @property
    def binary(self) -> Tensor:
        """Masks cut at a half: bool [N, Q, S, S]."""
        return self.masks > 0.5


@torch.no_grad()
def propose(proposer: Proposer, pictures: DensePictures, most: int = 8) -> Proposals:
    """The ``most`` likely regions of each picture.

    A region that overlaps a likelier one by more than OVERLAP (IoU) is
    a repetition: its objectness is 0.
    """
    pictures.prepare()
    size = pictures.images.shape[1]
    found = []
    for rows in batched(len(pictures), 32):
        out = proposer(pictures[rows])
        objectness = without_repeats(out.objects.sigmoid(), out.masks > 0, OVERLAP)
        best = objectness.topk(min(most, proposer.queries), 1).indices

        def take(x, best=best):
            index = best.view(*best.shape, *(1,) * (x.ndim - 2))
            return x.gather(1, index.expand(-1, -1, *x.shape[2:]))

        found.append(
            (
                upsample(take(out.masks), size).sigmoid(),
                take(objectness),
                take(out.states),
                None if out.vectors is None else take(out.vectors),
            )
        )
    parts = [
        None if part[0] is None else torch.cat(part)
        for part in zip(*found, strict=True)
    ]
    return Proposals(*parts)


def without_repeats(objectness: Tensor, masks: Tensor, overlap: float) -> Tensor:
    """Objectness [N, Q], 0 where a likelier mask [N, Q, h, w] is the same."""
    flat = masks.flatten(2).float()
    inter = flat @ flat.transpose(1, 2)
    area = flat.sum(-1)
    union = area[:, :, None] + area[:, None] - inter
    same = inter > overlap * union
    order = objectness.argsort(1, descending=True)
    kept = objectness.clone()
    for n in range(len(kept)):
        for i, q in enumerate(order[n].tolist()):
            better = order[n, :i]
            if (same[n, q, better] & (kept[n, better] > 0)).any():
                kept[n, q] = 0.0
    return kept
