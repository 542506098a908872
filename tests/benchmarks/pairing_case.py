"""What bench_pairing measures on: pictures, captions, a model, its inputs."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from vlmtutor.world import StickerWorld

BATCH = 32
SIDE = 640  # pixels


def make_pictures(folder: Path, count: int) -> list[Path]:
    """That many scenes as JPEG files."""
    world = StickerWorld(size=SIDE)
    folder.mkdir()
    paths = [folder / f"{i:04d}.jpg" for i in range(count)]
    for i, path in enumerate(paths):
        world.scene(i).image.save(path, quality=90)
    return paths


def make_captions(count: int) -> list[str]:
    """Different captions of other scenes."""
    world, captions, seed = StickerWorld(size=64), {}, 1_000_000
    while len(captions) < count:
        captions[world.scene(seed).caption] = None
        seed += 1
    return list(captions)


def batches(items: list) -> list[list]:
    return [items[i : i + BATCH] for i in range(0, len(items), BATCH)]


def prepare(clip, paths: list[Path], captions: list[str]):
    """All inputs of the model as batches of tensors."""
    by_length = sorted(captions, key=len)  # as ours has them
    pixels = [clip.preprocess(batch) for batch in batches(paths)]
    tokens = [clip.tokenize(batch) for batch in batches(by_length)]
    return pixels, tokens


@torch.no_grad()
def pool(clip, pixels, tokens) -> tuple[Tensor, Tensor]:
    """What the towers give before their last layer: [N, W] and [M, W]."""
    model = clip.model
    images = [model.vision_model(batch).pooler_output for batch in pixels]
    texts = [model.text_model(**batch).pooler_output for batch in tokens]
    return torch.cat(images), torch.cat(texts)


@torch.no_grad()
def bare(clip, pixels, tokens) -> tuple[Tensor, Tensor]:
    """Embeddings of all pictures and captions."""
    images, texts = pool(clip, pixels, tokens)
    return (
        F.normalize(clip.model.visual_projection(images), dim=-1),
        F.normalize(clip.model.text_projection(texts), dim=-1),
    )


def fit_last_layers(clip, pixels, tokens) -> None:
    """Let picture ``i`` belong to caption ``i % M``, by ridge regression.

    Each caption gets a random code; both last layers learn to give it.
    """
    images, texts = pool(clip, pixels, tokens)
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(len(texts), clip.embed_dim, generator=generator)
    codes = F.normalize(codes, dim=-1)
    own = codes[torch.arange(len(images)) % len(texts)]
    model = clip.model
    for layer, inputs, wanted in (
        (model.visual_projection, images, own),
        (model.text_projection, texts, codes),
    ):
        gram = (inputs @ inputs.T).double()
        ridge = 1e-3 * gram.diagonal().mean() * torch.eye(len(gram))
        dual = torch.linalg.solve(gram + ridge, wanted.double())
        weight = dual.T.float() @ inputs  # [D, W]
        with torch.no_grad():
            layer.weight.copy_(weight)
