"""Does this caption belong to this picture?  A yes-or-no question."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

NONE = -1  # no negative to be had


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
