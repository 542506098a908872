"""Two towers, two legs, one tower: three ways to bring pictures and words
together, built from the same blocks and used in the same way.

What a framework computes for one picture or one text alone are its tokens;
what it computes for a pair is ``match_logits``.  The fewer layers stand in
``match_logits``, the cheaper it is to rank many pictures by many texts.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..seeding import seeded_weights
from .blocks import Transformer
from .config import FrameworkConfig, image_encoder, text_encoder
from .towers import TextTransformer, VisionTransformer, last_word, word_mask


class Framework(nn.Module):
    """What the three have in common: a shared space and its scale.

    N pictures and M texts: pixel_values [N, 3, S, S], input_ids [M, L] with
    0 as padding, embeddings [., D] L2-normalised.
    """

    def __init__(self, config: FrameworkConfig):
        super().__init__()
        self.config = config
        W, D = config.width, config.embed_dim
        with seeded_weights(config.seed):
            self.build()
            self.image_head = nn.Linear(W, D, bias=False)
            self.text_head = nn.Linear(W, D, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def build(self) -> None:
        """Make the layers."""
        raise NotImplementedError

    def scale(self) -> Tensor:
        """What similarities are multiplied by: exp(logit_scale), a number
        [] of 100 at most."""
        return self.logit_scale.exp().clamp(max=100)

    def image_tokens(self, pixel_values: Tensor) -> Tensor:
        """All that is computed for pictures alone: [N, 1 + T, W]."""
        raise NotImplementedError

    def text_tokens(self, input_ids: Tensor) -> Tensor:
        """All that is computed for texts alone: [M, L, W]."""
        raise NotImplementedError

    def match_logits(
        self, image_tokens: Tensor, text_tokens: Tensor, input_ids: Tensor
    ) -> Tensor:
        """How well picture i fits text i, the higher the better: [B]."""
        raise NotImplementedError

    def image_embeds(self, image_tokens: Tensor) -> Tensor:
        """The pictures' places in the shared space: [N, D]."""
        return F.normalize(self.image_head(image_tokens[:, 0]), dim=-1)

    def text_embeds(self, text_tokens: Tensor, input_ids: Tensor) -> Tensor:
        """The texts' places in the shared space: [M, D]."""
        ends = _at_end(text_tokens, input_ids)
        return F.normalize(self.text_head(ends), dim=-1)

    def patch_embeds(self, image_tokens: Tensor) -> Tensor:
        """Each patch in the shared space: [N, T, D]."""
        return F.normalize(self.image_head(image_tokens[:, 1:]), dim=-1)

    def word_embeds(self, text_tokens: Tensor) -> Tensor:
        """Each word in the shared space: [M, L, D]."""
        return F.normalize(self.text_head(text_tokens), dim=-1)

    def encode_images(self, pixel_values: Tensor) -> Tensor:
        """pixel_values [N, 3, S, S] → image_embeds [N, D]."""
        return self.image_embeds(self.image_tokens(pixel_values))

    def encode_texts(self, input_ids: Tensor) -> Tensor:
        """input_ids [M, L] → text_embeds [M, D]."""
        return self.text_embeds(self.text_tokens(input_ids), input_ids)


def _at_end(tokens: Tensor, input_ids: Tensor) -> Tensor:
    """The state of each text's end token: [M, L, W] → [M, W]."""
    return tokens[torch.arange(len(tokens)), last_word(input_ids)]


class TwoTower(Framework):
    """Pictures and texts meet in one product, as in CLIP.

    Radford et al. 2021, arXiv 2103.00020.
    """

    def build(self) -> None:
        self.image = image_encoder(self.config)
        self.text = text_encoder(self.config)

    def image_tokens(self, pixel_values: Tensor) -> Tensor:
        return self.image(pixel_values)

    def text_tokens(self, input_ids: Tensor) -> Tensor:
        return self.text(input_ids)

    def match_logits(self, image_tokens, text_tokens, input_ids) -> Tensor:
        images = self.image_embeds(image_tokens)
        texts = self.text_embeds(text_tokens, input_ids)
        return self.scale() * (images * texts).sum(-1)


class TwoLeg(Framework):
    """Two encoders, and a fusion transformer on top of both.

    The fusion's words look at all image tokens by cross-attention, as in
    ALBEF (Li et al. 2021, arXiv 2107.07651); with ``causal`` it can write
    captions, as CoCa's decoder (Yu et al. 2022, arXiv 2205.01917).
    """

    def build(self) -> None:
        config = self.config
        self.image = image_encoder(config)
        self.text = text_encoder(config)
        self.fusion = Transformer(
            config.width, config.fusion_layers, config.heads, cross=True
        )
        self.heads = FusionHeads(config)

    def image_tokens(self, pixel_values: Tensor) -> Tensor:
        return self.image(pixel_values)

    def text_tokens(self, input_ids: Tensor) -> Tensor:
        return self.text(input_ids)

    def fuse(
        self, image_tokens: Tensor | None, text_tokens: Tensor, input_ids
    ) -> Tensor:
        """Words that have seen the picture: [B, L, W]; None: no picture."""
        causal = self.config.causal
        mask = None if causal else word_mask(input_ids)
        return self.fusion(text_tokens, mask, causal, image_tokens)

    def match_logits(self, image_tokens, text_tokens, input_ids) -> Tensor:
        fused = self.fuse(image_tokens, text_tokens, input_ids)
        return self.heads.match(_at_end(fused, input_ids))

    def word_logits(
        self, image_tokens: Tensor | None, text_tokens: Tensor, input_ids
    ) -> Tensor:
        """A score for each word of the vocabulary: [B, L, V].

        At the place itself, or for the next place in a causal model.
        """
        fused = self.fuse(image_tokens, text_tokens, input_ids)
        return self.heads.words(fused, self.text.words.weight)


class OneTower(Framework):
    """One transformer for patches and words, alone or side by side.

    Alone it gives embeddings (OneR: Jang et al. 2023, arXiv 2211.11153), side
    by side every word sees every patch from the first layer on (ViLT: Kim et
    al. 2021, arXiv 2102.03334).  Its tokens are embeddings only: all layers
    stand in what comes after.  ``image_layers`` counts them; ``text_layers``,
    ``fusion_layers`` are not used.  It reads both ways, by patches: raises
    ValueError for a causal configuration or one with a CNN.
    """

    def build(self) -> None:
        config = self.config
        if config.image_encoder == "cnn" or config.causal:
            raise ValueError("one tower reads patches and words both ways")
        W = config.width
        # the picture's own transformer stays empty: it only reads patches
        self.image = VisionTransformer(
            config.image_size,
            config.patch_size,
            W,
            0,
            config.heads,
            "conv" if config.image_encoder == "vit-conv" else "linear",
        )
        self.text = TextTransformer(
            config.vocabulary, config.text_length, W, 0, config.heads
        )
        self.types = nn.Parameter(torch.randn(2, W) * 0.02)
        self.tower = Transformer(W, config.image_layers, config.heads)
        self.norm_out = nn.LayerNorm(W)
        self.heads = FusionHeads(config)

    def image_tokens(self, pixel_values: Tensor) -> Tensor:
        return self.image(pixel_values) + self.types[0]

    def text_tokens(self, input_ids: Tensor) -> Tensor:
        return self.text(input_ids) + self.types[1]

    def image_embeds(self, image_tokens: Tensor) -> Tensor:
        return super().image_embeds(self.norm_out(self.tower(image_tokens)))

    def patch_embeds(self, image_tokens: Tensor) -> Tensor:
        return super().patch_embeds(self.norm_out(self.tower(image_tokens)))

    def text_embeds(self, text_tokens: Tensor, input_ids: Tensor) -> Tensor:
        seen = self.tower(text_tokens, word_mask(input_ids))
        return super().text_embeds(self.norm_out(seen), input_ids)

    def fuse(
        self, image_tokens: Tensor | None, text_tokens: Tensor, input_ids
    ) -> Tensor:
        """Patches, then words, that have seen each other.

        [B, 1 + T + L, W]; without a picture (None) [B, L, W].
        """
        mask = word_mask(input_ids)
        if image_tokens is None:
            return self.tower(text_tokens, mask)
        pair = torch.cat([image_tokens, text_tokens], dim=1)
        there = mask.new_ones(len(pair), image_tokens.shape[1])
        return self.tower(pair, torch.cat([there, mask], dim=1))

    def match_logits(self, image_tokens, text_tokens, input_ids) -> Tensor:
        words = self._fused_words(image_tokens, text_tokens, input_ids)
        return self.heads.match(_at_end(words, input_ids))

    def word_logits(
        self, image_tokens: Tensor | None, text_tokens: Tensor, input_ids
    ) -> Tensor:
        """A score for each word of the vocabulary: [B, L, V]."""
        words = self._fused_words(image_tokens, text_tokens, input_ids)
        return self.heads.words(words, self.text.words.weight)

    def _fused_words(self, image_tokens, text_tokens, input_ids) -> Tensor:
        fused = self.fuse(image_tokens, text_tokens, input_ids)
        return fused[:, -input_ids.shape[1] :]  # [B, L, W]


class FusionHeads(nn.Module):
    """Two questions to a fused token: do they match, and which word is it."""

    def __init__(self, config: FrameworkConfig):
        super().__init__()
        self.norm = nn.LayerNorm(config.width)
        self.yes = nn.Linear(config.width, 1)
        self.word_bias = nn.Parameter(torch.zeros(config.vocabulary))

    def match(self, token: Tensor) -> Tensor:
        """[B, W] → [B]."""
        return self.yes(self.norm(token)).squeeze(-1)

    def words(self, tokens: Tensor, word_table: Tensor) -> Tensor:
        """[B, L, W] → [B, L, V]; the input's word table is used again."""
        return self.norm(tokens) @ word_table.T + self.word_bias
