"""The shared boxes of pictures, and what CLIP's states say inside them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.inside import as_map
from ...objectives.alignment import pool_regions
from ..pictures import DensePictures, batched, once, taps
from ..supervision import Boxed
from .box_proposer import BoxProposer, propose_boxes, shared_boxes, timed_once
from .boxes import pairwise_iou
from .dense_student import READS

BINS = 3  # of a box, across and down
POSITIVE = 0.5  # overlap from which on a region shows a thing


@dataclass(frozen=True)
class BoxRegions:
    """K boxes of N pictures, in pixels [N, K, 4], and what is inside them.

    ``quality`` [N, K], 0 where a box is a repetition; ``bins`` [N, K, F]
    float16, CLIP's hidden states; ``pooled`` [N, K, D], the mean patch of the
    value path, L2-normalised.
    """

    boxes: Tensor
    quality: Tensor
    bins: Tensor
    pooled: Tensor

    def __getitem__(self, rows) -> BoxRegions:
        return BoxRegions(*(value[rows] for value in vars(self).values()))


@torch.no_grad()
def region_bins(pictures: DensePictures, boxes: Tensor) -> Tensor:
    """Hidden states in 3 × 3 bins of boxes [N, K, 4]: float16 [N, K, F].

    Each bin is the mean of four points of the patch grid, with what lies
    between patches interpolated (RoIAlign: He et al. 2017, arXiv 1703.06870).
    """
    layers = taps(pictures.clip)[:READS]
    states = [pictures.hidden(k)[:, 1:] for k in layers]
    maps = as_map(torch.cat([F.layer_norm(h, h.shape[-1:]) for h in states], -1))
    steps = (torch.arange(2 * BINS) + 0.5) / (2 * BINS)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    inside = torch.stack([x.flatten(), y.flatten()], -1)  # [P, 2]
    low, high = boxes[..., None, :2], boxes[..., None, 2:]
    points = low + inside * (high - low)  # [N, K, P, 2]
    grid = 2 * points / pictures.images.shape[1] - 1
    found = F.grid_sample(maps, grid, padding_mode="border", align_corners=False)
    found = found.transpose(1, 2).unflatten(-1, (2 * BINS, 2 * BINS))
    return (
        F.avg_pool2d(found.flatten(0, 1), 2)
        .unflatten(0, boxes.shape[:2])
        .flatten(2)
        .half()
    )


def look_into(pictures: DensePictures, boxes: Tensor, quality: Tensor) -> BoxRegions:
    """What is inside boxes [N, K, 4] of ``quality`` [N, K]."""
    pictures.prepare()
    bins = [
        region_bins(pictures[rows], boxes[rows]) for rows in batched(len(boxes), 32)
    ]
    pooled = pool_regions(pictures.dense, boxes / pictures.images.shape[1])
    return BoxRegions(boxes, quality, torch.cat(bins), pooled)


def shared_regions(proposer: BoxProposer, pictures: DensePictures) -> BoxRegions:
    """A proposer's boxes of pictures, made once."""
    return timed_regions(proposer, pictures)[0]


def timed_regions(proposer: BoxProposer, pictures: DensePictures):
    """The same, and the seconds it took once CLIP had read the pictures."""

    def make() -> BoxRegions:
        found = propose_boxes(proposer, pictures)
        return look_into(pictures, found.boxes, found.quality)

    pictures.prepare("pixel_values")
    return timed_once(pictures, ("regions", proposer), make)


@dataclass(frozen=True)
class Lesson:
    """R regions of boxed pictures: shared proposals, and the true boxes.

    ``picture`` [R]; ``boxes`` [R, 4], ``quality`` [R], ``bins`` [R, F] and
    ``pooled`` [R, D] as in :class:`BoxRegions`; ``labels`` [R], the number of
    names where a region shows no base thing; ``overlap`` [R] with the base box
    that it overlaps most, ``goals`` [R, 4]; ``true`` bool [R]: boxes of the
    truth itself.
    """

    picture: Tensor
    boxes: Tensor
    quality: Tensor
    bins: Tensor
    pooled: Tensor
    labels: Tensor
    overlap: Tensor
    goals: Tensor
    owner: Tensor
    true: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows) -> Lesson:
        return Lesson(*(value[rows] for value in vars(self).values()))


def lesson_of(
    clip, data: Boxed, seed: int = 0, kind: str = "oln"
) -> tuple[BoxProposer, Lesson]:
    """The shared proposer of a kind, and what its regions teach; made once."""
    proposer = shared_boxes(clip, data, seed, kind)
    return proposer, lesson_with(proposer, data)


def lesson_with(proposer: BoxProposer, data: Boxed) -> Lesson:
    """What a proposer's regions teach of boxes; made once."""
    key = "lesson", proposer, tuple(data.names)
    return once(data.pictures, key, lambda: make_lesson(proposer, data))


def make_lesson(proposer: BoxProposer, data: Boxed) -> Lesson:
    """The same, made anew; pictures without any box teach nothing."""
    found, parts = shared_regions(proposer, data.pictures), []
    nothing, before = len(data.names), 0  # boxes of the pictures so far
    for k, (truth, names) in enumerate(zip(data.boxes, data.labels, strict=True)):
        if not len(truth):
            continue
        there = found.quality[k] > 0
        boxes = torch.cat([found.boxes[k][there], truth])
        quality = torch.cat([found.quality[k][there], torch.ones(len(truth))])
        overlap, best = pairwise_iou(boxes, truth).max(1)
        labels = torch.where(overlap >= POSITIVE, names[best], nothing)
        own = look_into(data.pictures[k : k + 1], truth[None], torch.ones(1))
        parts.append(
            (
                torch.full_like(labels, k),
                boxes,
                quality,
                torch.cat([found.bins[k][there], own.bins[0]]),
                torch.cat([found.pooled[k][there], own.pooled[0]]),
                labels,
                overlap,
                truth[best],
                before + best,
                torch.arange(len(boxes)) >= int(there.sum()),
            )
        )
        before += len(truth)
    return Lesson(*map(torch.cat, zip(*parts, strict=True)))
