"""Boxes without names: one dense head that says where things are, how surely.

Each cell of a fine map answers with its distances to the four sides of a box
and with the quality of that box, the overlap that it expects (FCOS: Tian et
al. 2019, arXiv 1904.01355; quality as the score: OLN, Kim et al. 2021, arXiv
2108.06753).  Trained in two ways on boxes of base classes in scenes where
other things stand unlabelled: as a region proposal network ("neg"), which
learns that all else is background, novel things too; or inside true boxes
alone ("oln"), which teaches nothing about the rest.  Simplified: one level,
no anchors, since sizes span one octave; the cells are those of the shared
trunk; every other step looks at mirrored pictures.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...models.inside import as_tokens
from ...seeding import seeded_weights
from ...training import descend
from ..pictures import DensePictures, batched, once
from ..supervision import Boxed
from .boxes import giou, iou, padded, pairwise_iou, without_repeats
from .dense_student import Trunk

KINDS = ("oln", "neg")
STEPS = 200
MIDDLE = 0.6  # share of a box's sides within which cells answer for it
REPEATED = 0.6  # from this overlap on a proposal is a repetition
BEFORE = 100  # proposals that are looked at for repetitions
MOST = 10  # proposals of a picture


@dataclass(frozen=True)
class Cells:
    """What the M cells of N pictures say.

    ``boxes`` [N, M, 4] in pixels, ``quality`` [N, M] logits, ``states``
    [N, M, width].
    """

    boxes: Tensor
    quality: Tensor
    states: Tensor


class BoxProposer(nn.Module):
    """``proposer(pictures)`` are :class:`Cells`; CLIP is no submodule."""

    def __init__(self, clip, width: int = 64, seed: int = 0):
        super().__init__()
        self.size = clip.image_size
        with seeded_weights(seed):
            self.trunk = Trunk(clip, width)
            self.tower = nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1),
                nn.GELU(),
                nn.Conv2d(width, width, 3, padding=1),
                nn.GELU(),
            )
            self.quality = nn.Linear(width, 1)
            self.sides = nn.Linear(width, 4)
            nn.init.zeros_(self.sides.weight)
            nn.init.zeros_(self.sides.bias)

    def centers(self) -> Tensor:
        """Where the cells are, x and y in pixels: [M, 2]."""
        fine = self.trunk.fine
        steps = (torch.arange(fine) + 0.5) * self.size / fine
        y, x = torch.meshgrid(steps, steps, indexing="ij")
        return torch.stack([x.flatten(), y.flatten()], -1)

    def forward(self, pictures: DensePictures) -> Cells:
        states = as_tokens(self.tower(self.trunk(pictures)))
        sides = self.sides(states).clamp(-3, 2).exp() * self.size / 6
        center = self.centers()
        boxes = torch.cat([center - sides[..., :2], center + sides[..., 2:]], -1)
        return Cells(boxes, self.quality(states)[..., 0], states)


def owners(centers: Tensor, boxes: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
    """Whose cells [M, 2] are: box numbers [N, M], -1 for nobody's.

    Two answers: of cells inside boxes [N, R, 4], and of those in the middle of
    theirs.  Where boxes overlap the smaller one has the cell.
    """
    area = (boxes[..., 2:] - boxes[..., :2]).prod(-1)
    area = area.masked_fill(~there, torch.inf)
    middle, half = boxes.unflatten(-1, (2, 2)).mean(-2), boxes[..., 2:] - boxes[..., :2]
    away = (centers[None, None] - middle[:, :, None]).abs()  # [N, R, M, 2]
    found = []
    for share in (1.0, MIDDLE):
        inside = (away <= share * half[:, :, None] / 2).all(-1)
        cost = torch.where(inside, area[..., None], torch.inf)
        best = cost.min(1)
        found.append(best.indices.masked_fill(best.values.isinf(), -1))
    return found[0], found[1]


def box_losses(
    cells: Cells, boxes: Tensor, whole: Tensor, middle: Tensor, kind: str = "oln"
) -> Tensor:
    """What cells pay for their boxes and for what they think of them.

    ``boxes`` [N, R, 4] are true ones, ``whole`` and ``middle`` [N, M] of
    :func:`owners`.  "oln" looks inside true boxes alone, "neg" everywhere.
    """
    goals = boxes.gather(1, middle.clamp(min=0)[..., None].expand(-1, -1, 4))
    positive = middle >= 0
    n = positive.sum().clamp(min=1)
    fit = (1 - giou(cells.boxes, goals))[positive].sum() / n
    target = iou(cells.boxes.detach(), goals) * positive
    loss = F.binary_cross_entropy_with_logits(cells.quality, target, reduction="none")
    counted = whole >= 0 if kind == "oln" else torch.ones_like(positive)
    return 2 * fit + (loss * counted).sum() / n


def train_boxes(
    clip,
    data: Boxed,
    kind: str = "oln",
    *,
    steps: int = STEPS,
    batch_size: int = 16,
    lr: float = 3e-3,
    seed: int = 0,
) -> BoxProposer:
    """Learn where things are from the boxes of base classes.

    Raises ValueError for a ``kind`` that is none of KINDS.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is one of {KINDS}, not {kind!r}")
    proposer = BoxProposer(clip, seed=seed)
    boxes, there = padded(data.boxes)
    turned = boxes[..., [2, 1, 0, 3]] * torch.tensor([-1, 1, -1, 1])
    turned = turned + proposer.size * torch.tensor([1, 0, 1, 0])
    lessons = [(b, *owners(proposer.centers(), b, there)) for b in (boxes, turned)]
    data.pictures.prepare("pixel_values")

    def loss(step: int, rows: Tensor) -> Tensor:
        pictures = data.pictures[rows]
        if step % 2:
            pictures = pictures.mirrored()
        truth = (part[rows] for part in lessons[step % 2])
        return box_losses(proposer(pictures), *truth, kind)

    sizes = {"steps": steps, "lr": lr, "batch_size": batch_size}
    descend(proposer.parameters(), loss, len(data), seed=seed, clip_norm=1.0, **sizes)
    return proposer.requires_grad_(False)


@dataclass(frozen=True)
class Spots:
    """The likeliest K boxes of N pictures: [N, K, 4], ``quality`` [N, K].

    Repetitions have a quality of 0.  ``cell`` [N, K]: who proposed them.
    """

    boxes: Tensor
    quality: Tensor
    cell: Tensor


def likeliest(cells: Cells, size: int, most: int = MOST) -> Spots:
    """Without repetitions, the ``most`` that expect the best overlap."""
    quality, place = cells.quality.sigmoid().topk(
        min(BEFORE, cells.quality.shape[1]), 1
    )
    boxes = cells.boxes.clamp(0, size)
    boxes = boxes.gather(1, place[..., None].expand(-1, -1, 4))
    quality = without_repeats(quality, pairwise_iou(boxes, boxes), REPEATED)
    quality, best = quality.topk(min(most, quality.shape[1]), 1)
    boxes = boxes.gather(1, best[..., None].expand(-1, -1, 4))
    return Spots(boxes, quality, place.gather(1, best))


@torch.no_grad()
def propose_boxes(
    proposer: BoxProposer, pictures: DensePictures, most: int = MOST
) -> Spots:
    """The likeliest boxes of pictures."""
    pictures.prepare("pixel_values")
    parts = [
        likeliest(proposer(pictures[rows]), proposer.size, most)
        for rows in batched(len(pictures), 32)
    ]
    fields = zip(*((p.boxes, p.quality, p.cell) for p in parts), strict=True)
    return Spots(*map(torch.cat, fields))


def timed_once(owner, key, make) -> tuple[object, float]:
    """:func:`vlmtutor.distill.pictures.once`, with the seconds it took then."""

    def timed():
        begun = time.perf_counter()
        made = make()
        return made, round(time.perf_counter() - begun, 2)

    return once(owner, key, timed)


def shared_boxes(clip, data: Boxed, seed: int = 0, kind: str = "oln") -> BoxProposer:
    """:func:`train_boxes`, once for the same pictures; all methods share it."""
    return timed_shared(clip, data, seed, kind)[0]


def timed_shared(clip, data: Boxed, seed: int = 0, kind: str = "oln"):
    """The same, and the seconds of its training."""
    key = "boxes", seed, kind
    return timed_once(
        data.pictures,
        key,
        lambda: train_boxes(clip, data, kind, steps=STEPS, seed=seed),
    )
