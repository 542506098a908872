"""Rows that methods are read against: floors, ceilings and oracles.

None is a method.  The oracles are told part of the truth, to show which part
of a segmentation (the masks, or their names) is still wrong.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.inside import interleave, shift_pixels
from ...seeding import generator
from ..methods import predict_both
from ..parts.dense_student import train_student
from ..parts.fusion import background_map, combine
from ..parts.refine import upsample
from ..parts.regions import crop_encode, instance_masks, region_labels
from ..parts.texts import text_classifier
from ..supervision import IGNORE, Regions, batched
from .protocol import Bench, label_maps, region_maps

Answers = tuple[Tensor, Tensor]  # labels with background, and without


@dataclass(frozen=True)
class Reference:
    """``answer(bench)``: label maps of the test pictures, twice."""

    name: str
    needs: str
    answer: Callable[[Bench], Answers]


def _from_scores(scores: Tensor) -> Answers:
    """[N, C + 1, S, S] → labels with background, and without; int16."""
    return scores.argmax(1).short(), scores[:, :-1].argmax(1).short()


def chance(bench: Bench) -> Answers:
    """Random scores for every patch."""
    pictures = bench.test_pictures
    size = pictures.images.shape[1]
    side = size // bench.clip.model.config.vision_config.patch_size
    rng = generator(bench.protocol.seed)
    columns = len(bench.names) + 1
    parts = [
        _from_scores(
            upsample(
                torch.rand(rows.stop - rows.start, columns, side, side, generator=rng),
                size,
            )
        )
        for rows in batched(len(pictures), 32)
    ]
    return tuple(torch.cat(part) for part in zip(*parts, strict=True))


def patches(path: str) -> Callable[[Bench], Answers]:
    """MaskCLIP without anything, or the last block's ordinary patches."""

    def answer(bench: Bench) -> Answers:
        from ..segmentation.maskclip import MaskCLIP

        segmenter = MaskCLIP(bench.clip, path)
        return predict_both(segmenter, bench.test_pictures, bench.names)

    return answer


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


def ceiling(shifted: bool) -> Callable[[Bench], Answers]:
    """What patches could reach that knew their exact class shares."""

    def answer(bench: Bench) -> Answers:
        truth = bench._truth
        size, classes = truth.shape[-1], len(bench.names) + 1
        patch = bench.clip.model.config.vision_config.patch_size
        share = shifted_fractions if shifted else fractions
        parts = [
            _from_scores(upsample(share(truth[r], classes, patch), size))
            for r in batched(len(truth), 32)
        ]
        return tuple(torch.cat(part) for part in zip(*parts, strict=True))

    return answer


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
    return instance_masks(region_maps(bench._scenes("test")))


def oracle_masks(bench: Bench) -> Answers:
    """True masks, named by CLIP from a crop around them."""
    masks = true_masks(bench)
    names = name_masks(bench, masks, mode="crop", margin=1.5)
    labels = paint(masks, names, len(bench.names))
    return labels, paint(masks, names, 0)


def oracle_names(bench: Bench) -> Answers:
    """Regions of the shared proposer, each with its commonest true name.

    Laid out as the methods lay theirs out; a region of background is none.
    """
    from ..parts.proposals import propose
    from ..parts.proposer import shared_proposer
    from ..parts.two_stage import BACKGROUND

    data, C = bench.data(Regions), len(bench.names)
    proposer = shared_proposer(bench.clip, data, bench.protocol.seed)
    found = propose(proposer, bench.test_pictures)
    names = region_labels(bench._truth, found.binary)
    names = names.masked_fill(names == IGNORE, C)
    parts = []
    for rows in batched(len(names), 32):
        masks, sure = found.masks[rows], found.objectness[rows]
        p = F.one_hot(names[rows], C + 1)[..., :C].float()
        ground = BACKGROUND * background_map(masks, sure)
        maps = torch.cat([combine(p, masks, sure), ground], 1)
        parts.append(_from_scores(maps))
    return tuple(torch.cat(part) for part in zip(*parts, strict=True))


def full_supervision(bench: Bench) -> Answers:
    """The student, with masks of all classes, novel ones too."""
    scenes = bench._scenes("captions")
    segmenter = train_student(
        bench.clip,
        bench._pictures("captions"),
        label_maps(scenes, bench.names),
        bench.names,
        steps=STUDENT_STEPS,
        seed=bench.protocol.seed,
    )
    return predict_both(segmenter, bench.test_pictures, bench.names)


STUDENT_STEPS = 150
REFERENCES = (
    Reference("chance", "nothing", chance),
    Reference("last block's patches", "nothing", patches("attention")),
    Reference("MaskCLIP, raw", "nothing", patches("value")),
    Reference("patch-grid ceiling, 12 × 12", "truth", ceiling(False)),
    Reference("patch-grid ceiling, shifted", "truth", ceiling(True)),
    Reference("true masks, CLIP's names", "true masks", oracle_masks),
    Reference("proposed masks, true names", "true names", oracle_names),
    Reference("full supervision", "masks of all", full_supervision),
)


def run_references(
    benches: Sequence[Bench], references: Sequence[Reference] = REFERENCES, say=print
) -> list[dict]:
    """Every reference over the seeds, in the form of rows."""
    rows = []
    for reference in references:
        runs = []
        for bench in benches:
            begun = time.perf_counter()
            result = bench.judge(*reference.answer(bench))
            scores = {k: round(v, 4) for k, v in result.scores().items()}
            seconds = round(time.perf_counter() - begun, 1)
            runs.append({"seed": bench.protocol.seed, **scores, "seconds": seconds})
        mean = {k: sum(r[k] for r in runs) / len(runs) for k in "SUh"}
        say(
            f"  {reference.name}: "
            + " ".join(f"{k} {100 * v:.1f}" for k, v in mean.items())
        )
        rows.append({"method": reference.name, "needs": reference.needs, "runs": runs})
    return rows
