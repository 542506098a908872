"""Two ways to fill a grid of N pictures and M texts, and what they cost.

By embeddings each picture and each text is read once, N + M runs, and a
product does the rest.  By matching each pair is read together: N · M runs.
Models are those of :mod:`vlmtutor.models.frameworks`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from ..models.blocks import Block
from ..training import evaluating


def by_embeddings(
    model, pixel_values: Tensor, input_ids: Tensor, batch_size: int = 256
) -> Tensor:
    """Cosine similarities [N, M]: every picture and text is encoded once."""
    with evaluating(model):
        images = _in_parts(model.encode_images, batch_size, pixel_values)
        texts = _in_parts(model.encode_texts, batch_size, input_ids)
    return images @ texts.T


def by_matching(
    model, pixel_values: Tensor, input_ids: Tensor, batch_size: int = 256
) -> Tensor:
    """Match logits [N, M]: every pair goes through ``match_logits``.

    What a model computes for one picture or text alone is computed once.
    """
    with evaluating(model):
        images = _in_parts(model.image_tokens, batch_size, pixel_values)
        texts = _in_parts(model.text_tokens, batch_size, input_ids)
        N, M = len(images), len(texts)
        pairs = torch.cartesian_prod(torch.arange(N), torch.arange(M))
        logits = _in_parts(
            lambda rows: model.match_logits(
                images[rows[:, 0]], texts[rows[:, 1]], input_ids[rows[:, 1]]
            ),
            batch_size,
            pairs,
        )
    return logits.view(N, M)


def rerank(
    model,
    similarity: Tensor,
    pixel_values: Tensor,
    input_ids: Tensor,
    k: int = 8,
    batch_size: int = 256,
) -> Tensor:
    """Match logits for the ``k`` most similar texts of each picture.

    [N, M], minus infinity everywhere else: N · k pairs instead of N · M.
    Raises ValueError where ``similarity`` is no grid of these, or k below 1.
    """
    if similarity.shape != (len(pixel_values), len(input_ids)) or k < 1:
        raise ValueError(
            f"similarity is [pictures, texts] = [{len(pixel_values)}, "
            f"{len(input_ids)}] and k at least 1, not {list(similarity.shape)} and {k}"
        )
    N, M = similarity.shape
    best = similarity.topk(min(k, M), dim=1).indices  # [N, k]
    rows = torch.arange(N).repeat_interleave(best.shape[1])
    pairs = torch.stack([rows, best.flatten()], dim=1)
    logits = torch.full((N, M), float("-inf"))
    with evaluating(model):
        images = _in_parts(model.image_tokens, batch_size, pixel_values)
        texts = _in_parts(model.text_tokens, batch_size, input_ids)
        logits[pairs[:, 0], pairs[:, 1]] = _in_parts(
            lambda p: model.match_logits(
                images[p[:, 0]], texts[p[:, 1]], input_ids[p[:, 1]]
            ),
            batch_size,
            pairs,
        )
    return logits


def prefers(
    model,
    pixel_values: Tensor,
    right: Tensor,
    wrong: Tensor,
    matching: bool = False,
    batch_size: int = 256,
) -> float:
    """How often the right one of two captions fits better; chance is 0.5.

    ``right`` and ``wrong`` [N, L] are input_ids for the N pictures.  Scores
    are similarities, or match logits with ``matching``; a tie is no success.
    """

    def score(ids):
        if matching:
            return lambda rows: model.match_logits(
                model.image_tokens(pixel_values[rows]),
                model.text_tokens(ids[rows]),
                ids[rows],
            )
        return lambda rows: (
            model.encode_images(pixel_values[rows]) * model.encode_texts(ids[rows])
        ).sum(-1)

    rows = torch.arange(len(pixel_values))
    with evaluating(model):
        good = _in_parts(score(right), batch_size, rows)
        bad = _in_parts(score(wrong), batch_size, rows)
    return float((good > bad).float().mean())


class Counter:
    """``runs``: sequences that went through a transformer block."""

    runs = 0


@contextlib.contextmanager
def counting(model: nn.Module) -> Iterator[Counter]:
    """Count what the model's blocks read inside the ``with``.

    One sequence through one block is one run; a convolutional encoder has no
    blocks and counts nothing.
    """
    counter = Counter()

    def note(block, inputs, output):
        counter.runs += len(output)

    hooks = [
        part.register_forward_hook(note)
        for part in model.modules()
        if isinstance(part, Block)
    ]
    try:
        yield counter
    finally:
        for hook in hooks:
            hook.remove()


def _in_parts(function, size: int, rows: Tensor) -> Tensor:
    parts: Sequence[Tensor] = rows.split(size) if len(rows) else [rows]
    return torch.cat([function(part) for part in parts])
