"""Writing captions: guess each next word, having seen the picture."""

from __future__ import annotations

from torch import Tensor

from .masked import IGNORE, masked_word_loss


def caption_loss(logits: Tensor, input_ids: Tensor, pad_id: int = 0) -> Tensor:
    """Cross-entropy of each next word, mean over words that are no padding.

    ``logits`` [B, L, V]: those at position t say what stands at t + 1, so the
    last ones say nothing; ``input_ids`` [B, L] with their start and end
    tokens.  Without a next word (L below 2) the loss is 0.  CoCa adds it to
    CLIP's loss with weight 2.
    Source: Yu et al. 2022, arXiv 2205.01917.
    """
    labels = input_ids[:, 1:].masked_fill(input_ids[:, 1:] == pad_id, IGNORE)
    return masked_word_loss(logits[:, :-1], labels)
