"""Soft prompts: vectors in place of the words before a class name.

CLIP's text encoder reads ``<s> v1 … vM dog </s>``, where the M context
vectors may be anything, not only embeddings of words.  They enter by hooks on
the library's own model, so everything else is computed as for a sentence, and
vectors that are embeddings of words give exactly what the words give.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..seeding import generator

CONTEXT = "a picture of a"


@dataclass(frozen=True)
class PromptTokens:
    """Token ids of ``<s> [M places] name </s>``, one row a class: [C, L].

    Padding stands on the right; what stands in the M places does not matter.
    """

    input_ids: Tensor
    attention_mask: Tensor
    n_context: int

    def repeat(self, times: int) -> PromptTokens:
        """The rows once for each of ``times`` pictures: [times · C, L]."""
        return PromptTokens(
            self.input_ids.repeat(times, 1),
            self.attention_mask.repeat(times, 1),
            self.n_context,
        )


def prompt_tokens(clip, classes: Sequence[str], n_context: int) -> PromptTokens:
    """Make room for ``n_context`` vectors before each class name.

    Raises ValueError when a prompt gets longer than the model can read.
    """
    inputs = clip.tokenize(classes)
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    limit = clip.model.config.text_config.max_position_embeddings
    if ids.shape[1] + n_context > limit:
        raise ValueError(
            f"{n_context} context vectors and a name of "
            f"{ids.shape[1] - 2} tokens exceed the {limit} that fit"
        )
    # Any word will do, as long as it is none of the special tokens.
    word = ids[0, 1].expand(len(ids), n_context)
    one = torch.ones_like(word)
    return PromptTokens(
        input_ids=torch.cat([ids[:, :1], word, ids[:, 1:]], dim=1),
        attention_mask=torch.cat([mask[:, :1], one, mask[:, 1:]], dim=1),
        n_context=n_context,
    )


def start_context(
    clip, context: str | None = CONTEXT, n_context: int = 4, seed: int = 0
) -> Tensor:
    """Context vectors to start from: [M, W], W the text encoder's width.

    The embeddings of the words in ``context``; when it is None, ``n_context``
    random vectors with standard deviation 0.02, as in CoOp.
    """
    table = clip.model.text_model.embeddings.token_embedding.weight.detach()
    if context is None:
        shape = (n_context, table.shape[1])
        return 0.02 * torch.randn(shape, generator=generator(seed))
    ids = clip.tokenize([context])["input_ids"][0, 1:-1]  # without <s>, </s>
    return table[ids].clone()


@contextlib.contextmanager
def hooks(*handles) -> Iterator[None]:
    """Take hooks off again, whatever happens."""
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _put_context(hidden: Tensor, context: Tensor) -> Tensor:
    """Overwrite places 1 … M of [C, L, W] with context vectors."""
    context = context.expand(len(hidden), -1, -1)
    end = 1 + context.shape[1]
    return torch.cat([hidden[:, :1], context, hidden[:, end:]], dim=1)


def encode_prompts(
    clip, tokens: PromptTokens, context: Tensor, deep: Sequence[Tensor] = ()
) -> Tensor:
    """Prompts → text_embeds [C, D], L2-normalised; gradients flow.

    ``context`` is [M, W], or [C, M, W] with a context of its own per row.
    ``deep[k]`` [M, W] replaces what the context has become before layer
    k + 1, counting from 0.  Raises ValueError where ``context`` does not fit
    the places, or ``deep`` the layers.
    """
    if context.shape[-2] != tokens.n_context:
        raise ValueError(
            f"{context.shape[-2]} context vectors for {tokens.n_context} places"
        )
    text = clip.model.text_model
    layers = text.encoder.layers
    if len(deep) > len(layers) - 1:
        raise ValueError(f"only {len(layers) - 1} layers follow the first")
    handles = [
        text.embeddings.token_embedding.register_forward_hook(
            lambda module, args, output: _put_context(output, context)
        )
    ]
    for layer, vectors in zip(layers[1:], deep, strict=False):
        handles.append(
            layer.register_forward_pre_hook(
                lambda module, args, vectors=vectors: (
                    _put_context(args[0], vectors),
                    *args[1:],
                )
            )
        )
    with hooks(*handles):
        return clip.text_features(
            {"input_ids": tokens.input_ids, "attention_mask": tokens.attention_mask}
        )


def nearest_words(clip, context: Tensor, k: int = 3) -> list[list[tuple[str, float]]]:
    """For each context vector of [M, W] the ``k`` nearest tokens, with distances.

    Euclidean distance between embeddings, as in CoOp's Table 4; the vectors
    need not mean what their neighbours mean.
    """
    table = clip.model.text_model.embeddings.token_embedding.weight.detach()
    distances = torch.cdist(context.detach(), table)  # [M, V]
    near = distances.topk(k, largest=False)
    return [
        [
            (clip.tokenizer.convert_ids_to_tokens(int(i)), float(d))
            for d, i in zip(values, ids, strict=True)
        ]
        for values, ids in zip(near.values, near.indices, strict=True)
    ]
