"""Two CLIPs for tests: one that knows colours, and a tiny real one."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPModel

from vlmtutor.models import Clip, ImageSettings

COLOURS = {
    "red": (220, 40, 40),
    "green": (40, 170, 60),
    "blue": (40, 80, 220),
    "yellow": (240, 220, 60),
    "white": (250, 250, 250),
    "black": (20, 20, 20),
    "purple": (130, 60, 180),
    "orange": (245, 150, 40),
}


class ColourClip:
    """Pictures are shares of colours, captions the colours they name.

    Deterministic and without weights. ``images`` and ``texts`` list what
    has been encoded, to see what a cache saved.
    """

    name = "colour-clip"
    logit_scale = 20.0
    embed_dim = 12

    def __init__(self):
        self.images: list[Image.Image] = []
        self.texts: list[str] = []

    def encode_images(self, images) -> torch.Tensor:
        images = [i if isinstance(i, Image.Image) else Image.open(i) for i in images]
        self.images += [i.size for i in images]
        palette = np.array(list(COLOURS.values()), np.float32)
        rows = []
        for image in images:
            small = image.convert("RGB").resize((16, 16))
            pixels = np.asarray(small, np.float32).reshape(-1, 1, 3)
            nearest = np.abs(pixels - palette).sum(-1).argmin(-1)
            shares = np.bincount(nearest, minlength=len(palette))
            rows.append(np.concatenate([shares / 256, [0.01] * 4]))
        embeds = torch.tensor(np.array(rows), dtype=torch.float32)
        return embeds / embeds.norm(dim=-1, keepdim=True)

    def encode_texts(self, texts) -> torch.Tensor:
        self.texts += list(texts)
        rows = []
        for text in texts:
            named = [float(text.lower().count(c)) for c in COLOURS]
            digest = hashlib.sha256(text.encode()).digest()
            rows.append(named + [(b + 1) / 2560 for b in digest[:4]])
        embeds = torch.tensor(rows)
        return embeds / embeds.norm(dim=-1, keepdim=True)


class TinyClip(Clip):
    """A real ``transformers`` CLIPModel with random weights, 32 px.

    ``pictures`` counts what has been preprocessed.
    """

    def __init__(self, seed: int = 0):
        layers = {
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
        }
        config = CLIPConfig(
            text_config={
                **layers,
                "vocab_size": 130,
                "max_position_embeddings": 24,
                "bos_token_id": 128,
                "eos_token_id": 129,
                "pad_token_id": 129,
            },
            vision_config={**layers, "image_size": 32, "patch_size": 8},
            projection_dim=12,
        )
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = CLIPModel(config)
        settings = ImageSettings(resize=32, crop=(32, 32))
        super().__init__(model, None, settings, "tiny-clip")
        self.pictures = 0

    def preprocess(self, images) -> torch.Tensor:
        self.pictures += len(images)
        return super().preprocess(images)

    def tokenize(self, texts) -> dict[str, torch.Tensor]:
        """One token a letter."""
        ids = torch.full((len(texts), 24), 129)
        for row, text in enumerate(texts):
            codes = [128, *(ord(c) % 128 for c in text[:22]), 129]
            ids[row, : len(codes)] = torch.tensor(codes)
        return {"input_ids": ids}


def plain(color: str, size=(80, 60)) -> Image.Image:
    """A picture of one colour."""
    return Image.new("RGB", size, COLOURS[color])
