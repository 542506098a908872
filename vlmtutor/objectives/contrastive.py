"""Contrastive objectives: pull pairs together, push the rest apart.

Pictures and captions (CLIP, SigLIP), whatever has one label (UniCL), patches
and words (FILIP), or two views of one picture (SimCLR).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def clip_loss(
    image_embeds: Tensor,
    text_embeds: Tensor,
    logit_scale: Tensor | float,
    ignore: Tensor | None = None,
) -> Tensor:
    """CLIP's symmetric cross-entropy over a batch of pairs.

    ``image_embeds`` and ``text_embeds`` [N, D] are L2-normalised,
    ``logit_scale`` is already exponentiated.  ``ignore`` [N, N] bool leaves
    out pairs that are no true negatives (never the diagonal).
    Source: Radford et al. 2021, arXiv 2103.00020.
    """
    logits = logit_scale * image_embeds @ text_embeds.T  # [N, N]
    if ignore is not None:
        diagonal = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
        logits = logits.masked_fill(ignore & ~diagonal, float("-inf"))
    labels = torch.arange(len(logits), device=logits.device)
    image_to_text = F.cross_entropy(logits, labels)
    text_to_image = F.cross_entropy(logits.T, labels)
    return (image_to_text + text_to_image) / 2


def siglip_loss(
    image_embeds: Tensor,
    text_embeds: Tensor,
    logit_scale: Tensor | float,
    logit_bias: Tensor | float,
    ignore: Tensor | None = None,
) -> Tensor:
    """SigLIP's loss: each pair of the batch is a yes-or-no question.

    ``image_embeds`` and ``text_embeds`` [N, D], ``ignore`` [N, N]; summed over
    the pairs of a picture, averaged over the pictures.
    Source: Zhai et al. 2023, arXiv 2303.15343.
    """
    logits = logit_scale * image_embeds @ text_embeds.T + logit_bias
    # +1 for pairs, -1 for others
    signs = 2 * torch.eye(len(logits), device=logits.device) - 1
    losses = -F.logsigmoid(signs * logits)  # [N, N]
    if ignore is not None:
        losses = losses.masked_fill(ignore & (signs < 0), 0)
    return losses.sum(dim=1).mean()


def multi_positive_loss(logits: Tensor, positives: Tensor) -> Tensor:
    """Cross-entropy where a row may have several right answers.

    ``logits`` [P, B], ``positives`` [P, B] bool.  Each row's target is spread
    evenly over its positives, as in UniCL (Yang et al. 2022, arXiv
    2204.03610); rows and columns without positives are left out.
    """

    def one_way(scores: Tensor, right: Tensor) -> Tensor:
        count = right.sum(dim=1)
        log_probs = scores.log_softmax(dim=1)
        rows = (log_probs * right).sum(dim=1) / count.clamp(min=1)
        return -rows[count > 0].mean()

    forward = one_way(logits, positives)
    backward = one_way(logits.T, positives.T)
    return (forward + backward) / 2


def unicl_loss(
    image_embeds: Tensor,
    text_embeds: Tensor,
    logit_scale: Tensor | float,
    labels: Tensor,
) -> Tensor:
    """UniCL's loss: whatever has the same label belongs together.

    ``image_embeds`` and ``text_embeds`` [N, D], L2-normalised, with ``labels``
    [N].  A label of -1 stands for "unknown": such a pair is matched with
    itself alone, as in CLIP.  With all labels different this is
    :func:`clip_loss`.  Raises ValueError for an empty batch, and for labels
    that are not as many.
    Source: Yang et al. 2022, arXiv 2204.03610.
    """
    if not len(labels) == len(image_embeds) == len(text_embeds) > 0:
        raise ValueError("one label for each pair, and at least one pair")
    known = labels[:, None] >= 0
    positives = (labels[:, None] == labels) & known  # [N, N]
    positives |= torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    logits = logit_scale * image_embeds @ text_embeds.T  # [N, N]
    return multi_positive_loss(logits, positives)


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

    ``patch_embeds`` [N, T, D], ``word_embeds`` [N, L, D], ``word_mask``
    [N, L] as in :func:`token_similarity`.  With one patch
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


def nt_xent(first: Tensor, second: Tensor, temperature: Tensor | float = 0.1) -> Tensor:
    """SimCLR's loss, "normalised temperature-scaled cross-entropy".

    ``first`` and ``second`` [N, D], L2-normalised: two views of N pictures.
    Each of the 2 N views must find its partner among the other 2 N - 1;
    itself does not count.  One picture alone has no wrong answer: 0.  Raises
    ValueError for an empty batch or shapes that differ.
    Source: Chen et al. 2020, arXiv 2002.05709.
    """
    if first.shape != second.shape or not len(first):
        raise ValueError(
            f"two views of at least one picture, not {list(first.shape)} "
            f"and {list(second.shape)}"
        )
    views = torch.cat([first, second])  # [2N, D]
    N = len(first)
    logits = views @ views.T / temperature  # [2N, 2N]
    itself = torch.eye(2 * N, dtype=torch.bool, device=views.device)
    logits = logits.masked_fill(itself, float("-inf"))
    partner = torch.arange(2 * N, device=views.device).roll(N)  # i ↔ i + N
    return F.cross_entropy(logits, partner)
