"""Training batches from Sticker World: the same for the same step and seed."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor

from ..world import (
    CaptionMix,
    backgrounds,
    load_categories,
    random_caption,
    random_layout,
    seeds_of,
)
from ..world.captions import noun_phrase, with_article
from ..world.scenes import Scene
from .build import IMAGE_MEAN, IMAGE_STD
from .config import PretrainConfig


@dataclass
class Batch:
    """One step's data: B scenes and the P categories that their captions name.

    ``present`` [P, B] says which scene holds which category; ``same`` [B, B]
    marks scenes whose captions could stand for each other.
    """

    pixels: Tensor  # [B, 3, S, S] float, normalised
    captions: list[str]
    phrases: list[str]
    present: Tensor
    categories: list[int]  # of the phrases
    single: Tensor  # [B] the category of one-kind scenes, else -1
    same: Tensor


@dataclass
class Mosaics:
    """Pictures made of four captioned scenes each, for the local loss.

    A phrase belongs to one quarter, so its patches must be found there: this
    is known from how the picture was put together, without any box.
    ``present`` [P, 4 M] has the quarters of a mosaic side by side: top left,
    top right, bottom left, bottom right.
    """

    pixels: Tensor  # [M, 3, S, S]
    phrases: list[str]
    present: Tensor
    split: tuple[int, int]  # where rows and columns part, in patches


def to_pixel_values(images: np.ndarray) -> Tensor:
    """[B, H, W, 3] uint8 → [B, 3, H, W] float, normalised as the processor."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    mean = torch.tensor(IMAGE_MEAN).view(3, 1, 1)
    std = torch.tensor(IMAGE_STD).view(3, 1, 1)
    return (pixels - mean) / std


def _resized(pixels: np.ndarray, size: int) -> np.ndarray:
    image = Image.fromarray(pixels)
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC))


def augment(
    pixels: np.ndarray, rng: np.random.Generator, strength: float
) -> np.ndarray:
    """Light, contrast, blur and grain of an everyday picture, at random."""
    if strength == 0:
        return pixels
    if rng.random() < 0.15 * strength:
        radius = rng.uniform(0.2, 0.012 * len(pixels) + 0.2)
        image = Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius))
        pixels = np.asarray(image)
    if rng.random() < 0.6:
        light = rng.uniform(1 - 0.35 * strength, 1 + 0.25 * strength)
        tint = rng.uniform(1 - 0.1 * strength, 1 + 0.1 * strength, 3)
        mean = pixels.mean()
        contrast = rng.uniform(1 - 0.3 * strength, 1 + 0.2 * strength)
        changed = (pixels - mean) * contrast + mean
        changed = changed * (light * tint).astype(np.float32)
        if rng.random() < 0.3 * strength:
            sigma = rng.uniform(2, 14)
            changed = changed + rng.normal(0, sigma, pixels.shape)
        pixels = np.clip(changed, 0, 255).astype(np.uint8)
    return pixels


def random_phrase(rng: random.Random, category) -> str:
    """Words for one category: its name mostly, or others that fit it."""
    draw = rng.random()
    if draw < 0.25:
        return category.name
    if draw < 0.5:
        return noun_phrase(category, rng.choice((None, None, "small", "big")))
    if draw < 0.7:
        return with_article(rng.choice(category.synonyms))
    if draw < 0.9:
        return rng.choice(category.descriptions)
    return rng.choice(category.memes)


class PretrainData:
    """``batch(step, size, single_share)`` for a configuration."""

    def __init__(self, config: PretrainConfig):
        self.config = config
        everything = range(len(load_categories()))
        self.categories = list(everything[:: config.every_category])
        self.mix = CaptionMix(
            meme=config.meme_share, description=config.description_share
        )

    def _scene(self, seed: int, size: int, single_share: float):
        rng = random.Random(seed)
        if rng.random() < single_share:
            n = 1
        else:
            n = rng.choice((2, 2, 2, 2, 3, 4))
        layout = random_layout(rng, self.categories, n)
        # some pictures arrive small and are enlarged, as crops are
        canvas = size
        if rng.random() < 0.25 * self.config.augment:
            low = 0.3 if n == 1 else 0.6
            canvas = max(20, round(size * rng.uniform(low, 0.9)))
        pixels = Scene(layout, canvas, "sticker", seed).array
        if canvas != size:
            pixels = _resized(pixels, size)
        noise = np.random.default_rng(seed)
        pixels = augment(pixels, noise, self.config.augment)
        caption = random_caption(rng, layout, self.mix)
        return rng, layout, pixels, caption.text

    def mosaics(self, step: int, size: int) -> Mosaics:
        """The mosaics of a step: quarters of unequal size, one split."""
        config, M = self.config, self.config.mosaics
        offset = 100_000_000 + step * 4 * M
        scene_seeds = seeds_of("pretraining", "train", 4 * M, config.seed, offset)
        rng = random.Random(scene_seeds[0])
        side = size // config.patch_size
        low, high = side * 3 // 8, side - side * 3 // 8
        split = rng.randint(low, high), rng.randint(low, high)
        rows = (0, split[0] * config.patch_size, size)
        columns = (0, split[1] * config.patch_size, size)
        pixels = np.empty((M, size, size, 3), np.uint8)
        kinds = []
        table = load_categories()
        shared = None
        for k, seed in enumerate(scene_seeds):
            m, quarter = divmod(k, 4)
            layout = random_layout(rng, self.categories, 1)
            if quarter == 0:
                # half of the mosaics have one background, without seams
                shared = layout.background if rng.random() < 0.5 else None
            if shared:
                layout = replace(layout, background=shared)
            row, column = divmod(quarter, 2)
            top, bottom = rows[row : row + 2]
            left, right = columns[column : column + 2]
            canvas = max(bottom - top, right - left)
            art = Scene(layout, canvas, "sticker", seed).array
            if art.shape[:2] != (bottom - top, right - left):
                image = Image.fromarray(art)
                art = np.asarray(image.resize((right - left, bottom - top)))
            pixels[m, top:bottom, left:right] = art
            place = backgrounds.PHRASES[layout.background]
            kinds.append((layout.placements[0].category, place))
        for m in range(M):
            noise = np.random.default_rng(scene_seeds[4 * m])
            pixels[m] = augment(pixels[m], noise, config.augment)
        named = sorted({category for category, _ in kinds})
        if config.every_name:
            named = self.categories
        places = sorted({place for _, place in kinds})
        present = [[c == kind for kind, _ in kinds] for c in named]
        present += [[p == place for _, place in kinds] for p in places]
        phrases = [random_phrase(rng, table[c]) for c in named]
        return Mosaics(
            to_pixel_values(pixels), phrases + places, torch.tensor(present), split
        )

    def batch(self, step: int, size: int, single_share: float) -> Batch:
        """The batch of a step: its scenes' seeds belong to it alone."""
        B = self.config.batch_size
        own = seeds_of("pretraining", "train", B, self.config.seed, step * B)
        images, texts, kinds = [], [], []
        for seed in own:
            rng, layout, pixels, text = self._scene(seed, size, single_share)
            images.append(pixels)
            texts.append(text)
            kinds.append({p.category for p in layout.placements})
        named = sorted(set().union(*kinds))
        if self.config.every_name:
            named = self.categories
        present = [[c in kind for kind in kinds] for c in named]
        table = load_categories()
        same = [[a == b for b in kinds] for a in kinds]
        single = [next(iter(k)) if len(k) == 1 else -1 for k in kinds]
        return Batch(
            pixels=to_pixel_values(np.stack(images)),
            captions=texts,
            phrases=[random_phrase(rng, table[c]) for c in named],
            present=torch.tensor(present),
            categories=named,
            single=torch.tensor(single),
            same=torch.tensor(same),
        )
