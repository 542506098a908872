"""Training batches from Sticker World: the same for the same step and seed."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from ..world import (
    CaptionMix,
    backgrounds,
    load_categories,
    random_layout,
    seeds_of,
)
from ..world.captions import noun_phrase, with_article
from ..world.scenes import Scene
from .build import IMAGE_MEAN, IMAGE_STD
from .config import PretrainConfig
from .layouts import scene_layout, turned
from .lines import scene_caption
from .pixels import augment, cropped, resized
from .spread import ALONE, Spread


@dataclass
class Batch:
    """One step's data: B scenes and the P categories that their captions name.

    ``present`` [P, B] says which scene holds which category; ``same`` [B, B]
    marks scenes whose captions could stand for each other.  ``pixels`` are of
    the B scenes, or of one process' own rows of them.
    """

    pixels: Tensor  # [B, 3, S, S] uint8
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

    pixels: Tensor  # [M, 3, S, S] uint8
    phrases: list[str]
    present: Tensor
    split: tuple[int, int]  # where rows and columns part, in patches
    places: int  # how many of the phrases, the last ones, name backgrounds


def to_pixels(images: np.ndarray) -> Tensor:
    """[B, H, W, 3] → [B, 3, H, W], both uint8."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


def to_pixel_values(pixels: Tensor) -> Tensor:
    """[B, 3, H, W] uint8 → float, normalised as the processor does."""
    mean = torch.tensor(IMAGE_MEAN, device=pixels.device).view(3, 1, 1)
    std = torch.tensor(IMAGE_STD, device=pixels.device).view(3, 1, 1)
    return (pixels.float() / 255 - mean) / std


def _drawn(layout, width: int, height: int, seed: int) -> np.ndarray:
    """A scene's pixels [height, width, 3], stretched if that is no square."""
    art = Scene(layout, max(width, height), "sticker", seed).array
    if width == height:
        return art
    return np.asarray(Image.fromarray(art).resize((width, height)))


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


def cut_phrases(caption: str) -> list[str]:
    """The parts of a caption between its commas and "and"s."""
    parts = (part.strip(" .!?") for part in re.split(r",|\band\b", caption))
    return [part for part in dict.fromkeys(parts) if part]


class PretrainData:
    """``batch(step, size, single_share)`` for a configuration."""

    def __init__(self, config: PretrainConfig):
        self.config = config
        everything = range(len(load_categories()))
        self.categories = list(everything[:: config.every_category])
        self.mix = CaptionMix(
            meme=config.meme_share,
            description=config.description_share,
            place=config.place_share,
        )

    def _scene(self, seed: int, size: int, single_share: float, draw: bool):
        rng = random.Random(seed)
        layout = scene_layout(
            rng, self.categories, single_share, self.config.posed_share
        )
        # some pictures arrive small and are enlarged, as crops are
        canvas = size
        if rng.random() < 0.25 * self.config.augment:
            low = 0.3 if len(layout.placements) == 1 else 0.6
            canvas = max(20, round(size * rng.uniform(low, 0.9)))
        caption = scene_caption(rng, layout, self.mix, self.config.line_share)
        if not draw:
            return rng, layout, None, caption
        pixels = Scene(layout, canvas, "sticker", seed).array
        if canvas != size:
            pixels = resized(pixels, size)
        noise = np.random.default_rng(seed)
        pixels = cropped(pixels, noise, self.config.crop)
        pixels = augment(pixels, noise, self.config.augment)
        return rng, layout, pixels, caption

    def mosaics(self, step: int, size: int, rows=None) -> Mosaics:
        """The mosaics of a step: quarters of unequal size, one split.

        Only ``rows`` of them are drawn (all by default).
        """
        config, M = self.config, self.config.mosaics
        offset = 100_000_000 + step * 4 * M
        scene_seeds = seeds_of("pretraining", "train", 4 * M, config.seed, offset)
        rng = random.Random(scene_seeds[0])
        side = size // config.patch_size
        low, high = side * 3 // 8, side - side * 3 // 8
        split = rng.randint(low, high), rng.randint(low, high)
        downs = (0, split[0] * config.patch_size, size)
        acrosses = (0, split[1] * config.patch_size, size)
        drawn = range(M) if rows is None else rows
        pixels = np.empty((M, size, size, 3), np.uint8)
        kinds = []
        table = load_categories()
        shared = None
        for k, seed in enumerate(scene_seeds):
            m, quarter = divmod(k, 4)
            layout = random_layout(rng, self.categories, 1)
            if config.posed_share:
                layout = turned(rng, layout)
            if quarter == 0:
                # half of the mosaics have one background, without seams
                shared = layout.background if rng.random() < 0.5 else None
            if shared:
                layout = replace(layout, background=shared)
            row, column = divmod(quarter, 2)
            top, bottom = downs[row : row + 2]
            left, right = acrosses[column : column + 2]
            if m in drawn:
                art = _drawn(layout, right - left, bottom - top, seed)
                pixels[m, top:bottom, left:right] = art
            place = backgrounds.PHRASES[layout.background]
            kinds.append((layout.placements[0].category, place))
        for m in set(drawn):
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
            to_pixels(pixels[list(drawn)]),
            phrases + places,
            torch.tensor(present),
            split,
            len(places),
        )

    def batch(self, step: int, size: int, single_share: float, rows=None) -> Batch:
        """The batch of a step: its scenes' seeds belong to it alone.

        Only ``rows`` of it are drawn (all by default).
        """
        B = self.config.batch_size
        own = seeds_of("pretraining", "train", B, self.config.seed, step * B)
        rows = range(B) if rows is None else rows
        images, texts, kinds = {}, [], []
        for row, seed in enumerate(own):
            rng, layout, images[row], text = self._scene(
                seed, size, single_share, draw=row in rows
            )
            texts.append(text)
            kinds.append({p.category for p in layout.placements})
        named = sorted(set().union(*kinds))
        if self.config.every_name:
            named = self.categories
        present = [[c in kind for kind in kinds] for c in named]
        table = load_categories()
        if self.config.phrases == "caption":
            cut = [set(cut_phrases(text)) for text in texts]
            phrases = sorted(set().union(*cut))
            present = [[phrase in own for own in cut] for phrase in phrases]
        else:
            phrases = [random_phrase(rng, table[c]) for c in named]
        alike = texts if self.config.false_negatives == "captions" else kinds
        same = [[a == b for b in alike] for a in alike]
        single = [next(iter(k)) if len(k) == 1 else -1 for k in kinds]
        return Batch(
            pixels=to_pixels(np.stack([images[row] for row in rows])),
            captions=texts,
            phrases=phrases,
            present=torch.tensor(present),
            categories=named,
            single=torch.tensor(single),
            same=torch.tensor(same),
        )


@dataclass(frozen=True)
class Steps(Dataset):
    """What each step of a run learns from, for a ``DataLoader``.

    An item is (size, batch, mosaics or None); it depends on the step alone, so
    any number of processes may draw them.
    """

    config: PretrainConfig
    spread: Spread = ALONE

    def __len__(self) -> int:
        return self.config.steps

    def size(self, step: int) -> int:
        """The canvas of a step."""
        config = self.config
        late = step >= round(config.steps * (1 - config.final_share))
        return config.final_size if late else config.first_size

    def __getitem__(self, step: int) -> tuple[int, Batch, Mosaics | None]:
        config, data, size = self.config, PretrainData(self.config), self.size(step)
        early = step < config.curriculum * config.steps
        single_share = 0.85 if early else config.single_share
        rows = self.spread.rows(config.batch_size)
        batch = data.batch(step, size, single_share, rows)
        if not (config.mosaics and config.local_weight):
            return size, batch, None
        own = self.spread.rows(config.mosaics)
        return size, batch, data.mosaics(step, size, own)


def to_device(part, device: torch.device):
    """A batch or mosaics with all their tensors on ``device``."""
    tensors = {k: v for k, v in vars(part).items() if isinstance(v, Tensor)}
    return replace(part, **{k: v.to(device) for k, v in tensors.items()})
