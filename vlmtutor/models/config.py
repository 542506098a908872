"""Sizes of a framework, and the encoders they name."""

from __future__ import annotations

from dataclasses import dataclass

from .towers import ConvNet, TextTransformer, VisionTransformer

IMAGE_ENCODERS = ("vit", "vit-conv", "cnn")


@dataclass(frozen=True)
class FrameworkConfig:
    """Sizes of a framework; ``image_encoder`` is one of IMAGE_ENCODERS.

    ``vocabulary`` counts the tokenizer's tokens, sizes of pictures and
    patches are pixels.  ``causal`` lets words see only earlier words, as in
    CLIP's text tower and as captioning needs it.  ``seed`` draws the weights
    of a framework; an encoder made alone wants ``with seeded_weights(...)``
    around.
    """

    vocabulary: int
    text_length: int = 32
    image_size: int = 48
    patch_size: int = 12
    width: int = 96
    heads: int = 4
    image_layers: int = 3
    text_layers: int = 2
    fusion_layers: int = 2
    embed_dim: int = 96
    image_encoder: str = "vit"
    causal: bool = False
    seed: int = 0


def image_encoder(config: FrameworkConfig) -> VisionTransformer | ConvNet:
    """The picture's encoder that a configuration names; ValueError: none."""
    kind = config.image_encoder
    if kind not in IMAGE_ENCODERS:
        raise ValueError(f"an image encoder is in {IMAGE_ENCODERS}, not {kind!r}")
    sizes = config.image_size, config.patch_size, config.width
    if kind == "cnn":
        return ConvNet(*sizes, config.image_layers)
    stem = "conv" if kind == "vit-conv" else "linear"
    return VisionTransformer(*sizes, config.image_layers, config.heads, stem)


def text_encoder(config: FrameworkConfig) -> TextTransformer:
    """The text's encoder that a configuration names."""
    return TextTransformer(
        config.vocabulary,
        config.text_length,
        config.width,
        config.text_layers,
        config.heads,
        config.causal,
    )
