"""Solutions to the exercises of 04_generative."""

import torch
import torch.nn.functional as F


def hidden_accuracy(logits, labels):
    """logits [B, L, V], labels [B, L] → a float from 0 to 1."""
    counts = labels != -100
    right = logits.argmax(-1) == labels
    return right[counts].float().mean().item()


def next_word_loss(logits, ids):
    """logits [L, V], ids [L] → the mean cost of the next words."""
    return F.cross_entropy(logits[:-1], ids[1:])


def block_mask(side, top, bottom, left, right):
    """→ [side²] bool, row by row; True is hidden."""
    mask = torch.zeros(side, side, dtype=torch.bool)
    mask[top:bottom, left:right] = True
    return mask.flatten()
