"""Encoders: pictures or words in, tokens out.

Every image encoder maps pixel_values [B, 3, S, S] to tokens [B, 1 + T, W],
the first for the whole picture, then one for each of T patches, row by row.
The text encoder maps input_ids [B, L] to tokens [B, L, W].
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .blocks import Transformer


def patch_grid(image_size: int, patch_size: int) -> int:
    """Patches along a side; ValueError if they do not fill the picture."""
    if image_size % patch_size or image_size < patch_size:
        raise ValueError(f"patches of {patch_size} px do not fill {image_size} px")
    return image_size // patch_size


def _factors(n: int) -> list[int]:
    """Prime factors, the largest first: 12 → [3, 2, 2]."""
    found, p = [], 2
    while n > 1:
        while n % p == 0:
            found.append(p)
            n //= p
        p += 1
    return found[::-1]


def conv_stem(patch_size: int, width: int) -> nn.Sequential:
    """Strided convolutions that turn each patch into one token.

    [B, 3, S, S] → [B, W, S / patch_size, S / patch_size].  They see across
    patch borders and learn faster than one linear map of a patch (Xiao et
    al. 2021, arXiv 2106.14881).
    """
    strides = _factors(patch_size)
    layers, channels = [], 3
    for k, stride in enumerate(strides):
        out = max(8, width >> (len(strides) - 1 - k))
        kernel, padding = 2 * stride - 1, stride - 1
        layers += [
            nn.Conv2d(channels, out, kernel, stride, padding, bias=False),
            nn.GroupNorm(1, out),
            nn.GELU(),
        ]
        channels = out
    layers.append(nn.Conv2d(channels, width, 1))
    return _draw(nn.Sequential(*layers))


def _draw(layers: nn.Sequential) -> nn.Sequential:
    """Weights that keep the size of what passes (He et al. 2015, arXiv
    1502.01852): torch's own are smaller, and train several times slower."""
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return layers


class VisionTransformer(nn.Module):
    """A ViT (Dosovitskiy et al. 2020, arXiv 2010.11929) as in CLIP.

    With ``stem="conv"`` patches are read by :func:`conv_stem`; raises
    ValueError for a stem of another name.
    """

    def __init__(
        self,
        image_size: int,
        patch_size: int,
        width: int,
        layers: int,
        heads: int,
        stem: str = "linear",
    ):
        super().__init__()
        self.side = patch_grid(image_size, patch_size)
        if stem == "conv":
            self.patches = conv_stem(patch_size, width)
        elif stem == "linear":
            self.patches = nn.Conv2d(3, width, patch_size, patch_size, bias=False)
        else:
            raise ValueError(f"a stem is 'linear' or 'conv', not {stem!r}")
        self.class_token = nn.Parameter(torch.randn(width) * width**-0.5)
        self.positions = nn.Parameter(
            torch.randn(1 + self.side**2, width) * width**-0.5
        )
        self.norm_in = nn.LayerNorm(width)
        self.transformer = Transformer(width, layers, heads)
        self.norm_out = nn.LayerNorm(width)

    def embed(self, pixel_values: Tensor) -> Tensor:
        """Patches and their places, before any attention: [B, 1 + T, W]."""
        patches = self.patches(pixel_values).flatten(2).transpose(1, 2)
        first = self.class_token.expand(len(patches), 1, -1)
        return torch.cat([first, patches], dim=1) + self.positions

    def forward(self, pixel_values: Tensor, keep: Tensor | None = None) -> Tensor:
        """``keep`` [B, K] reads only those patches: → [B, 1 + K, W]."""
        x = self.embed(pixel_values)
        if keep is not None:
            rows = keep[..., None].expand(-1, -1, x.shape[-1])
            x = torch.cat([x[:, :1], x[:, 1:].gather(1, rows)], dim=1)
        return self.norm_out(self.transformer(self.norm_in(x)))


class _Residual(nn.Module):
    """Two 3 × 3 convolutions, added to what came in."""

    def __init__(self, width: int):
        super().__init__()
        self.layers = _draw(
            nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1, bias=False),
                nn.GroupNorm(1, width),
                nn.GELU(),
                nn.Conv2d(width, width, 3, padding=1, bias=False),
                nn.GroupNorm(1, width),
            )
        )
        # at first each layer only passes on what comes in
        nn.init.zeros_(self.layers[-1].weight)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.layers(x))


class ConvNet(nn.Module):
    """A small residual CNN (He et al. 2015, arXiv 1512.03385).

    pixel_values [B, 3, S, S] → [B, 1 + T, W]: its last map gives the patch
    tokens, their mean the picture's token.
    """

    def __init__(self, image_size: int, patch_size: int, width: int, layers: int):
        super().__init__()
        self.side = patch_grid(image_size, patch_size)
        self.stem = conv_stem(patch_size, width)
        self.layers = nn.Sequential(*(_Residual(width) for _ in range(layers)))
        self.norm_out = nn.LayerNorm(width)

    def forward(self, pixel_values: Tensor) -> Tensor:
        x = self.layers(self.stem(pixel_values))
        x = x.flatten(2).transpose(1, 2)  # [B, T, W]
        return self.norm_out(torch.cat([x.mean(1, keepdim=True), x], dim=1))


class TextTransformer(nn.Module):
    """Words to tokens, [B, L] → [B, L, W].

    ``causal`` lets a word see only those before it.
    """

    def __init__(
        self,
        vocabulary: int,
        length: int,
        width: int,
        layers: int,
        heads: int,
        causal: bool = False,
    ):
        super().__init__()
        self.length, self.causal = length, causal
        self.words = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.words.weight, std=0.02)
        self.positions = nn.Parameter(torch.randn(length, width) * 0.02)
        self.transformer = Transformer(width, layers, heads)
        self.norm_out = nn.LayerNorm(width)

    def embed(self, input_ids: Tensor) -> Tensor:
        """Words and their places, before any attention: [B, L, W].

        Raises ValueError where they are longer than ``length``.
        """
        L = input_ids.shape[1]
        if L > self.length:
            raise ValueError(f"{L} tokens, but the model reads {self.length}")
        return self.words(input_ids) + self.positions[:L]

    def forward(self, input_ids: Tensor) -> Tensor:
        x = self.embed(input_ids)
        # what comes after the end can reach no word when attention is causal
        mask = None if self.causal else word_mask(input_ids)
        return self.norm_out(self.transformer(x, mask, self.causal))


def word_mask(input_ids: Tensor) -> Tensor:
    """[B, L] bool: True on words, False on padding (id 0).

    The first position always counts, so that no row is empty.
    """
    mask = input_ids != 0
    mask[:, :1] = True
    return mask


def last_word(input_ids: Tensor) -> Tensor:
    """[B] position of the last token that is no padding: the end token."""
    places = torch.arange(input_ids.shape[1], device=input_ids.device)
    return (places * (input_ids != 0)).amax(dim=1)
