"""Solutions to the exercises of 12_seg_masks_for_free."""

import torch


def denoise(logits, bar):
    """Logits [T, C] → the same, absent names at -100."""
    best = logits.softmax(dim=1).amax(dim=0)  # [C]
    return logits.masked_fill(best < bar, -100.0)


def affinity(attention, rounds):
    """[T, T] → [T, T], symmetric."""
    for _ in range(rounds):
        attention = attention / attention.sum(dim=0, keepdim=True)
        attention = attention / attention.sum(dim=1, keepdim=True)
    both = (attention + attention.T) / 2
    return both @ both


def click_weights(maps, level):
    """Maps [K, P] of P pixels, K > 1 → weights [K, P]."""
    own = torch.eye(len(maps), dtype=torch.bool)[:, :, None]
    others = maps[None].masked_fill(own, -torch.inf).amax(dim=1)
    return (maps - others).clamp(min=0) * (maps > level)
