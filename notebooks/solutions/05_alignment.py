"""Solutions to the exercises of 05_alignment, with the reasons."""

import torch

from vlmtutor.objectives.alignment import hard_negatives, random_negatives
from vlmtutor.seeding import batches, generator


def negative_chances(logits):
    """Logits [N, N] → chances [N, N] with zeros on the diagonal.

    Zeroing after the softmax and dividing by what is left is the same as a
    softmax over the other columns alone.
    """
    weights = logits.softmax(dim=1).fill_diagonal_(0)
    return weights / weights.sum(dim=1, keepdim=True)


def in_phrase(span, offsets):
    """(start, end) and a list of (start, end) → a list of bool.

    ``start < end`` leaves out tokens without letters: an empty span lies in
    every phrase that begins before it.
    """
    low, high = span
    return [
        start < end and low <= start and end <= high for start, end in offsets
    ]


def lies(has, size=64, steps=50, seed=0):
    """Exercise 5: shares of drawn negatives that are true: (random, hard).

    ``has`` [N, C] bool.  The all-knowing model's logit is ten times the share
    of stickers that two scenes have in common.
    """
    lots, found = generator(seed), {"random": [], "hard": []}
    for rows in batches(len(has), size, steps, seed):
        held = has[rows].float()
        both = held @ held.T  # [B, B] stickers in common
        count = held.sum(1)
        common = both / (count[:, None] + count - both)
        draws = {
            "random": random_negatives(size, lots),
            "hard": hard_negatives(10 * common, lots),
        }
        own = torch.arange(size)
        for name, chosen in draws.items():
            found[name].append((common[own, chosen] == 1).float().mean())
    return tuple(
        float(torch.stack(found[n]).mean()) for n in ("random", "hard")
    )
