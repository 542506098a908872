"""A masked autoencoder: pictures from a quarter of their patches.

He et al. 2021, arXiv 2111.06377.  With a text encoder the decoder may also
read the caption: masked cross-modal modelling of pictures.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..seeding import seeded_weights
from .blocks import Transformer
from .towers import TextTransformer, VisionTransformer, word_mask


class MaskedAutoencoder(nn.Module):
    """``encoder`` sees what is not hidden; a small decoder paints the rest.

    The encoder is a VisionTransformer with a linear stem: a convolutional one
    would look over the edge into hidden patches.  ``text`` is optional.
    """

    def __init__(
        self,
        encoder: VisionTransformer,
        text: TextTransformer | None = None,
        layers: int = 2,
        heads: int = 4,
        seed: int = 0,
    ):
        super().__init__()
        if not isinstance(encoder.patches, nn.Conv2d):
            raise ValueError("hidden patches need a stem of its own: 'linear'")
        width = encoder.class_token.numel()
        patch_size = encoder.patches.kernel_size[0]
        self.encoder, self.text = encoder, text
        with seeded_weights(seed):
            self.mask_token = nn.Parameter(torch.randn(width) * 0.02)
            self.positions = nn.Parameter(torch.randn_like(encoder.positions) * 0.02)
            self.inner = nn.Linear(width, width)
            self.decoder = Transformer(width, layers, heads, cross=text is not None)
            self.norm = nn.LayerNorm(width)
            self.pixels = nn.Linear(width, 3 * patch_size**2)

    def forward(
        self, pixel_values: Tensor, mask: Tensor, input_ids: Tensor | None = None
    ) -> Tensor:
        """Guessed patches [B, T, patch_size² · 3].

        ``mask`` [B, T] bool, True on hidden patches, equally many in each row
        (ValueError otherwise); ``input_ids`` [B, L] of the captions.
        """
        seen = (~mask).sum(dim=1)
        if len(seen) and (seen != seen[0]).any():
            raise ValueError("hide equally many patches in each picture")
        # stable: patches that are seen come first, in their order
        order = mask.long().argsort(dim=1, stable=True)
        keep = order[:, : int(seen[0]) if len(seen) else 0]
        hidden = self.inner(self.encoder(pixel_values, keep))
        B, T = mask.shape
        x = self.mask_token.expand(B, T, -1)
        rows = keep[..., None].expand(-1, -1, x.shape[-1])
        x = x.scatter(1, rows, hidden[:, 1:])
        x = torch.cat([hidden[:, :1], x], dim=1) + self.positions
        context = context_mask = None
        if input_ids is not None:
            context = self.text(input_ids)
            context_mask = word_mask(input_ids)
        x = self.decoder(x, context=context, context_mask=context_mask)
        return self.pixels(self.norm(x[:, 1:]))
