"""What becomes of novel things: named, taken for another, or for nothing.

A detector can lose a thing twice: no box of the proposer's fits it, or one
does and is called something else.  Which it is tells what to mend.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ...figures import HATCHES, PALETTE
from ..parts.boxes import pairwise_iou

FATES = ("right", "another novel name", "a base name", "background", "missed")
FITS = 0.5  # overlap from which on a box is a thing's


def fates(
    boxes: Tensor, quality: Tensor, scores: Tensor, truths: Sequence[dict], base: int
) -> Tensor:
    """Places in FATES of the novel things of N pictures, one by one: [R].

    ``boxes`` [N, K, 4], ``quality`` [N, K], 0 where there is no box;
    ``scores`` [N, K, C] of names, of which ``base`` come first: what they
    lack to 1 is left for the background.  A thing's fate is that of the box
    that overlaps it most.
    """
    found = []
    for own, sure, says, truth in zip(boxes, quality, scores, truths, strict=True):
        labels = torch.as_tensor(truth["labels"], dtype=torch.long)
        novel = labels >= base
        things = torch.as_tensor(truth["boxes"], dtype=torch.float).reshape(-1, 4)
        overlap, best = (pairwise_iou(things[novel], own) * (sure > 0)).max(1)
        says = torch.cat([says, 1 - says.sum(-1, keepdim=True)], -1)[best]
        said, C = says.argmax(-1), says.shape[-1] - 1
        fate = torch.where(said < base, 2, 1)
        fate = torch.where(said == C, 3, fate)
        fate = torch.where(said == labels[novel], 0, fate)
        found.append(torch.where(overlap < FITS, 4, fate))
    return torch.cat(found)


def shares(found: Tensor) -> dict[str, float]:
    """How often each fate of ``found`` [R] is met; 0 where nothing is novel."""
    counts = torch.bincount(found, minlength=len(FATES)) / max(len(found), 1)
    return dict(zip(FATES, counts.tolist(), strict=True))


def draw_fates(of: Mapping[str, Sequence[float]]):
    """A matplotlib figure: a bar a detector, its shares in the order of FATES."""
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(7.5, 0.9 + 0.4 * len(of)))
    left, hues = [0.0] * len(of), ("green", "sky", "orange", "black", "yellow")
    for k, fate in enumerate(FATES):
        part = [values[k] for values in of.values()]
        look = {"color": PALETTE[hues[k]], "hatch": HATCHES[k], "edgecolor": "white"}
        ax.barh(list(of), part, left=left, label=fate, **look)
        left = [a + b for a, b in zip(left, part, strict=True)]
    ax.invert_yaxis()
    ax.set(xlim=(0, 1), xlabel="share of the novel things")
    ax.grid(False, axis="y")
    ax.legend(ncol=3, loc="lower center", bbox_to_anchor=(0.5, 1))
    return figure
