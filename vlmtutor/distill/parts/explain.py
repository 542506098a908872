"""Gradients as maps: what in a picture speaks for a score.

Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391) of the last block's normed
input, and attention as an affinity of patches, both as in CLIP-ES (Lin et al.
2023, arXiv 2212.09506).  Attention relevance is in
:mod:`vlmtutor.models.inside`.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from ...models.inside import Score, grid_side, read_out, run_block, vision_blocks
from ...training import frozen

ROUNDS = 3  # of making columns and rows sum to 1
PEAK = 0.4


def grad_cam(clip, hidden: Tensor, score: Score) -> Tensor:
    """Class activation map of the last block's normed input: [N, T].

    ``hidden`` [N, 1 + T, W] is what the last block reads.  The score is that
    of the mean patch, as in CLIP-ES: the class token's own gradient would
    hardly reach the patches.
    """
    block = vision_blocks(clip)[-1]
    with frozen(clip), torch.enable_grad():
        normed = block.layer_norm1(hidden).detach().requires_grad_()
        tokens = run_block(block, hidden.detach(), normed=normed)
        total = score(read_out(clip, tokens[:, 1:].mean(1))).sum()
        (gradient,) = torch.autograd.grad(total, normed)
    weights = gradient[:, 1:].mean(1, keepdim=True)  # [N, 1, W]
    return (weights * normed.detach()[:, 1:]).sum(-1).relu()


def min_max(maps: Tensor) -> Tensor:
    """Each map [..., T] moved and stretched to reach from 0 to 1."""
    low, high = maps.amin(-1, keepdim=True), maps.amax(-1, keepdim=True)
    return (maps - low) / (high - low).clamp_min(1e-12)


def attention_affinity(attention: Tensor, layers: int) -> Tensor:
    """Which patches belong together: [N, T, T], symmetric.

    ``attention`` [N, L, 1 + T, 1 + T]: the mean of the last ``layers``,
    without the class token.  Columns and rows are made to sum to 1 in turn
    (Sinkhorn), the result is mirrored, and squared: friends of friends count.
    """
    W = attention[:, -layers:].float().mean(1)[:, 1:, 1:]
    for _ in range(ROUNDS):
        W = W / W.sum(1, keepdim=True)
        W = W / W.sum(2, keepdim=True)
    D = (W + W.transpose(1, 2)) / 2
    return D @ D


def box_mask(cam: Tensor) -> Tensor:
    """Boxes around the connected parts of each map above PEAK.

    ``cam`` [N, T] from 0 to 1 → bool [N, T].
    """
    side = grid_side(cam.shape[1])
    inside = np.zeros((len(cam), side, side), bool)
    for k, row in enumerate(cam.view(-1, side, side).numpy()):
        parts, _ = ndimage.label(row > PEAK)
        for box in ndimage.find_objects(parts):
            inside[k][box] = True
    return torch.from_numpy(inside).flatten(1)


def spread_cam(cam: Tensor, affinity: Tensor, box: Tensor | None = None) -> Tensor:
    """Maps [N, T] after their patches' friends had a say: [N, T].

    ``affinity`` [N, T, T]; only patches in ``box`` bool [N, T] speak.
    """
    source = cam if box is None else cam * box
    return (affinity @ source[..., None])[..., 0]
