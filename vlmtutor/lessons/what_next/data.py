"""Scenes of one sticker with a caption, a small model, and what it names."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...models.config import FrameworkConfig
from ...models.frameworks import Framework, TwoTower
from ...models.words import to_ids, word_tokenizer
from ...objectives.contrastive import clip_loss
from ...pairs import Batch, Pairs, scene_pairs
from ...training import History, evaluating, fit
from ...world import find_category
from ...world.captions import bare_caption, random_caption
from ..contrastive import WORDS
from ..pretraining import NAMES, RATE, Part

STEPS, BATCH = 150, 64
PLACE, STRIDE = 500_000, 1_000_000  # in the lessons' range of seeds
CAPTIONS = tuple(find_category(name).one for name in NAMES)  # "a lion" …

Loss = Callable[[Framework, Batch], Tensor | dict[str, Tensor]]


@dataclass
class Data:
    """``train`` and unseen ``test`` scenes; ``prompts`` [30, L]: "a lion" …"""

    train: Pairs
    test: Pairs
    prompts: Tensor


def make_data(
    n: int,
    n_test: int = 600,
    seed: int = 0,
    texts: Iterable[str] = (),
    spoken: bool = False,
    split: str = "test",
) -> Data:
    """``n`` training scenes of 30 names, and ``n_test`` unseen ones.

    A caption is "a lion"; with ``spoken`` one of the many things people say,
    a synonym more often than not.  The tokenizer knows the words of captions
    and of ``texts``: what any arm may read in training.  ``split`` of the
    unseen scenes: "val" or "test".
    """
    rng = random.Random(seed)

    def say(layout):
        return random_caption(rng, layout, WORDS) if spoken else bare_caption(layout)

    start = seed * STRIDE + PLACE
    scenes = {"categories": NAMES, "stickers": 1, "discs": 0.0}
    train = scene_pairs(n, "train", start, caption=say, **scenes)
    train.tokenizer = word_tokenizer([*train.captions, *CAPTIONS, *texts])
    train.input_ids = to_ids(train.tokenizer, train.captions)
    scenes |= {"caption": bare_caption, "tokenizer": train.tokenizer}
    unseen = scene_pairs(n_test, split, start, **scenes)
    return Data(train, unseen, to_ids(train.tokenizer, CAPTIONS))


def few(pairs: Pairs, n: int) -> Part:
    """The first ``n`` pairs."""
    return Part(pairs, torch.arange(n))


def redrawn(pairs: Pairs, domain: str, strength: float | None = None) -> Pairs:
    """The same pairs with their pictures in another domain."""
    from ...world.domains import apply_domain

    other = copy.copy(pairs)
    images = [apply_domain(s.array, domain, s.seed, strength) for s in pairs.scenes]
    images = [torch.from_numpy(image) for image in images]
    other.images = torch.stack(images).permute(0, 3, 1, 2).contiguous()
    return other


def config(data: Data, seed: int = 0, image_layers: int = 2) -> FrameworkConfig:
    """Notebook 06's two towers, for texts of 24 tokens at most."""
    return FrameworkConfig(
        len(data.train.tokenizer),
        text_length=24,
        image_encoder="cnn",
        width=64,
        image_layers=image_layers,
        text_layers=1,
        embed_dim=64,
        seed=seed,
    )


def same_label(batch: Batch) -> Tensor:
    """[B, B] bool: pairs of pictures that show the same thing."""
    return batch.labels[:, None] == batch.labels


def contrast(model: Framework, batch: Batch) -> Tensor:
    """CLIP's loss; what shows the same thing is no negative."""
    images = model.encode_images(batch.pixel_values)
    texts = model.encode_texts(batch.input_ids)
    return clip_loss(images, texts, model.scale(), same_label(batch))


def train(
    data: Data,
    loss: Loss = contrast,
    n: int | None = None,
    steps: int = STEPS,
    seed: int = 0,
    model: Framework | None = None,
    **options,
) -> tuple[Framework, History]:
    """A model trained on the first ``n`` pairs (all by default), from scratch.

    ``model`` is one to go on with; ``options`` are those of ``fit``.
    """
    model = model or TwoTower(config(data, seed))
    pairs = data.train if n is None else few(data.train, n)
    options = {"lr": RATE, "progress": False, "seed": seed, **options}
    return model, fit(model, loss, pairs, steps, BATCH, **options)


def right(
    model: Framework,
    pairs: Pairs,
    texts: Sequence[Sequence[str]] | Tensor,
) -> Tensor:
    """Which unseen scenes are named: floats [N], a mean over wordings.

    ``texts``: input_ids [30, L], or for each name equally many wordings; the
    k-th of all names compete with each other.
    """
    rounds = [texts]
    if not isinstance(texts, Tensor):
        rounds = [to_ids(pairs.tokenizer, t) for t in zip(*texts, strict=True)]
    with evaluating(model):
        images = model.encode_images(pairs.pixel_values)
        found = [
            (images @ model.encode_texts(ids).T).argmax(1) == pairs.labels
            for ids in rounds
        ]
    return torch.stack(found).float().mean(0)
