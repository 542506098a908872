"""What a CLIP with a smaller picture tower keeps, and what it costs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from ...metrics import accuracy, recall_at_k
from ...models.clip import Clip
from ...world import StickerWorld, load_categories, seeds_of


@dataclass
class Exam:
    """Questions that teacher and students answer: unseen scenes, memes.

    ``split`` "val" is for choosing, "test" for tables.
    """

    pictures: list[Image.Image]
    labels: Tensor
    portraits: list[Image.Image]  # one a category
    lines: list[str]  # meme lines that no training has seen
    line_labels: Tensor

    @classmethod
    def draw(cls, split: str, n: int, seed: int = 0) -> Exam:
        """``n`` single stickers, and all the held-out meme lines."""
        table, world = load_categories(), StickerWorld(96)
        own = "student exam", split
        scenes = [world.scene(s, n=1) for s in seeds_of(*own, n, seed)]
        portraits = [
            world.scene(s, n=1, categories=[c.name]).image
            for s, c in zip(
                seeds_of(*own, len(table), seed, 100_000), table, strict=True
            )
        ]
        return cls(
            [s.image for s in scenes],
            torch.tensor([s.objects[0].category.index for s in scenes]),
            portraits,
            [line for c in table for line in c.held_out_memes],
            torch.arange(len(table)).repeat_interleave(2),
        )

    def mark(self, clip: Clip, names: Tensor, lines: Tensor) -> dict:
        """Top-1 of zero-shot naming, and R@5 of portraits for meme lines.

        ``names`` [416, D] and ``lines`` [832, D] come from the text tower
        that all share.
        """
        found = clip.encode_images(self.pictures, 16) @ names.T
        grid = lines @ clip.encode_images(self.portraits, 16).T
        return {
            "top1": accuracy(found, self.labels),
            "meme_r5": recall_at_k(grid, self.line_labels, 5),
        }


def milliseconds(
    clips: Sequence[Clip], batch: int = 1, n: int = 16, rounds: int = 5
) -> list[float]:
    """Time of each picture tower, a picture; the best of several rounds.

    The towers take turns, so that a busy moment meets all of them.
    """
    best = [float("inf")] * len(clips)
    with torch.no_grad():
        for _ in range(rounds):
            for k, clip in enumerate(clips):
                size = clip.image_size
                values = torch.zeros(batch, 3, size, size)
                start = time.perf_counter()
                for _ in range(max(1, n // batch)):
                    clip.image_features(values)
                took = time.perf_counter() - start
                best[k] = min(best[k], took / (max(1, n // batch) * batch))
    return [1000 * seconds for seconds in best]
