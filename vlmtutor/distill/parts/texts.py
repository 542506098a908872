"""Names as classifiers of patches, and the background's names."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...models.inside import as_map
from ...naming import TEMPLATES
from ...naming import text_classifier as _ensemble
from ...world.backgrounds import PHRASES
from ..pictures import once

# How sentences speak of the place alone; {} is "on the grass", "at sea", …
PLACE_TEMPLATES = ("{}", "a picture {}")
# Added to the background's cosine: texts of places lie a little further from
# patches than names do.  Chosen on pseudo-novel classes of validation scenes.
BIAS = 0.1


def text_classifier(
    clip, names: Sequence[str], templates: Sequence[str] = TEMPLATES
) -> Tensor:
    """One vector a name: [C, D], L2-normalised; encoded once a CLIP."""
    kept = once(clip, ("names", *templates), dict)
    new = [name for name in dict.fromkeys(names) if name not in kept]
    if new:
        vectors = _ensemble(clip, new, templates)
        kept.update(zip(new, vectors, strict=True))
    return torch.stack([kept[name] for name in names])


def background_classifier(clip) -> Tensor:
    """One vector a place of the world ("on the grass", …): [B, D]."""
    return text_classifier(clip, list(PHRASES.values()), PLACE_TEMPLATES)


def class_scores(
    dense: Tensor, names: Tensor, places: Tensor | None = None, bias: float = BIAS
) -> Tensor:
    """Cosines of patches [N, T, D] with names [C, D]: [N, C + 1, g, g].

    The last column is the background: the best of ``places`` [B, D], plus
    ``bias``.  Without ``places`` there is no such column.
    """
    scores = dense @ names.T
    if places is not None:
        background = (dense @ places.T).amax(-1, keepdim=True) + bias
        scores = torch.cat([scores, background], -1)
    return as_map(scores)
