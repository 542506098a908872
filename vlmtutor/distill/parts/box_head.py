"""The region half of a detector: a vector that is compared with names, a box.

What two-stage methods share: two layers on the bins of a region, a vector in
CLIP's joint space and a class-agnostic correction of the box (ViLD's head: Gu
et al. 2021, arXiv 2104.13921, without its convolutions).  They differ in what
the vector is taught, and in what becomes of the background.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...seeding import seeded_weights
from ...training import descend
from ..pictures import DensePictures
from .box_proposer import BoxProposer
from .box_regions import BoxRegions, Lesson, shared_regions
from .boxes import pairwise_iou, shift_to, shifted, without_repeats
from .pseudo import Pseudo
from .two_stage import count

STEPS = 300
REGIONS = 256  # of a step
REPEATED = 0.5  # from this overlap on two boxes of a name are one
KEPT = 50  # boxes of a picture
RANKINGS = ("own", "common")


class RegionHead(nn.Module):
    """``head(bins, pooled)``: vectors [..., D], not normalised, and shifts.

    ``bins`` [..., F], ``pooled`` [..., D].  With ``near`` a vector starts as
    the region's mean patch, and training adds to it; without, from chance, as
    papers whose detector starts from pictures' labels do.
    """

    def __init__(
        self, features: int, dim: int, near: bool = False, width=256, seed: int = 0
    ):
        super().__init__()
        self.near = near
        with seeded_weights(seed):
            self.body = nn.Sequential(
                nn.Linear(features, width),
                nn.GELU(),
                nn.Linear(width, width),
                nn.GELU(),
            )
            self.vector = nn.Linear(width, dim)
            self.shift = nn.Linear(width, 4)
        for layer in (self.shift, self.vector) if near else (self.shift,):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, bins: Tensor, pooled: Tensor) -> tuple[Tensor, Tensor]:
        states = self.body(bins.float())
        vector = self.vector(states)
        return (vector + pooled if self.near else vector), self.shift(states)


class Nothing(nn.Module):
    """A learned vector for what is none of the names."""

    def __init__(self, dim: int, seed: int = 0):
        super().__init__()
        with seeded_weights(seed):
            self.vector = nn.Parameter(0.1 * torch.randn(dim))

    def forward(self, texts: Tensor) -> Tensor:
        """Texts [C, D] and, last, the background's: [C + 1, D]."""
        return torch.cat([texts, F.normalize(self.vector, dim=0)[None]])


def shift_loss(shifts: Tensor, boxes: Tensor, goals: Tensor) -> Tensor:
    """How far shifts [R, 4] are from those of boxes to goals [R, 4]: [R]."""
    wanted = shift_to(boxes, goals)
    return F.smooth_l1_loss(shifts, wanted, reduction="none", beta=0.1).sum(-1)


def box_loss(shifts: Tensor, lesson: Lesson, names: int) -> Tensor:
    """How far shifts [R, 4] are from those that boxes of things need."""
    things = lesson.labels < names
    error = shift_loss(shifts, lesson.boxes, lesson.goals)
    return (error * things).sum() / things.sum().clamp(min=1)


def name_loss(
    vectors: Tensor, columns: Tensor, labels: Tensor, scale, background: float = 1.0
) -> Tensor:
    """Cross-entropy of cosines with columns [C + 1, D], the last for nothing.

    ``vectors`` [R, D], ``labels`` [R]; ``background`` weighs the last column.
    """
    logits = scale * F.normalize(vectors, dim=-1) @ columns.T
    weight = torch.ones(len(columns))
    weight[-1] = background
    return F.cross_entropy(logits, labels, weight)


def fit_regions(
    parameters: Iterable[nn.Parameter],
    lesson: Lesson,
    loss: Callable[[Lesson, Tensor], Tensor],
    *,
    steps: int = STEPS,
    seed: int = 0,
    lr: float = 1e-3,
) -> None:
    """Minimise ``loss(regions, rows)`` over batches of a lesson's rows [B]."""
    descend(
        parameters,
        lambda step, rows: loss(lesson[rows], rows),
        len(lesson),
        steps=steps,
        lr=lr,
        batch_size=REGIONS,
        seed=seed,
        clip_norm=1.0,
    )


def train_detector(
    kind, clip, proposer, lesson: Lesson, loss, *, steps: int, seed: int, **parts
):
    """Train ``parts``, modules by the name of their field; a detector of a kind."""
    weights = [p for module in parts.values() for p in module.parameters()]
    fit_regions(weights, lesson, loss, steps=steps, seed=seed)
    trained = count(proposer, *parts.values())
    frozen = {name: module.requires_grad_(False) for name, module in parts.items()}
    return kind(clip=clip, proposer=proposer, trained=trained, **frozen)


def lay_out(
    boxes: Tensor, scores: Tensor, overlap: float = REPEATED, most: int = KEPT
) -> list[dict]:
    """Boxes [N, K, 4] with scores [N, K, C], without repetitions of a name.

    [N, K, C, 4] where a box depends on the name that it is asked for.  The
    ``most`` surest of each picture, as :meth:`Detector.detect` gives them.
    """
    C = scores.shape[-1]
    by_name = boxes.transpose(1, 2) if boxes.ndim == 4 else boxes[:, None]
    overlaps = pairwise_iou(by_name, by_name)  # [N, C or 1, K, K]
    kept = without_repeats(scores.transpose(1, 2), overlaps, overlap)
    best = kept.transpose(1, 2).flatten(1).topk(min(most, kept[0].numel()), 1)
    found = []
    for own, places, shown in zip(boxes, best.indices, best.values, strict=True):
        places, shown = places[shown > 0], shown[shown > 0]
        rows, labels = places // C, places % C
        own = own[rows, labels] if own.ndim == 3 else own[rows]
        found.append({"boxes": own, "labels": labels, "scores": shown})
    return found


def among(logits: Tensor) -> Tensor:
    """Belief in each of the names alone: softmax of [..., C]."""
    return logits.softmax(-1)


@dataclass(frozen=True, kw_only=True)
class RegionDetector:
    """Names the shared boxes: what two-stage methods give back.

    A method says in ``opinions`` what it makes of a region.  ``ranking``
    "own" ranks boxes as its paper does; "common" by its belief in a name
    among names, times the quality of the shared proposal.  ``labels``: the
    boxes that it made for itself, of methods that do.
    """

    clip: object
    proposer: BoxProposer
    head: RegionHead | None = None
    trained: int = 0
    ranking: str = "own"
    labels: Pseudo | None = None

    def opinions(
        self, found: BoxRegions, pictures: DensePictures, names: list[str], seen
    ) -> tuple[Tensor, Tensor]:
        """Scores by the paper's rule, and belief among names: two [N, K, C].

        ``seen`` bool [C], or None.
        """
        raise NotImplementedError

    def places(self, found: BoxRegions) -> Tensor:
        """Boxes after the head's corrections: [N, K, 4]."""
        if self.head is None:
            return found.boxes
        shifts = self.head(found.bins, found.pooled)[1]
        return shifted(found.boxes, shifts, self.clip.image_size)

    def regions(self, pictures: DensePictures) -> BoxRegions:
        """The boxes that it names."""
        return shared_regions(self.proposer, pictures)

    @torch.no_grad()
    def proposed(self, pictures, names, seen=None) -> tuple[Tensor, Tensor, Tensor]:
        """Proposals [N, K, 4], their quality [N, K], own scores [N, K, C]."""
        found = self.regions(pictures)
        own = self.opinions(found, pictures, names, seen)[0]
        return found.boxes, found.quality, own

    @torch.no_grad()
    def detect(self, pictures, names, seen=None) -> list[dict]:
        return self.detect_in(self.regions(pictures), pictures, names, seen)

    @torch.no_grad()
    def detect_in(
        self, found: BoxRegions, pictures: DensePictures, names, seen=None
    ) -> list[dict]:
        """The same in given boxes; ``seen`` bool [len(names)]."""
        own, belief = self.opinions(found, pictures, names, seen)
        quality = found.quality[..., None]
        scores = own if self.ranking == "own" else belief * quality
        return lay_out(self.places(found), scores * (quality > 0))
