"""Solutions to the exercises of 14_seg_group_then_name."""

import torch


def overlap(a, b):
    """Bool masks [S, S] → IoU, a float; 0 if both are empty."""
    union = (a | b).sum().item()
    return (a & b).sum().item() / union if union else 0.0


def two_opinions(q, c, seen, w):
    """Probabilities [C] of both branches, seen bool [C] → scores [C]."""
    weight = torch.where(seen, w, 1 - w)
    return q**weight * c ** (1 - weight)


def keep_best(masks, sure, limit):
    """Masks bool [Q, S, S], sure [Q] → numbers kept, surest first: a list."""
    kept = []
    for q in sure.argsort(descending=True).tolist():
        inter = [(masks[q] & masks[k]).sum() for k in kept]
        union = [(masks[q] | masks[k]).sum() for k in kept]
        if all(i <= limit * u for i, u in zip(inter, union, strict=True)):
            kept.append(q)
    return kept
