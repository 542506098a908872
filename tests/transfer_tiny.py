"""A tiny CLIP and three colours: what tests of transfer methods share."""

from __future__ import annotations

import functools

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast

from vlmtutor.models.clip import Clip, ImageSettings
from vlmtutor.transfer.base import ZeroShot

CLASSES = ["red dog", "cat", "green bird"]
NOVEL = ["blue fox", "owl"]
PLACES = ("<pad>", "<unk>", "<s>", "</s>")
WORDS = (
    "a", "the", "of", "picture", "photo", "drawing", "sticker", "without",
    "red", "green", "blue", "dog", "cat", "bird", "fox", "owl", "two", "and",
    "dogs", "big", "hot",
)  # fmt: skip
SIZE, PATCH, D, W_TEXT, W_VISION = 32, 8, 16, 24, 32


def tokenizer() -> PreTrainedTokenizerFast:
    vocab = {word: i for i, word in enumerate((*PLACES, *WORDS))}
    words = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 2), ("</s>", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
    )


def tiny_clip(seed: int = 0) -> Clip:
    """A fresh CLIP with random weights, made like StickerCLIP."""
    config = CLIPConfig(
        text_config={
            "vocab_size": len(PLACES) + len(WORDS),
            "hidden_size": W_TEXT,
            "intermediate_size": 32,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "max_position_embeddings": 14,
            "bos_token_id": 2,
            "eos_token_id": 3,
            "pad_token_id": 0,
        },
        vision_config={
            "hidden_size": W_VISION,
            "intermediate_size": 32,
            "num_hidden_layers": 4,
            "num_attention_heads": 2,
            "image_size": SIZE,
            "patch_size": PATCH,
        },
        projection_dim=D,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = CLIPModel(config)
        # As they come, all texts look alike: give words more to say.
        with torch.no_grad():
            embeddings = model.text_model.embeddings
            embeddings.token_embedding.weight.normal_(0, 1)
    settings = ImageSettings(
        resize=SIZE, crop=(SIZE, SIZE), mean=(0.5,) * 3, std=(0.5,) * 3
    )
    return Clip(model, tokenizer(), settings, "tiny")


@functools.cache
def clip() -> Clip:
    """One CLIP for tests that leave it alone."""
    return tiny_clip()


def colors(n: int = 4, seed: int = 0) -> tuple[list[Image.Image], torch.Tensor]:
    """``n`` noisy pictures of each of three colours, and their labels."""
    rng = np.random.default_rng(seed)
    images, labels = [], []
    for label in range(len(CLASSES)):
        for _ in range(n):
            pixels = rng.integers(0, 90, (SIZE, SIZE, 3))
            pixels[..., label] += 150
            images.append(Image.fromarray(pixels.astype(np.uint8)))
            labels.append(label)
    return images, torch.tensor(labels)


def hand_logits(model: Clip, images, classes=CLASSES) -> torch.Tensor:
    """Logits of the hand-written prompt that contexts start from."""
    texts = model.encode_texts([f"a picture of a {name}" for name in classes])
    return model.logit_scale * model.encode_images(images) @ texts.T


def zero_shot_logits(model: Clip, images, classes=CLASSES) -> torch.Tensor:
    return ZeroShot(model, classes)(images)


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    """Random vectors of length one, along the last axis."""
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(*shape, generator=generator)
    return torch.nn.functional.normalize(vectors, dim=-1)


def close(a: torch.Tensor, b: torch.Tensor, atol: float = 1e-5) -> None:
    torch.testing.assert_close(a, b, atol=atol, rtol=0)
