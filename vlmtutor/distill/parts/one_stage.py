"""Detectors without a second look: each cell has a box, a quality and a vector.

What one-stage methods share.  The boxes start from the shared proposer, so
that few steps are enough; vectors start from chance, on a tower of their own.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...models.inside import as_map, as_tokens
from ...seeding import seeded_weights
from ...training import descend
from ..pictures import DensePictures, batched
from ..supervision import Boxed
from .box_head import lay_out
from .box_proposer import BoxProposer, Cells, Spots, likeliest, owners
from .boxes import padded

STEPS = 200
CANDIDATES = 30  # boxes of a picture that are named


class OneStage(nn.Module):
    """``net(pictures)``: the boxes' :class:`Cells`, and vectors [N, M, D].

    Vectors are not normalised.
    """

    def __init__(self, clip, start: BoxProposer, seed: int = 0):
        super().__init__()
        self.boxes = copy.deepcopy(start).requires_grad_(True)
        width = self.boxes.quality.in_features
        with seeded_weights(seed):
            self.tower = nn.Sequential(
                nn.Conv2d(width, 2 * width, 3, padding=1), nn.GELU()
            )
            self.vector = nn.Linear(2 * width, clip.embed_dim)

    def forward(self, pictures: DensePictures) -> tuple[Cells, Tensor]:
        cells = self.boxes(pictures)
        states = self.tower(as_map(cells.states))
        return cells, self.vector(as_tokens(states))


@dataclasses.dataclass(frozen=True)
class Targets:
    """Whose the M cells of a batch are, as :func:`.box_proposer.owners` says.

    ``boxes`` [N, R, 4], ``labels`` [N, R]; ``whole`` and ``middle`` [N, M]
    number them, -1 for nobody.  ``row`` [N, R]: which row of the teacher's
    table is theirs.
    """

    boxes: Tensor
    labels: Tensor
    whole: Tensor
    middle: Tensor
    row: Tensor

    def __getitem__(self, rows) -> Targets:
        return Targets(*(value[rows] for value in vars(self).values()))

    def cell_labels(self, nothing: int) -> Tensor:
        """Labels of cells [N, M]: those in the middle of a box, else nothing."""
        own = self.labels.gather(1, self.middle.clamp(min=0))
        return torch.where(self.middle >= 0, own, nothing)

    def cell_rows(self) -> Tensor:
        """Rows of the teacher's table [N, M]; of use in the middle of boxes."""
        return self.row.gather(1, self.middle.clamp(min=0))


def targets_of(net: OneStage, boxes, labels, rows) -> Targets:
    """Targets of N pictures: a list each of boxes [n, 4], labels and rows [n]."""
    table, there = padded(boxes)
    numbers = torch.zeros(2, *there.shape, dtype=torch.long)
    for kind, values in zip(numbers, (labels, rows), strict=True):
        kind[there] = torch.cat(list(values))
    return Targets(
        table, numbers[0], *owners(net.boxes.centers(), table, there), numbers[1]
    )


def true_targets(net: OneStage, data: Boxed) -> Targets:
    """Targets of the true boxes; their rows count the boxes one by one."""
    counts = [len(own) for own in data.boxes]
    rows = torch.arange(sum(counts)).split(counts)
    return targets_of(net, data.boxes, data.labels, rows)


def fit_cells(
    parameters: Iterable[nn.Parameter],
    data: Boxed,
    loss: Callable[[DensePictures, Tensor], Tensor],
    *,
    steps: int = STEPS,
    seed: int = 0,
    batch_size: int = 16,
    lr: float = 2e-3,
) -> None:
    """Minimise ``loss(pictures, rows)`` over batches of the data's rows [B]."""
    data.pictures.prepare("pixel_values")
    descend(
        parameters,
        lambda step, rows: loss(data.pictures[rows], rows),
        len(data),
        steps=steps,
        lr=lr,
        batch_size=batch_size,
        seed=seed,
        clip_norm=1.0,
    )


def softmax_focal(logits: Tensor, labels: Tensor, gamma=2.0, alpha=0.25) -> Tensor:
    """Focal loss of a softmax: [R, C + 1] and labels [R], the last for nothing.

    The sum over what is something; ``alpha`` weighs things, 1 - alpha nothing.
    """
    log_p = logits.log_softmax(-1).gather(1, labels[:, None])[:, 0]
    things = labels < logits.shape[1] - 1
    side = torch.where(things, alpha, 1 - alpha)
    loss = -side * (1 - log_p.exp()) ** gamma * log_p
    return loss.sum() / things.sum().clamp(min=1)


@torch.no_grad()
def named_cells(net: OneStage, pictures: DensePictures) -> tuple[Spots, Tensor]:
    """The likeliest cells' boxes, and their vectors [N, K, D]."""
    pictures.prepare("pixel_values")
    spots, vectors = [], []
    for rows in batched(len(pictures), 32):
        cells, own = net(pictures[rows])
        some = likeliest(cells, net.boxes.size, CANDIDATES)
        spots.append((some.boxes, some.quality, some.cell))
        places = some.cell[..., None].expand(-1, -1, own.shape[-1])
        vectors.append(own.gather(1, places))
    fields = zip(*spots, strict=True)
    return Spots(*map(torch.cat, fields)), torch.cat(vectors)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CellDetector:
    """Names the likeliest cells: what one-stage methods give back.

    ``ranking`` as of :class:`.box_head.RegionDetector`; the quality is that
    of the net's own boxes.
    """

    clip: object
    net: OneStage
    trained: int = 0
    ranking: str = "own"
    overlap: float = 0.5

    def opinions(
        self, vectors: Tensor, quality: Tensor, names: list[str], seen
    ) -> tuple[Tensor, Tensor]:
        """Scores by the paper's rule, and belief among names: two [N, K, C].

        ``vectors`` [N, K, D], ``quality`` [N, K]; ``seen`` bool [C] or None.
        """
        raise NotImplementedError

    @torch.no_grad()
    def proposed(self, pictures, names, seen=None) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes [N, K, 4], their quality [N, K], own scores [N, K, C]."""
        spots, vectors = named_cells(self.net, pictures)
        own = self.opinions(vectors, spots.quality, names, seen)[0]
        return spots.boxes, spots.quality, own

    @torch.no_grad()
    def detect(self, pictures, names, seen=None) -> list[dict]:
        spots, vectors = named_cells(self.net, pictures)
        own, belief = self.opinions(vectors, spots.quality, names, seen)
        quality = spots.quality[..., None]
        scores = own if self.ranking == "own" else belief * quality
        return lay_out(spots.boxes, scores * (quality > 0), self.overlap)


def cosines(vectors: Tensor, texts: Tensor) -> Tensor:
    """Of vectors [..., D] of any length with texts [C, D]: [..., C]."""
    return F.normalize(vectors, dim=-1) @ texts.T
