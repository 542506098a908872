"""Bags of neighbouring boxes, and CLIP's view of the crop around each.

Wu et al. 2023, "Aligning Bag of Regions for Open-Vocabulary Object Detection",
arXiv 2302.13996.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...objectives.alignment import pool_regions
from ...seeding import generator
from ..pictures import DensePictures, batched
from .box_proposer import timed_once
from .box_regions import Lesson, region_bins
from .box_teacher import crop_embeds
from .boxes import content

APART = 0.9  # of a side, between neighbours: they overlap by a tenth
NEIGHBOR = 0.3  # chance of a neighbour beside a square box
FITS = 0.2  # share of a neighbour that lies in the picture, at least


@dataclass(frozen=True)
class Bags:
    """B bags of up to G boxes: what of them is in the data, and its teacher.

    ``picture`` [B]; ``bins`` [B, G, F]; ``places`` [B, G, 4] in the enclosing
    box; ``there`` bool [B, G]; ``patches`` [B, G, D], CLIP's mean patch in
    each box; ``embeds`` [B, D], CLIP's view of the crop around them.
    """

    picture: Tensor
    bins: Tensor
    places: Tensor
    there: Tensor
    patches: Tensor
    embeds: Tensor

    def __len__(self) -> int:
        return len(self.picture)

    def __getitem__(self, rows) -> Bags:
        return Bags(*(value[rows] for value in vars(self).values()))


def neighbors(box: Tensor, size: int, rng: torch.Generator, most: int) -> Tensor:
    """A box [4] and some of its eight neighbours in the picture: [G, 4].

    A slim box has fewer beside its long sides (the chance goes with the cube
    of the sides' ratio), a corner's chance is the root of both sides'.
    """
    sides = box[2:] - box[:2]
    ratio = float(sides[1] / sides[0].clamp(min=1e-3))
    across, down = (min(NEIGHBOR, NEIGHBOR * r**3) for r in (ratio, 1 / ratio))
    chance = {(1, 0): across, (0, 1): down, (1, 1): (across * down) ** 0.5}
    found = [box]
    steps = [(x, y) for y in (-1, 0, 1) for x in (-1, 0, 1) if x or y]
    for k in torch.randperm(8, generator=rng).tolist():
        x, y = steps[k]
        lucky = torch.rand((), generator=rng) < chance[abs(x), abs(y)]
        near = box + APART * torch.stack([x * sides[0], y * sides[1]]).repeat(2)
        cut = near.clamp(0, size)
        share = (cut[2:] - cut[:2]).prod() / sides.prod().clamp(min=1e-3)
        if lucky and share >= FITS and len(found) < most:
            found.append(cut)
    return torch.stack(found)


def make_bags(
    clip, pictures: DensePictures, lesson: Lesson, most: int, seed: int
) -> tuple[Bags, float]:
    """Bags around true boxes and the surer half of the proposals.

    Made once, with the seconds it took.
    """
    sure = lesson.quality >= lesson.quality.median()
    centers = (lesson.true | sure).nonzero()[:, 0]
    key = "bags", most, seed, content(lesson.boxes)
    return timed_once(
        pictures, key, lambda: _make_bags(clip, pictures, lesson[centers], most, seed)
    )


def _make_bags(clip, pictures, lesson: Lesson, most: int, seed: int) -> Bags:
    rng, size = generator(seed), pictures.images.shape[1]
    boxes = torch.zeros(len(lesson), most, 4)
    there = torch.zeros(len(lesson), most, dtype=torch.bool)
    around = torch.zeros(len(lesson), 4)
    for k, box in enumerate(lesson.boxes):
        own = neighbors(box, size, rng, most)
        boxes[k, : len(own)], there[k, : len(own)] = own, True
        around[k] = torch.cat([own[:, :2].amin(0), own[:, 2:].amax(0)])
    embeds = crop_embeds(
        clip, pictures.pixel_values, lesson.picture, around, margins=(1.0,)
    )
    sides = (around[:, 2:] - around[:, :2]).clamp(min=1).repeat(1, 2)[:, None]
    places = (boxes - around[:, :2].repeat(1, 2)[:, None]) / sides
    parts = [(pictures[lesson.picture[r]], boxes[r]) for r in batched(len(boxes), 32)]
    bins = torch.cat([region_bins(part, own) for part, own in parts])
    patches = torch.cat([pool_regions(part.dense, own / size) for part, own in parts])
    return Bags(lesson.picture, bins, places, there, patches, embeds)
