"""Alignment objectives: does this text fit, and which word goes with what?

Phrases meet patches without boxes; a fusion answers whether caption and
picture match; regions meet the words of their phrases.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

NONE = -1  # no negative to be had


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


# Does this caption belong to this picture?


def random_negatives(
    n: int, generator: torch.Generator, same: Tensor | None = None
) -> Tensor:
    """For each of n things another one at random: indices [n].

    ``same`` [n, n] bool marks what is no negative, say equal captions; where
    nothing is left the index is -1.
    """
    return _draw(torch.ones(n, n), generator, same)


def hard_negatives(
    logits: Tensor, generator: torch.Generator, same: Tensor | None = None
) -> Tensor:
    """For each row a column that is wrong and looks right: indices [N].

    ``logits`` [N, N] are the scaled similarities of a batch; column j is
    drawn with the probability that the softmax of row i gives it, the
    diagonal and ``same`` [N, N] left out.  Transpose for the other direction.
    Where nothing is left, as in a batch of one, the index is -1.
    Source: ALBEF, Li et al. 2021, arXiv 2107.07651.
    """
    # a bit for everyone: else far-off rows would have nothing to draw from
    return _draw(logits.detach().softmax(dim=1) + 1e-4, generator, same)


def _draw(weights: Tensor, generator, same: Tensor | None) -> Tensor:
    never = torch.eye(len(weights), dtype=torch.bool)
    if same is not None:
        never = never | same
    weights = weights.masked_fill(never, 0)
    some = weights.sum(dim=1) > 0
    chosen = torch.full((len(weights),), NONE)
    if some.any():
        draws = torch.multinomial(weights[some], 1, generator=generator)
        chosen[some] = draws.squeeze(1)
    return chosen


def same_captions(input_ids: Tensor) -> Tensor:
    """[N, N] bool: pairs of rows of input_ids [N, L] with the same words."""
    return (input_ids[:, None] == input_ids).all(dim=-1)


def matching_loss(positive: Tensor, *negatives: Tensor) -> Tensor:
    """Binary cross-entropy over all: ``positive`` [B] yes, the rest no.

    Each of ``negatives`` is a row of logits.  It is ALBEF's two-way loss,
    written with one logit in place of two.  A constant answer of 1/3 costs
    0.6365 with twice as many negatives: what "learned nothing" looks like.
    Raises ValueError when there is no logit at all.
    """
    logits = torch.cat([positive, *negatives])
    if not len(logits):
        raise ValueError("nothing to match: the batch is empty")
    yes = torch.zeros_like(logits)
    yes[: len(positive)] = 1
    return F.binary_cross_entropy_with_logits(logits, yes)


def match_in_batch(
    model,
    image_tokens: Tensor,
    text_tokens: Tensor,
    input_ids: Tensor,
    generator: torch.Generator,
    logits: Tensor | None = None,
    same: Tensor | None = None,
) -> Tensor:
    """ALBEF's matching loss with negatives out of the batch.

    B pairs as they are, each picture with a wrong caption, each caption with
    a wrong picture: 3 B questions to ``model.match_logits``.  With the
    similarities ``logits`` [B, B] the negatives are hard, without random.
    What ``same`` [B, B] marks is never negative; by default equal captions.
    """
    same = same_captions(input_ids) if same is None else same
    if logits is None:
        texts = random_negatives(len(input_ids), generator, same)
        images = random_negatives(len(input_ids), generator, same)
    else:
        texts = hard_negatives(logits, generator, same)
        images = hard_negatives(logits.T, generator, same)
    own = torch.arange(len(input_ids))
    first, second = texts != NONE, images != NONE
    image_rows = torch.cat([own, own[first], images[second]])
    text_rows = torch.cat([own, texts[first], own[second]])
    answers = model.match_logits(
        image_tokens[image_rows], text_tokens[text_rows], input_ids[text_rows]
    )
    return matching_loss(answers[: len(own)], answers[len(own) :])


# Which region does a phrase speak of?


def patch_cover(boxes: Tensor, side: int) -> Tensor:
    """How much of each patch a box covers: [..., 4] → [..., side²].

    Boxes are (x0, y0, x1, y1) as shares of the picture's side.
    """
    edges = torch.arange(side + 1, device=boxes.device) / side
    low, high = boxes[..., :2, None], boxes[..., 2:, None]  # [..., 2, 1]
    covered = torch.minimum(high, edges[1:]) - torch.maximum(low, edges[:-1])
    across, down = covered.clamp(min=0).unbind(-2)  # [..., side]
    return (down[..., :, None] * across[..., None, :]).flatten(-2)


def pool_regions(patch_embeds: Tensor, boxes: Tensor) -> Tensor:
    """Mean patch of each box: [B, T, D] and [B, R, 4] → [B, R, D].

    A patch counts as much as the box covers of it (:func:`patch_cover`).  A
    box without area gives zeros.  The result is L2-normalised.
    """
    side = round(patch_embeds.shape[1] ** 0.5)
    pooled = patch_cover(boxes, side) @ patch_embeds  # [B, R, D]
    return F.normalize(pooled, dim=-1)


def region_word_logits(
    region_embeds: Tensor,
    word_embeds: Tensor,
    logit_scale: Tensor | float,
    logit_bias: Tensor | float = 0.0,
) -> Tensor:
    """Every region with every word of its own caption: [B, R, L].

    ``region_embeds`` [B, R, D], ``word_embeds`` [B, L, D], L2-normalised.
    Bounded as in GLIP, so that large scales give no infinities.
    """
    logits = logit_scale * region_embeds @ word_embeds.transpose(1, 2)
    return (logits + logit_bias).clamp(-5e4, 5e4)


def focal_loss(
    logits: Tensor,
    truth: Tensor,
    mask: Tensor | None = None,
    alpha: float = 0.25,
    gamma: float = 2.0,
) -> Tensor:
    """Binary cross-entropy that cares little for what is easy: mean.

    ``logits`` [...]; ``truth`` bool and ``mask`` bool (what counts) broadcast
    to its shape.  ``alpha`` weighs yes against no, ``gamma`` 0 takes the
    focus away.  Nothing to count: 0.
    Source: Lin et al. 2017, arXiv 1708.02002.
    """
    yes = truth.to(logits.dtype)
    losses = F.binary_cross_entropy_with_logits(logits, yes, reduction="none")
    right = torch.exp(-losses)  # the probability of the true answer
    side = alpha * yes + (1 - alpha) * (1 - yes)
    losses = side * (1 - right).pow(gamma) * losses
    if mask is None:
        mask = torch.ones_like(truth, dtype=torch.bool)
    counted = mask.expand_as(losses)
    return (losses * counted).sum() / counted.sum().clamp(min=1)


def grounding_loss(
    logits: Tensor, region_words: Tensor, regions: Tensor, words: Tensor
) -> Tensor:
    """GLIP's loss: a region says yes to every word of its phrase.

    ``logits`` [B, R, L] of :func:`region_word_logits`, ``region_words``
    [B, R, L] the truth, ``regions`` [B, R] and ``words`` [B, L] tell which
    exist, all bool.  The sum of focal losses over the number of yeses.
    Source: Li et al. 2021, arXiv 2112.03857.
    """
    exists = regions[..., None] & words[:, None, :]
    mean = focal_loss(logits, region_words, exists)
    yeses = (region_words & exists).sum().clamp(min=1)
    return mean * exists.sum() / yeses


def region_concept_loss(
    region_embeds: Tensor,
    concept_embeds: Tensor,
    labels: Tensor,
    logit_scale: Tensor | float,
) -> Tensor:
    """RegionCLIP's loss: each region picks its concept out of a list.

    ``region_embeds`` [..., D] and ``concept_embeds`` [C, D], L2-normalised,
    ``labels`` [...] the right concept, -1 where there is none (such regions
    do not count; if none does: 0).
    Source: Zhong et al. 2021, arXiv 2112.09106.
    """
    logits = logit_scale * region_embeds @ concept_embeds.T
    flat = labels.flatten()
    losses = F.cross_entropy(
        logits.flatten(0, -2), flat, ignore_index=-1, reduction="sum"
    )
    return losses / (flat >= 0).sum().clamp(min=1)
