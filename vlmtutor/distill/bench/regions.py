"""What region methods are worth beyond their maps.

Boxes and masks by COCO's measure, and three oracles, each of which is told one
third of the truth: where regions are, what they are called, or which of them
to trust.  What an oracle gains is what that third still costs.  A model that is
tuned on the pictures that it answers to (``at_test``) is so before it is asked.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from ..parts.proposals import Proposals
from ..parts.regions import region_labels
from ..parts.two_stage import RegionNamer
from ..pictures import DensePictures, batched
from ..supervision import IGNORE
from .answers import AT_ONCE
from .boxes import judge_boxes
from .protocol import Bench
from .references import judged, true_masks

FIGURES = ("S", "U", "h")
WAYS = ("true masks", "true names", "true ranking")


def region_figures(
    bench: Bench, model: RegionNamer, pictures: DensePictures, seen: Tensor | None
) -> dict[str, dict[str, float]]:
    """S, U and h of "boxes" and "masks" (AP50) and of each of :data:`WAYS`.

    ``seen`` bool [C], for methods that must know.
    """
    names, base = bench.names, len(bench.base)
    found = [
        one
        for part in pictures.batches(AT_ONCE)
        for one in model.instances(part, names, seen)
    ]
    truths = bench.true_boxes(names)
    results = {
        title: judge_boxes(found, truths, base, names, masks=title == "masks")
        for title in ("boxes", "masks")
    }
    told = torch.zeros(len(names), dtype=torch.bool) if seen is None else seen
    for way in WAYS:
        results[way] = judged(bench, _answers(bench, model, pictures, told, way))
    scores = {title: result.scores() for title, result in results.items()}
    return {t: {k: round(s[k], 4) for k in FIGURES} for t, s in scores.items()}


@torch.no_grad()
def _answers(bench: Bench, model, pictures, seen, way: str) -> Iterator[Tensor]:
    """Maps of the test pictures, part by part, by a model that is told ``way``."""
    names, truth = bench.names, true_masks(bench)
    for rows in batched(len(pictures), AT_ONCE):
        part = pictures[rows]
        told = model.at_test(part, names, seen) if hasattr(model, "at_test") else model
        found = told.found(part, names)
        if way == "true names":
            labels = region_labels(bench.truth[rows], found.binary)
            labels = labels.masked_fill(labels == IGNORE, len(names))
            p = F.one_hot(labels, len(names) + 1).float()
        else:
            if way == "true masks":
                found = with_masks(found, truth[rows])
            if way == "true ranking":
                own = told.grounds(found, names) if hasattr(told, "grounds") else None
                found = ranked(found, truth[rows], own)
            p = told.named(found, part, names, seen)
        yield told.lay_out(found, p, seen)


def overlaps(masks: Tensor, truth: Tensor) -> Tensor:
    """IoU of bool masks [N, Q, S, S] with true ones [N, R, S, S]: [N, Q, R]."""
    a, b = masks.flatten(2).float(), truth.flatten(2).float()
    shared = a @ b.mT
    union = a.sum(-1)[..., None] + b.sum(-1)[:, None] - shared
    return shared / union.clamp(min=1)


def ranked(found: Proposals, truth: Tensor, own: Tensor | None = None) -> Proposals:
    """The same regions, the likeliest first as bool [N, R, S, S] have it.

    A region is as likely as the true mask that it fits best; a repetition stays
    one.  Those marked in ``own`` bool [N, Q] keep the objectness they have.
    """
    sure = overlaps(found.binary, truth).amax(-1) * (found.objectness > 0)
    if own is not None:
        sure = torch.where(own, found.objectness, sure)
    order = sure.argsort(dim=1, descending=True, stable=True)

    def take(x: Tensor | None) -> Tensor | None:
        if x is None:
            return None
        index = order.view(*order.shape, *(1,) * (x.ndim - 2))
        return x.gather(1, index.expand(-1, -1, *x.shape[2:]))

    parts = found.masks, sure, found.states, found.vectors
    return Proposals(*map(take, parts))


def with_masks(found: Proposals, truth: Tensor) -> Proposals:
    """True masks [N, R, S, S] in place of the regions that fit them best."""
    best = overlaps(found.binary, truth).argmax(1)  # [N, R]

    def take(x: Tensor | None) -> Tensor | None:
        if x is None:
            return None
        return x.gather(1, best[..., None].expand(-1, -1, x.shape[-1]))

    there = truth.flatten(2).any(-1).float()
    return Proposals(truth.float(), there, take(found.states), take(found.vectors))
