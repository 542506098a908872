"""From scores of regions to maps: two sources of names, one answer a pixel."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

RULES = ("zegformer", "zsseg", "ovseg")


def fuse(
    p_query: Tensor, p_clip: Tensor, seen: Tensor, lam: float, rule: str
) -> Tensor:
    """Geometric means of two probabilities [..., C], as three papers have it.

    ``p_query`` comes from the trained branch, ``p_clip`` from CLIP's view of
    the region, ``seen`` bool [C] marks names with masks in training (one
    column more is the background, and counts as seen).

    "zsseg": seen ``q^lam · c^(1-lam)``, novel ``q^(1-lam) · c^lam``.
    "zegformer": the same, but for seen names c is CLIP's mean over the seen
    names: CLIP only says seen or novel.
    "ovseg": ``q^(1-lam) · c^lam`` for all names.
    Raises ValueError for another rule.
    Xu et al. 2021, arXiv 2112.14757; Ding et al. 2021, arXiv 2112.07910;
    Liang et al. 2022, arXiv 2210.04150.
    """
    if rule not in RULES:
        raise ValueError(f"rule is one of {RULES}, not {rule!r}")
    q, c = (p.clamp_min(1e-8) for p in (p_query, p_clip))
    if rule == "ovseg":
        return q ** (1 - lam) * c**lam
    seen = _padded(seen, q.shape[-1])
    if rule == "zegformer":
        mean = c[..., seen].mean(-1, keepdim=True)
        c = torch.where(seen, mean, c)
    weight = torch.where(seen, lam, 1 - lam)
    return q**weight * c ** (1 - weight)


def _padded(seen: Tensor, columns: int) -> Tensor:
    return F.pad(seen, (0, columns - len(seen)), value=True)


def combine(scores: Tensor, masks: Tensor, objectness: Tensor | None = None) -> Tensor:
    """Scores of regions [N, Q, C] laid out as maps [N, C, S, S].

    Each pixel adds up its regions' scores, weighed by ``masks`` [N, Q, S, S]
    from 0 to 1, and by ``objectness`` [N, Q].
    """
    if objectness is not None:
        scores = scores * objectness[..., None]
    return torch.einsum("nqc,nqhw->nchw", scores, masks)


def background_map(masks: Tensor, objectness: Tensor) -> Tensor:
    """What no region claims: 1 - max of masks · objectness, [N, 1, S, S]."""
    claimed = masks * objectness[..., None, None]
    return 1 - claimed.amax(1, keepdim=True)


def calibrate(maps: Tensor, seen: Tensor, gamma: float) -> Tensor:
    """Take ``gamma`` off seen names once it is decided what is background.

    ``maps`` [N, C + 1, …], the background last; ``seen`` bool [C].  Where a
    name was ahead of the background one stays ahead: an offset moves things
    from seen names to novel ones, and none to the ground.
    """
    names, ground = maps[:, :-1], maps[:, -1:]
    offset = (gamma * seen.to(maps.dtype)).view(1, -1, *(1,) * (maps.ndim - 2))
    thing = names.amax(1, keepdim=True) > ground
    return torch.cat([names - offset, ground.masked_fill(thing, -torch.inf)], 1)
