"""Crops that CLIP has looked at are not shown to it twice.

The readings of one fit (other weights of its two branches, say) mostly look at
the same regions, and crops are what looking costs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Kept:
    """An ``encode`` of :func:`vlmtutor.distill.parts.regions.crop_encode`.

    It gives what ``encode`` gave for the very same batch of crops before.
    """

    encode: Callable[[Tensor, Tensor], Tensor]
    found: dict[bytes, Tensor] = field(default_factory=dict, repr=False)

    @torch.no_grad()
    def __call__(self, shown: Tensor, inside: Tensor) -> Tensor:
        digest = hashlib.sha256()
        for tensor in (shown, inside):
            digest.update(tensor.contiguous().numpy())
        key = digest.digest()
        if key not in self.found:
            self.found[key] = self.encode(shown, inside)
        return self.found[key]


def keep_crops(model):
    """The same model, whose readings share its crops, if it asks CLIP of any."""
    if not hasattr(model, "encode") or not hasattr(model, "proposer"):
        return model
    encode, clip = model.encode, model.clip
    return replace(
        model, encode=Kept(encode or (lambda shown, _: clip.image_features(shown)))
    )
