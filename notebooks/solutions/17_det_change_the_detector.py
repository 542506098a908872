"""Solutions to the exercises of 17_det_change_the_detector."""

import itertools

import torch
from torch.nn import functional as F

from vlmtutor.distill.parts import box_sets
from vlmtutor.distill.parts import boxes as geometry


def hand_out(costs):
    """Costs [Q, R], Q at least R → the answer for each thing: a tuple.

    The way as a whole must be cheap: a thing may have to leave the answer that
    suits it best to one that suits no other.
    """
    answers, things = costs.shape
    ways = itertools.permutations(range(answers), things)
    return min(ways, key=lambda way: costs[list(way), range(things)].sum())


def relations(ours, theirs):
    """Two sets of unit vectors [R, D] → how differently they resemble.

    Each row of cosines is divided by its own sum, so a set in which all are
    alike and one in which none are can be told apart, whatever their scale.
    """
    a, b = (F.normalize(x @ x.T, p=1, dim=1) for x in (ours, theirs))
    return (a - b).square().sum()


def start_prices(boxes, sides=(1, 2, 3, 4, 5, 6), size=96, patch=8):
    """Exercise 5: {patches: (distance, lacking GIoU)} of the matched answers.

    ``boxes``: those of each picture [n, 4].  Every patch of the grid answers
    with a box of so many patches around its middle; no name is likelier than
    another, so the matching looks at places alone.
    """
    labels = [torch.zeros(len(own), dtype=torch.long) for own in boxes]
    truth = box_sets.truth_of(boxes, labels)
    steps = torch.arange(patch / 2, size, patch)
    middles = torch.cartesian_prod(steps, steps)  # [T, 2]
    blank, found = torch.zeros(len(boxes), len(middles), 1), {}
    for side in sides:
        half = side * patch / 2
        start = torch.cat([middles - half, middles + half], 1)
        start = start.expand(len(boxes), -1, -1)
        prices = box_sets.Prices()
        _, pairs = box_sets.set_loss(blank, start, truth, size, prices)
        rows, answers, things = pairs
        ours, theirs = start[rows, answers], truth.boxes[rows, things]
        shares = [box_sets.as_shares(x, size) for x in (ours, theirs)]
        away = (shares[0] - shares[1]).abs().sum(-1).mean()
        lacking = (1 - geometry.giou(ours, theirs)).mean()
        found[side] = away.item(), lacking.item()
    return found
