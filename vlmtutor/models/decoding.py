"""From scores of next words to captions: greedy and beam search."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .words import END, PAD, START


def greedy(
    next_logits: Callable[[Tensor], Tensor],
    rows: int,
    length: int = 24,
    start: int = START,
    end: int = END,
) -> Tensor:
    """Always the likeliest next word: input_ids [rows, at most length].

    ``next_logits`` maps input_ids [rows, t] to scores of the next word
    [rows, V].  After ``end`` a row is filled with 0.
    """
    ids = torch.full((rows, 1), start)
    done = torch.zeros(rows, dtype=torch.bool)
    while ids.shape[1] < length and not done.all():
        word = next_logits(ids).argmax(dim=-1)
        word = word.masked_fill(done, PAD)
        ids = torch.cat([ids, word[:, None]], dim=1)
        done |= word == end
    return ids


def beam(
    next_logits: Callable[[Tensor], Tensor],
    width: int = 4,
    length: int = 24,
    length_penalty: float = 1.0,
    start: int = START,
    end: int = END,
) -> tuple[Tensor, float]:
    """The best of ``width`` captions kept alive: (input_ids [t], score).

    For one picture; ``next_logits`` maps input_ids [b, t] to [b, V].  The
    score is the sum of log-probabilities over the number of words to the
    power ``length_penalty`` (0: the plain sum, which likes short captions).
    Captions that do not end within ``length`` tokens count as they are.
    Raises ValueError for a ``width`` below 1.
    """
    if width < 1:
        raise ValueError(f"at least one beam, not {width}")
    ids = torch.full((1, 1), start)
    scores = torch.zeros(1)
    finished: list[tuple[float, Tensor]] = []

    def rate(score: float, tokens: int) -> float:
        return score / max(1, tokens - 1) ** length_penalty

    while ids.shape[1] < length and len(ids):
        log_probs = next_logits(ids).log_softmax(dim=-1)  # [b, V]
        total = scores[:, None] + log_probs
        # twice as many as needed: half of them may end here
        best = total.flatten().topk(min(2 * width, total.numel()))
        rows = best.indices // total.shape[1]
        words = best.indices % total.shape[1]
        longer = torch.cat([ids[rows], words[:, None]], dim=1)
        ended = words == end
        for k in ended.nonzero().flatten().tolist():
            if k < width:
                score = rate(best.values[k].item(), longer.shape[1])
                finished.append((score, longer[k]))
        ids = longer[~ended][:width]
        scores = best.values[~ended][:width]
        if len(finished) >= width and len(ids):
            # nothing alive can still win if it never gains by growing
            worst = sorted(score for score, _ in finished)[-width]
            reach = length if length_penalty > 0 else ids.shape[1]
            if rate(scores[0].item(), reach) <= worst:
                break
    finished += [
        (rate(score, ids.shape[1]), row)
        for score, row in zip(scores.tolist(), ids, strict=True)
        if ids.shape[1] >= length
    ]
    score, row = max(finished, key=lambda found: found[0])
    return row, score


@torch.no_grad()
def write_captions(
    model, pixel_values: Tensor, beams: int = 1, length: int = 24
) -> list[Tensor]:
    """Captions of pictures [N, 3, S, S] as N rows of input_ids.

    ``model`` is a causal ``TwoLeg``; ``beams`` 1 is greedy.  Raises
    ValueError for a model that sees later words: it cannot write.
    """
    if not model.config.causal:
        raise ValueError("writing needs a causal model: causal=True")
    length = min(length, model.config.text_length)
    tokens = model.image_tokens(pixel_values)

    def after(images: Tensor) -> Callable[[Tensor], Tensor]:
        def next_logits(ids: Tensor) -> Tensor:
            shown = images.expand(len(ids), -1, -1)
            words = model.text_tokens(ids)
            return model.word_logits(shown, words, ids)[:, -1]

        return next_logits

    if beams == 1:
        return list(greedy(after(tokens), len(tokens), length))
    return [beam(after(t[None]), beams, length)[0] for t in tokens]
