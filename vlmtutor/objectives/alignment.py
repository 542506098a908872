"""Alignment objectives: link parts of a picture with parts of its caption."""

from __future__ import annotations

import math

from torch import Tensor


def phrase_scores(
    patch_embeds: Tensor, phrase_embeds: Tensor, logit_scale: Tensor | float
) -> Tensor:
    """How strongly some patch of each picture answers each phrase.

    ``patch_embeds`` [B, T, D] and ``phrase_embeds`` [P, D] are
    L2-normalised.  Returns [P, B]: the log-mean-exp over patches of the scaled
    similarities, a soft maximum, so that no box is needed.
    """
    B, T, D = patch_embeds.shape
    flat = patch_embeds.reshape(B * T, D)
    logits = (logit_scale * phrase_embeds @ flat.T).view(-1, B, T)
    return logits.logsumexp(dim=-1) - math.log(T)  # [P, B]


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


def naming_loss(patch_logits: Tensor, regions: Tensor, positives: Tensor) -> Tensor:
    """Every patch picks one phrase; a region must hold those it is said to.

    ``patch_logits`` [N, P] are the scaled similarities of N patches with P
    phrases, ``regions`` [N] the region each patch lies in, ``positives``
    [R, P] bool what each of R regions holds.  A region's share of a phrase is
    the mean over its patches of their softmax over phrases; the loss is minus
    the mean log share of what it holds.  Patches compete, so a name settles
    where its evidence is (a mixture likelihood, as in multiple-instance
    learning: Ilse et al. 2018, arXiv 1802.04712).
    """
    shares = patch_logits.softmax(dim=-1)  # [N, P]
    R, P = positives.shape
    pooled = shares.new_zeros(R, P).index_add(0, regions, shares)
    count = regions.bincount(minlength=R).clamp(min=1)[:, None]
    log_share = (pooled / count + 1e-6).log()
    return -log_share[positives].mean()
