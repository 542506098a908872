"""From coarse scores to pixels, and what may sharpen them.

Scores are enlarged, never labels: a patch grid with soft scores keeps far
more of an outline than one with hard labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

RADIUS, EPS = 4, 0.01  # of colour refinement: pixels, variance


def upsample(scores: Tensor, size: int) -> Tensor:
    """[N, C, g, g] → [N, C, size, size], bilinear."""
    return F.interpolate(
        scores, size=(size, size), mode="bilinear", align_corners=False
    )


def shrink_labels(labels: Tensor, size: int) -> Tensor:
    """Label maps [N, S, S] → [N, size, size]: the middle pixel of a cell.

    Raises ValueError where cells are not whole pixels.
    """
    step = labels.shape[-1] // size
    if step * size != labels.shape[-1]:
        raise ValueError(f"{labels.shape[-1]} px do not make {size} cells")
    return labels[:, step // 2 :: step, step // 2 :: step]


def _flip(x: Tensor) -> Tensor:
    return x.flip(-1)


def _contrast(pixels: Tensor) -> Tensor:
    return 1.2 * pixels


def _same(x: Tensor) -> Tensor:
    return x


# name → (what is done to pixel_values, how scores come back)
VIEWS = {
    "as is": (_same, _same),
    "flip": (_flip, _flip),
    "contrast": (_contrast, _same),
}


def tta(
    function: Callable[[Tensor], Tensor],
    pixel_values: Tensor,
    views: Sequence[str] = ("as is", "flip"),
) -> Tensor:
    """Mean of ``function`` over views of the pictures.

    ``function`` maps [N, 3, S, S] to scores [N, C, h, w]; each view's scores
    are brought back to the picture's own frame.
    """
    results = []
    for name in views:
        there, back = VIEWS[name]
        results.append(back(function(there(pixel_values))))
    return torch.stack(results).mean(0)


def _box_mean(x: Tensor) -> Tensor:
    side = 2 * RADIUS + 1
    for kernel, padding in (((side, 1), (RADIUS, 0)), ((1, side), (0, RADIUS))):
        x = F.avg_pool2d(x, kernel, stride=1, padding=padding, count_include_pad=False)
    return x


def color_refine(scores: Tensor, guide: Tensor) -> Tensor:
    """Let scores [N, C, S, S] follow the colours of ``guide`` [N, 3, S, S].

    A guided filter: in every window of 2 RADIUS + 1 px the scores are a
    linear function of red, green and blue (0 to 1); EPS is the variance of
    colour below which they are only smoothed.  It stands in for a dense
    CRF, the same for every method.
    He, Sun and Tang 2013, doi 10.1109/TPAMI.2012.213.
    """
    mean_x, mean_s = _box_mean(guide), _box_mean(scores)

    def flat(x: Tensor) -> Tensor:  # [N, A, B, S, S] → [N, S, S, A, B]
        return x.permute(0, 3, 4, 1, 2)

    def covariance(a: Tensor, b: Tensor, mean_a, mean_b) -> Tensor:
        pairs = (a[:, :, None] * b[:, None]).flatten(1, 2)
        mean = _box_mean(pairs).unflatten(1, (a.shape[1], -1))
        return flat(mean - mean_a[:, :, None] * mean_b[:, None])

    own = covariance(guide, guide, mean_x, mean_x)  # [N, S, S, 3, 3]
    own = own + EPS * torch.eye(3)
    cross = covariance(guide, scores, mean_x, mean_s)  # [N, S, S, 3, C]
    a = torch.linalg.solve(own, cross).permute(0, 3, 4, 1, 2)
    b = mean_s - (a * mean_x[:, :, None]).sum(1)  # [N, C, S, S]
    mean_a = _box_mean(a.flatten(1, 2)).view_as(a)
    return (mean_a * guide[:, :, None]).sum(1) + _box_mean(b)
