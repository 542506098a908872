"""Scenes that no training saw, and a CLIP that reads a text only once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..world import Layout, Scene, StickerWorld, load_categories, seeds_of

PART_STRIDE = 100_000  # scenes of different figures never meet
BATCH = 16  # pictures: on one core small batches stay in the cache


@dataclass(frozen=True)
class Evaluation:
    """Where the scenes come from: a split, a seed and how many.

    ``names`` restricts the categories (all by default).
    """

    split: str = "test"
    seed: int = 0
    n: int = 1000
    size: int = 96
    names: tuple[str, ...] = ()

    def labels(self) -> list[str]:
        return list(self.names) or [c.name for c in load_categories()]

    def scenes(
        self,
        n: int,
        offset: int = 0,
        n_stickers: int | None = None,
        keep: Callable[[Layout], bool] | None = None,
        **kwargs,
    ) -> list[Scene]:
        """``n`` scenes; with ``keep``, those of whose layout it is true.

        Raises ValueError where a figure's own seeds hold too few of them.
        """
        world = StickerWorld(self.size)
        kwargs.setdefault("categories", self.labels())
        found: list[Scene] = []
        own = seeds_of("evaluation", self.split, PART_STRIDE, self.seed, offset)
        for seed in own:
            if len(found) == n:
                break
            scene = world.scene(seed, n=n_stickers, **kwargs)
            if keep is None or keep(scene.layout):
                found.append(scene)
        if len(found) < n:
            raise ValueError(
                f"{len(found)} of {n} scenes found among {PART_STRIDE} seeds"
            )
        return found


class Remembering:
    """A CLIP that encodes a text once: the names come back in most figures."""

    def __init__(self, clip):
        self.clip = clip
        self.preprocess = clip.preprocess
        self.patch_features = clip.patch_features
        self.texts: dict[str, Tensor] = {}

    def encode_images(self, images) -> Tensor:
        return self.clip.encode_images(images, batch_size=BATCH)

    def encode_texts(self, texts: list[str]) -> Tensor:
        new = list(dict.fromkeys(t for t in texts if t not in self.texts))
        self.texts |= zip(new, self.clip.encode_texts(new), strict=True)
        return torch.stack([self.texts[t] for t in texts])
