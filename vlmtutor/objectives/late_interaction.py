"""Late interaction: patches meet words, not pictures captions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def token_similarity(
    patch_embeds: Tensor, word_embeds: Tensor, word_mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """How well pictures and texts agree, patch by word: two [N, M].

    ``patch_embeds`` [N, T, D] and ``word_embeds`` [M, L, D], L2-normalised;
    ``word_mask`` [M, L] bool, True on words.  The first result asks each patch
    for its best word and takes the mean over patches, the second each word
    for its best patch; they differ.  A text without words gets 0.
    """
    # [N, M, T, L]: the cosine of every patch with every word
    cosines = torch.einsum("ntd,mld->nmtl", patch_embeds, word_embeds)
    if word_mask is None:
        by_patch = cosines.amax(dim=3).mean(dim=2)
        return by_patch, cosines.amax(dim=2).mean(dim=2)
    hidden = ~word_mask[None, :, None, :]  # [1, M, 1, L]
    best_word = cosines.masked_fill(hidden, -2.0).amax(dim=3)  # [N, M, T]
    count = word_mask.sum(dim=1)  # [M]
    by_patch = best_word.mean(dim=2) * (count > 0)
    best_patch = cosines.amax(dim=2) * word_mask  # [N, M, L]
    return by_patch, best_patch.sum(dim=2) / count.clamp(min=1)


def filip_loss(
    patch_embeds: Tensor,
    word_embeds: Tensor,
    logit_scale: Tensor | float,
    word_mask: Tensor | None = None,
) -> Tensor:
    """FILIP's loss: CLIP's, on token-wise similarities.

    Shapes as in :func:`token_similarity`, with N = M pairs.  With one patch
    and one word it is CLIP's loss.  Raises ValueError for an empty batch or
    numbers of pictures and texts that differ.
    Source: Yao et al. 2021, arXiv 2111.07783.
    """
    N = len(patch_embeds)
    if not N or len(word_embeds) != N:
        raise ValueError(f"pairs, not {N} pictures and {len(word_embeds)} texts")
    by_patch, by_word = token_similarity(patch_embeds, word_embeds, word_mask)
    labels = torch.arange(N, device=patch_embeds.device)
    image_to_text = F.cross_entropy(logit_scale * by_patch, labels)
    text_to_image = F.cross_entropy(logit_scale * by_word.T, labels)
    return (image_to_text + text_to_image) / 2
