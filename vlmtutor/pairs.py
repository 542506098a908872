"""Scenes in memory: pictures, captions, boxes and spans as tensors."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .models.words import to_ids, word_tokenizer
from .world import Scene, StickerWorld, complete_caption, seeds
from .world.captions import Caption
from .world.layout import Layout


@dataclass
class Batch:
    """Some of the pairs.

    ``pixel_values`` [B, 3, S, S] from -1 to 1, ``input_ids`` [B, L] (0 is
    padding, cut to the longest of the batch), ``index`` [B] the rows of the
    pairs, ``labels`` [B] the category of the scene's first sticker, as its
    place in ``pairs.names``.
    """

    pixel_values: Tensor
    input_ids: Tensor
    index: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.index)


class Pairs:
    """Pictures and captions; ``pairs.batch(index)`` gives tensors of them.

    ``scenes`` (list), ``captions`` (list of str), ``names`` (categories, the
    numbers of ``labels``), ``images`` [N, 3, S, S] uint8, ``input_ids``
    [N, L], ``tokenizer``.
    """

    def __init__(
        self,
        scenes: Sequence[Scene],
        described: Sequence[Caption],
        tokenizer=None,
        names: Sequence[str] | None = None,
    ):
        self.scenes = list(scenes)
        self.described = list(described)
        self.captions = [caption.text for caption in described]
        self.tokenizer = tokenizer or word_tokenizer(self.captions)
        self.input_ids = to_ids(self.tokenizer, self.captions)
        self.images = to_images(self.scenes)
        firsts = [scene.objects[0].name for scene in self.scenes]
        self.names = list(names) if names else sorted(set(firsts))
        self.labels = torch.tensor(
            [self.names.index(name) for name in firsts], dtype=torch.long
        )

    def __len__(self) -> int:
        return len(self.scenes)

    @property
    def pixel_values(self) -> Tensor:
        """All pictures, normalised: [N, 3, S, S]."""
        return normalize(self.images)

    def batch(self, index: Tensor | Sequence[int]) -> Batch:
        """The pairs in the rows ``index``."""
        index = torch.as_tensor(index, dtype=torch.long)
        ids = self.input_ids[index]
        longest = int((ids != 0).sum(1).max()) if len(ids) else ids.shape[1]
        return Batch(
            normalize(self.images[index]), ids[:, :longest], index, self.labels[index]
        )

    def subset(self, index: Iterable[int]) -> Pairs:
        """The pairs in these rows as pairs of their own."""
        rows = list(index)
        return Pairs(
            [self.scenes[i] for i in rows],
            [self.described[i] for i in rows],
            self.tokenizer,
            self.names,
        )

    @functools.cached_property
    def boxes(self) -> Tensor:
        """[N, R, 4] (x0, y0, x1, y1) as shares of the side; no box: zeros."""
        most = max((len(s.objects) for s in self.scenes), default=0)
        boxes = torch.zeros(len(self), most, 4)
        for i, scene in enumerate(self.scenes):
            rows = [o.box for o in scene.objects]
            boxes[i, : len(rows)] = torch.tensor(rows) / scene.size
        return boxes

    @functools.cached_property
    def region_words(self) -> Tensor:
        """[N, R, L] bool: which tokens name which box, from the spans."""
        N, R = self.boxes.shape[:2]
        L = self.input_ids.shape[1]
        truth = torch.zeros(N, R, L, dtype=torch.bool)
        if not N:
            return truth
        encoded = self.tokenizer(self.captions, return_offsets_mapping=True)
        for i, offsets in enumerate(encoded["offset_mapping"]):
            for k, span in enumerate(self.described[i].spans):
                for j, (start, end) in enumerate(offsets[:L]):
                    inside = span and start < end
                    if inside and start >= span[0] and end <= span[1]:
                        truth[i, k, j] = True
        return truth


def scene_pairs(
    n: int,
    split: str = "train",
    start: int = 0,
    size: int = 48,
    categories: Iterable[str] | None = None,
    stickers: int | Sequence[int] | None = None,
    caption: Callable[[Layout], Caption] = complete_caption,
    tokenizer=None,
    **options,
) -> Pairs:
    """``n`` scenes of a split, drawn once and kept.

    ``stickers`` a scene: a number, several that take turns (say (1, 2)), or
    None for the world's own mix.  ``caption`` makes a caption of a layout.
    ``tokenizer``: that of the training pairs; by default a new one that knows
    these captions' words.  ``options`` go to ``random_layout``, say
    ``discs=1.0``.
    """
    world = StickerWorld(size)
    categories = list(categories) if categories is not None else None
    turns = [stickers] if isinstance(stickers, int) else stickers or [None]
    scenes = [
        world.scene(seed, turns[k % len(turns)], categories=categories, **options)
        for k, seed in enumerate(seeds(split, n, start))
    ]
    described = [caption(scene.layout) for scene in scenes]
    return Pairs(scenes, described, tokenizer, categories)


def layout_pairs(
    layouts: Iterable[Layout],
    size: int = 48,
    caption: Callable[[Layout], Caption] = complete_caption,
    tokenizer=None,
    names: Sequence[str] | None = None,
) -> Pairs:
    """Pairs of layouts that you have made, say with colours exchanged."""
    layouts = list(layouts)
    scenes = [Scene(x, size, "sticker", k) for k, x in enumerate(layouts)]
    return Pairs(scenes, [caption(x) for x in layouts], tokenizer, names)


def to_images(scenes: Sequence[Scene]) -> Tensor:
    """Scenes of one size → [N, 3, S, S] uint8."""
    if not scenes:
        return torch.zeros(0, 3, 1, 1, dtype=torch.uint8)
    arrays = np.stack([scene.array for scene in scenes])
    return torch.from_numpy(arrays).permute(0, 3, 1, 2).contiguous()


def normalize(images: Tensor) -> Tensor:
    """uint8 pixels → pixel_values from -1 to 1, shapes as they are."""
    return images.float() / 127.5 - 1


def picture(pixel_values: Tensor) -> Tensor:
    """The way back for one picture or many: floats from 0 to 1 to show."""
    return (pixel_values / 2 + 0.5).clamp(0, 1)
