"""Solutions to the exercises of 06_pretraining, with the reasons."""

import torch
import torch.nn.functional as F

from vlmtutor.lessons import pretraining as lesson


def visitors(rank, size):
    """→ a list of ``size`` ranks; the first is ``rank`` itself.

    What comes in was one place further back a hop ago.
    """
    return [(rank - hop) % size for hop in range(size)]


def loss_in_parts(logits, parts):
    """logits [N, N], N divisible by ``parts`` → a scalar tensor.

    Rows are a process's own pictures, columns its own texts; since all parts
    are as large, the mean of the shares is the mean over all rows.
    """
    shares = []
    for own in torch.arange(len(logits)).chunk(parts):
        pictures = F.cross_entropy(logits[own], own)
        texts = F.cross_entropy(logits[:, own].T, own)
        shares.append((pictures + texts) / 2)
    return sum(shares) / parts


def gradient(model, pairs, rows):
    """CLIP's gradient at all weights, in one row: [P]."""
    model.zero_grad()
    lesson.contrast(model, pairs.batch(rows)).backward()
    found = (p.grad for p in model.parameters() if p.grad is not None)
    return torch.cat([g.flatten() for g in found])


def cancelling(data, steps=60, size=256, seed=0):
    """Exercise 5: {share of wrong captions: (cosine with clean, length)}.

    After ``steps`` steps; the length is that over the clean gradient's.
    """
    model, _ = lesson.train(data, steps=steps, seed=seed)
    found, clean = {}, None
    for share in (0.0, 0.4, 1.0):
        pairs, _ = lesson.shuffled(data.train, share, seed)
        pull = gradient(model, pairs, range(size))
        clean = pull if clean is None else clean
        cosine = torch.cosine_similarity(clean, pull, dim=0)
        found[share] = (cosine.item(), (pull.norm() / clean.norm()).item())
    return found
