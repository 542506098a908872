"""A set of boxes beside the true ones: matched one to one, and what each pays.

Carion et al. 2020, "End-to-End Object Detection with Transformers", arXiv
2005.12872; names are asked one by one, with a focal loss (Zhu et al. 2020,
arXiv 2010.04159).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .box_proposer import BoxProposer
from .box_regions import shared_regions
from .boxes import giou, pairwise_iou
from .matching import flatten_pairs, match


@dataclass(frozen=True)
class Prices:
    """What a wrong name, a distance and a bad fit weigh; ``alpha`` of the focus."""

    name: float = 1.0
    near: float = 1.0
    fit: float = 1.0
    alpha: float = 0.25
    gamma: float = 2.0

    def sides(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """What logits [...] pay if the answer is yes, and if it is no."""
        p = logits.sigmoid()
        yes = self.alpha * (1 - p) ** self.gamma * F.softplus(-logits)
        return yes, (1 - self.alpha) * p**self.gamma * F.softplus(logits)


@dataclass(frozen=True)
class Truth:
    """R true boxes of N pictures, in pixels [N, R, 4], padded.

    ``labels`` [N, R]; ``there`` bool [N, R].
    """

    boxes: Tensor
    labels: Tensor
    there: Tensor

    def __getitem__(self, rows) -> Truth:
        return Truth(*(value[rows] for value in vars(self).values()))

    def mirrored(self, size: int) -> Truth:
        """The same with left and right of pictures of ``size`` px swapped."""
        boxes = self.boxes[..., [2, 1, 0, 3]] * torch.tensor([-1, 1, -1, 1])
        return Truth(boxes + size * torch.tensor([1, 0, 1, 0]), self.labels, self.there)


def truth_of(boxes: list[Tensor], labels: list[Tensor]) -> Truth:
    """Boxes [n, 4] and labels [n] of each picture, side by side."""
    counts = torch.tensor([len(own) for own in boxes])
    there = torch.arange(max(1, int(counts.max()))) < counts[:, None]
    table = torch.zeros(*there.shape, 4)
    numbers = torch.zeros(there.shape, dtype=torch.long)
    table[there], numbers[there] = torch.cat(boxes), torch.cat(labels)
    return Truth(table, numbers, there)


def as_shares(boxes: Tensor, size: int) -> Tensor:
    """Boxes [..., 4] as their middles and sides, in shares of the picture's."""
    low, high = boxes[..., :2] / size, boxes[..., 2:] / size
    return torch.cat([(low + high) / 2, high - low], -1)


@torch.no_grad()
def costs(
    logits: Tensor, boxes: Tensor, truth: Truth, size: int, prices: Prices
) -> Tensor:
    """What each of Q boxes [N, Q, 4] would pay for each true one: [N, Q, R].

    ``logits`` [N, Q, C]: whether a box has a name.
    """
    yes, no = prices.sides(logits)
    columns = truth.labels[:, None].expand(-1, logits.shape[1], -1)
    named = (yes - no).gather(2, columns)
    shares = as_shares(boxes, size), as_shares(truth.boxes, size)
    fit = giou(boxes[:, :, None], truth.boxes[:, None])
    return (
        prices.name * named + prices.near * torch.cdist(*shares, p=1) - prices.fit * fit
    )


def set_loss(
    logits: Tensor,
    boxes: Tensor,
    truth: Truth,
    size: int,
    prices: Prices,
    asked: Tensor | None = None,
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """What each picture's boxes [N, Q, 4] pay, [N], and who was matched.

    ``logits`` [N, Q, C]; only names ``asked`` bool [N, C] count.  Each true
    box takes one box, at the least total cost; the others should have no
    name.  The pairs are picture, box and true-box numbers [P] each.
    """
    pairs = match(costs(logits, boxes, truth, size, prices), truth.there)
    rows, queries, things = flatten_pairs(pairs)
    wanted = torch.zeros_like(logits, dtype=torch.bool)
    wanted[rows, queries, truth.labels[rows, things]] = True
    named = torch.where(wanted, *prices.sides(logits))
    if asked is not None:
        named = named * asked[:, None]
    ours, theirs = boxes[rows, queries], truth.boxes[rows, things]
    away = (as_shares(ours, size) - as_shares(theirs, size)).abs().sum(-1)
    drawn = prices.near * away + prices.fit * (1 - giou(ours, theirs))
    paid = prices.name * named.sum((1, 2))
    return paid.index_add(0, rows, drawn), (rows, queries, things)


def borrowed_quality(proposer: BoxProposer, pictures, boxes: Tensor) -> Tensor:
    """How good the shared proposals find boxes [N, K, 4] of other makers: [N, K].

    The quality of a proposal times how much the box overlaps it, at best.
    """
    found = shared_regions(proposer, pictures)
    overlap = pairwise_iou(boxes, found.boxes)
    return (overlap * found.quality[:, None]).amax(-1)


def examples(labels: Tensor, least: int) -> tuple[Tensor, Tensor, Tensor]:
    """Things that show what to look for, and those that are looked for.

    Of ``labels`` [R] from ``least`` on, the first of each kind is an example:
    rows [E], rows of the others [R'], and whose example is theirs [R'].
    """
    kinds = labels[labels >= least].unique()
    first = torch.stack([(labels == kind).nonzero()[0, 0] for kind in kinds])
    others = labels >= least
    others[first] = False
    rows = others.nonzero()[:, 0]
    return first, rows, torch.searchsorted(kinds, labels[rows])
