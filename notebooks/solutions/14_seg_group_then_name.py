"""Solutions to the exercises of 14_seg_group_then_name, with the reasons."""

import torch


def two_opinions(q, c, seen, w):
    """Probabilities [C] of both branches, seen bool [C] → scores [C].

    The exponents swap: each branch is heard most where it knows most.
    """
    weight = torch.where(seen, w, 1 - w)
    return q**weight * c ** (1 - weight)


def keep_best(masks, sure, limit):
    """Masks bool [Q, S, S], sure [Q] → numbers kept, surest first: a list.

    Compared with what is kept, not with all: what was thrown away must not
    throw away others.
    """
    chosen = []
    for q in sure.argsort(descending=True).tolist():
        inter = [(masks[q] & masks[k]).sum() for k in chosen]
        union = [(masks[q] | masks[k]).sum() for k in chosen]
        if all(i <= limit * u for i, u in zip(inter, union, strict=True)):
            chosen.append(q)
    return chosen


def sharing(queries=16, regions=4, tries=2000, alike=0.0, seed=0):
    """Exercise 5: how often a greedy choice gives two regions one query.

    Costs are random, and a part ``alike`` of them is the query's own, the
    same for all regions: a query that is good at everything.
    """
    rng = torch.Generator().manual_seed(seed)
    costs = torch.rand(tries, queries, regions, generator=rng)
    own = torch.rand(tries, queries, 1, generator=rng)
    best = (alike * own + (1 - alike) * costs).argmin(1)  # [tries, regions]
    several = [len(set(row.tolist())) < regions for row in best]
    return sum(several) / tries
