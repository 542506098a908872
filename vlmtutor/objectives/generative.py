"""Generative objectives: guess what is hidden, or what comes next.

Patches of pictures and words of texts are hidden and guessed from the rest; a
caption is written word by word.  Masked *cross-modal* modelling is the same
loss; only the guess may also look at the other modality (``word_logits`` of
the frameworks, the caption of a ``MaskedAutoencoder``).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORE = -100  # a label that does not count, as in transformers
PAD, MASK, SPECIAL = 0, 4, 5  # as in models.words; words follow from 5 on


def patchify(pixel_values: Tensor, patch_size: int) -> Tensor:
    """Pictures [B, 3, S, S] → patches [B, T, patch_size² · 3], row by row.

    Raises ValueError where they do not fill the picture.
    """
    B, C, H, W = pixel_values.shape
    p = patch_size
    if H % p or W % p:
        raise ValueError(f"patches of {p} px do not fill {H} × {W} px")
    x = pixel_values.reshape(B, C, H // p, p, W // p, p)
    x = x.permute(0, 2, 4, 3, 5, 1)  # [B, rows, columns, p, p, C]
    return x.reshape(B, (H // p) * (W // p), p * p * C)


def unpatchify(patches: Tensor, patch_size: int) -> Tensor:
    """The way back: [B, T, patch_size² · 3] → [B, 3, S, S].

    Raises ValueError for patches that make no square.
    """
    B, T, _ = patches.shape
    p, side = patch_size, round(T**0.5)
    if side * side != T:
        raise ValueError(f"{T} patches make no square")
    x = patches.reshape(B, side, side, p, p, 3)
    return x.permute(0, 5, 1, 3, 2, 4).reshape(B, 3, side * p, side * p)


def random_patch_mask(
    n: int, patches: int, share: float, generator: torch.Generator
) -> Tensor:
    """[n, patches] bool: the same number of hidden patches in each picture.

    Raises ValueError for a ``share`` beyond 0 and 1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"a share is between 0 and 1, not {share}")
    hidden = round(patches * share)
    order = torch.rand(n, patches, generator=generator).argsort(dim=1)
    return order.argsort(dim=1) < hidden


def masked_image_loss(
    predicted: Tensor,
    pixel_values: Tensor,
    mask: Tensor,
    patch_size: int,
    normalize: bool = True,
) -> Tensor:
    """MAE's loss: squared error on hidden patches only.

    ``predicted`` [B, T, patch_size² · 3], ``pixel_values`` [B, 3, S, S],
    ``mask`` [B, T], True on hidden patches.  With ``normalize`` each patch's
    own mean and spread are taken out of the truth.  Nothing hidden: 0.
    Source: He et al. 2021, arXiv 2111.06377.
    """
    target = patchify(pixel_values, patch_size)
    if normalize:
        target = target - target.mean(dim=-1, keepdim=True)
        squares = target.square().sum(dim=-1, keepdim=True)
        variance = squares / (target.shape[-1] - 1)  # unbiased, as in MAE
        target = target / (variance + 1e-6).sqrt()
    error = (predicted - target).square().mean(dim=-1)  # [B, T]
    return (error * mask).sum() / mask.sum().clamp(min=1)


def mask_words(
    input_ids: Tensor,
    vocabulary: int,
    generator: torch.Generator,
    share: float = 0.15,
) -> tuple[Tensor, Tensor]:
    """BERT's masking: new input_ids and labels, both [B, L].

    A word is chosen with probability ``share``, a special token never.  Of the
    chosen, 80 % become ``<mask>``, 10 % another word, 10 % stay.  Labels hold
    the chosen words, and -100 elsewhere.
    Source: Devlin et al. 2018, arXiv 1810.04805.
    """
    draw = torch.rand(input_ids.shape, generator=generator)
    fate = torch.rand(input_ids.shape, generator=generator)
    others = torch.randint(
        SPECIAL, max(vocabulary, SPECIAL + 1), input_ids.shape, generator=generator
    )
    chosen = (input_ids >= SPECIAL) & (draw < share)
    labels = input_ids.masked_fill(~chosen, IGNORE)
    new = input_ids.masked_fill(chosen & (fate < 0.8), MASK)
    return torch.where(chosen & (fate >= 0.9), others, new), labels


def masked_word_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of the hidden words, mean over all of the batch.

    ``logits`` [B, L, V], ``labels`` [B, L] with -100 where nothing counts, as
    ``BertForMaskedLM`` has it.  Nothing hidden: 0 (transformers: NaN).
    """
    losses = F.cross_entropy(
        logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORE, reduction="sum"
    )
    return losses / (labels != IGNORE).sum().clamp(min=1)


def caption_loss(logits: Tensor, input_ids: Tensor) -> Tensor:
    """Cross-entropy of each next word, mean over words that are no padding.

    ``logits`` [B, L, V]: those at position t say what stands at t + 1, so the
    last ones say nothing; ``input_ids`` [B, L] with their start and end
    tokens.  Without a next word (L below 2) the loss is 0.  CoCa adds it to
    CLIP's loss with weight 2.
    Source: Yu et al. 2022, arXiv 2205.01917.
    """
    labels = input_ids[:, 1:].masked_fill(input_ids[:, 1:] == PAD, IGNORE)
    return masked_word_loss(logits[:, :-1], labels)
