"""Rows that methods are read against: floors, ceilings and oracles.

None is a method.  The oracles are told part of the truth, to show which part
of a segmentation (the masks, or their names) is still wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.inside import interleave, shift_pixels
from ...seeding import generator
from ..parts.dense_student import train_student
from ..parts.fusion import background_map, combine
from ..parts.near_map import train_pixels
from ..parts.refine import upsample
from ..parts.regions import crop_encode, instance_masks, region_labels
from ..parts.texts import text_classifier
from ..parts.two_stage import BACKGROUND, RIVAL
from ..pictures import batched
from ..supervision import IGNORE, Masked, Regions
from .protocol import Bench, label_maps, region_maps
from .score import Result


@dataclass(frozen=True)
class Reference:
    """``result(bench)``: what its answers to the test pictures are worth."""

    name: str
    needs: str
    result: Callable[[Bench], Result]


def judged(bench: Bench, parts: Iterable[Tensor]) -> Result:
    """Of scores [n, C + 1, S, S] of the test pictures, part by part."""
    pairs = ((p.argmax(1).short(), p[:, :-1].argmax(1).short()) for p in parts)
    labels, named = zip(*pairs, strict=True)
    return bench.judge(torch.cat(labels), torch.cat(named))


def chance(bench: Bench) -> Result:
    """Random scores for every patch."""
    size, columns = bench.clip.image_size, len(bench.names) + 1
    side = size // bench.clip.model.config.vision_config.patch_size
    rng = generator(bench.protocol.seed)

    def scores(n: int) -> Tensor:
        return upsample(torch.rand(n, columns, side, side, generator=rng), size)

    rows = batched(len(bench.test_pictures), 32)
    return judged(bench, (scores(r.stop - r.start) for r in rows))


def patches(path: str) -> Callable[[Bench], Result]:
    """MaskCLIP without anything, or the last block's ordinary patches."""

    def result(bench: Bench) -> Result:
        from ..segmentation.maskclip import MaskCLIP

        return bench.answer(MaskCLIP(bench.clip, path))

    return result


def pixels(bench: Bench) -> Result:
    """Every pixel by itself: CLIP's patches, and what base masks add to them."""
    data, seed = bench.data(Masked), bench.protocol.seed
    return bench.answer(train_pixels(bench.clip, data, seed, PIXEL_STEPS))


def fractions(labels: Tensor, classes: int, patch: int) -> Tensor:
    """Share of each class in each patch of [N, S, S]: [N, C, g, g]."""
    one_hot = F.one_hot(labels.long(), classes).permute(0, 3, 1, 2).float()
    return F.avg_pool2d(one_hot, patch)


def shifted_fractions(labels: Tensor, classes: int, patch: int) -> Tensor:
    """The same on the finer grid of four shifted passes: [N, C, 2 g, 2 g]."""
    one_hot = F.one_hot(labels.long(), classes).permute(0, 3, 1, 2).float()
    quarter = patch // 4
    passes = [
        [
            F.avg_pool2d(shift_pixels(one_hot, dy, dx), patch)
            for dx in (-quarter, quarter)
        ]
        for dy in (-quarter, quarter)
    ]
    stacked = torch.stack([torch.stack(row, 1) for row in passes], 1)
    fine = interleave(stacked.movedim(3, -1))  # channels last
    return fine.movedim(-1, 1)


def ceiling(shifted: bool) -> Callable[[Bench], Result]:
    """What patches could reach that knew their exact class shares."""

    def result(bench: Bench) -> Result:
        truth = bench.truth
        size, classes = truth.shape[-1], len(bench.names) + 1
        patch = bench.clip.model.config.vision_config.patch_size
        share = shifted_fractions if shifted else fractions
        rows = batched(len(truth), 32)
        scores = (upsample(share(truth[r], classes, patch), size) for r in rows)
        return judged(bench, scores)

    return result


def paint(
    masks: Tensor, names: Tensor, background: int, order: Tensor | None = None
) -> Tensor:
    """Masks [N, Q, S, S] filled with their names [N, Q]: labels [N, S, S].

    Where several overlap the one with the highest ``order`` [N, Q] shows.
    """
    weight = torch.ones(masks.shape[:2]) if order is None else order
    shown = masks * weight[:, :, None, None]  # [N, Q, S, S]
    best, which = shown.max(1)
    labels = names.gather(1, which.flatten(1)).view_as(which)
    return torch.where(best > 0, labels, background).short()


def name_masks(bench: Bench, masks: Tensor, **crops) -> Tensor:
    """CLIP's name for each of the test pictures' masks: [N, Q]."""
    W = text_classifier(bench.clip, bench.names)
    pixels = bench.test_pictures.pixel_values
    embeds = crop_encode(bench.clip, pixels, masks, **crops)
    return (embeds @ W.T).argmax(-1)


def true_masks(bench: Bench) -> Tensor:
    """The true regions of the test pictures: bool [N, Q, S, S]."""
    return instance_masks(region_maps(bench.scenes("test")))


def oracle_masks(bench: Bench) -> Result:
    """True masks, named by CLIP from a crop around them."""
    masks = true_masks(bench)
    names = name_masks(bench, masks, mode="crop", margin=1.5)
    labels = paint(masks, names, len(bench.names))
    return bench.judge(labels, paint(masks, names, 0))


def oracle_names(bench: Bench) -> Result:
    """Regions of the shared proposer, each with its commonest true name.

    Laid out as the methods lay theirs out; a region of background is none.
    """
    from ..parts.proposals import propose
    from ..parts.proposer import shared_proposer

    data, C = bench.data(Regions), len(bench.names)
    proposer = shared_proposer(bench.clip, data, bench.protocol.seed)
    found = propose(proposer, bench.test_pictures)
    names = region_labels(bench.truth, found.binary)
    names = names.masked_fill(names == IGNORE, C)

    def scores(rows: slice) -> Tensor:
        masks, sure = found.masks[rows], found.objectness[rows]
        p = F.one_hot(names[rows], C + 1)[..., :C].float()
        ground = BACKGROUND * background_map(masks, sure)
        return torch.cat([combine(p, masks, sure), ground], 1)

    return judged(bench, map(scores, batched(len(names), 32)))


def full_supervision(bench: Bench) -> Result:
    """The student, with masks of all classes, novel ones too."""
    labels = label_maps(bench.scenes("archive"), bench.names)
    student = train_student(
        bench.clip,
        bench.pictures("archive"),
        labels,
        bench.names,
        steps=STUDENT_STEPS,
        seed=bench.protocol.seed,
    )
    return bench.answer(student)


STUDENT_STEPS = PIXEL_STEPS = 500  # as long as the methods may learn
UNTRAINED = "MaskCLIP, raw"  # the read-out that whoever has base masks must beat
# what stands in every table: above the methods, and below them
FLOORS = ("chance", UNTRAINED)
ORACLES = ("true masks, CLIP's names", "proposed masks, true names", "full supervision")
REFERENCES = (
    Reference("chance", "nothing", chance),
    Reference("last block's patches", "nothing", patches("attention")),
    Reference(UNTRAINED, "nothing", patches("value")),
    Reference(RIVAL, "base masks", pixels),
    Reference("patch-grid ceiling, 12 × 12", "truth", ceiling(False)),
    Reference("patch-grid ceiling, shifted", "truth", ceiling(True)),
    Reference("true masks, CLIP's names", "true masks", oracle_masks),
    Reference("proposed masks, true names", "true names", oracle_names),
    Reference("full supervision", "masks of all", full_supervision),
)


def find_reference(name: str) -> Reference:
    """The reference row of that name; KeyError that lists the names."""
    known = {reference.name: reference for reference in REFERENCES}
    if name not in known:
        raise KeyError(f"no reference {name!r}: {', '.join(known)}")
    return known[name]
