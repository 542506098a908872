"""What region methods are worth beyond their maps.

Boxes and masks by COCO's measure, and three oracles, each of which is told one
third of the truth: where regions are, what they are called, or which of them
to trust.  What an oracle gains is what that third still costs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

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
        found = model.found(part, names)
        if way == "true names":
            labels = region_labels(bench.truth[rows], found.binary)
            labels = labels.masked_fill(labels == IGNORE, len(names))
            p = F.one_hot(labels, len(names) + 1).float()
        else:
            if way == "true masks":
                found = with_masks(found, truth[rows])
            p = model.named(found, part, names, seen)
            if way == "true ranking":
                best = overlaps(found.binary, truth[rows]).amax(-1)
                found = replace(found, objectness=best)
        yield model.lay_out(found, p, seen)


def overlaps(masks: Tensor, truth: Tensor) -> Tensor:
    """IoU of bool masks [N, Q, S, S] with true ones [N, R, S, S]: [N, Q, R]."""
    a, b = masks.flatten(2).float(), truth.flatten(2).float()
    shared = a @ b.mT
    union = a.sum(-1)[..., None] + b.sum(-1)[:, None] - shared
    return shared / union.clamp(min=1)


def with_masks(found: Proposals, truth: Tensor) -> Proposals:
    """True masks [N, R, S, S] in place of the regions that fit them best."""
    best = overlaps(found.binary, truth).argmax(1)  # [N, R]

    def take(x: Tensor | None) -> Tensor | None:
        if x is None:
            return None
        return x.gather(1, best[..., None].expand(-1, -1, x.shape[-1]))

    there = truth.flatten(2).any(-1).float()
    return Proposals(truth.float(), there, take(found.states), take(found.vectors))
