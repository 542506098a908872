"""Soft prompts in one row: what they share is read once.

A text encoder that looks back only makes the same of ``<s> v1 … vM`` whatever
name follows.  So the prompts of all classes stand in one row, the context
first and the names behind it, and a name sees the context and itself, at the
positions that it has in a prompt of its own (packing: Krell et al. 2021, arXiv
2107.02027).  The embeddings are those of :func:`.prompts.encode_prompts`, for a
half to a third of the work where names are short.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .prompts import PromptTokens


@dataclass(frozen=True)
class PackedPrompts:
    """T tokens in one row: ``<s>``, M places, then C names with their ends.

    ``input_ids`` and ``positions`` [1, T]; ``sees`` [1, 1, T, T] is True where
    a token (row) may look at another (column); ``ends`` [C] are the places at
    which the prompts' embeddings are read.
    """

    input_ids: Tensor
    positions: Tensor
    sees: Tensor
    ends: Tensor
    n_context: int


def pack(tokens: PromptTokens) -> PackedPrompts:
    """The prompts of several classes as one row."""
    before = 1 + tokens.n_context
    ids, own = tokens.input_ids[:, before:], tokens.attention_mask[:, before:].bool()
    lengths = own.sum(1)  # of the names, ends included
    owner = torch.arange(len(ids)).repeat_interleave(lengths)
    owner = torch.cat([torch.full((before,), -1), owner])  # -1: what all share
    places = torch.arange(tokens.input_ids.shape[1])
    positions = torch.cat([places[:before], places[before:].expand_as(ids)[own]])
    theirs = (owner == owner[:, None]) | (owner == -1)
    return PackedPrompts(
        input_ids=torch.cat([tokens.input_ids[0, :before], ids[own]])[None],
        positions=positions[None],
        sees=theirs.tril()[None, None],
        ends=before + lengths.cumsum(0) - 1,
        n_context=tokens.n_context,
    )


def encode_packed(clip, prompts: PackedPrompts, context: Tensor) -> Tensor:
    """Prompts → text_embeds [C, D], L2-normalised; gradients flow.

    ``context`` is [M, W], or [B, M, W] for B contexts, each before all the
    names, and then text_embeds are [B, C, D].  Raises ValueError where it does
    not fit the places.
    """
    if context.shape[-2] != prompts.n_context:
        raise ValueError(
            f"{context.shape[-2]} context vectors for {prompts.n_context} places"
        )
    text = clip.model.text_model
    contexts = context if context.dim() == 3 else context[None]  # [B, M, W]
    words = text.embeddings.token_embedding(prompts.input_ids)  # [1, T, W]
    words = words.expand(len(contexts), -1, -1)
    after = 1 + prompts.n_context
    embeds = torch.cat([words[:, :1], contexts, words[:, after:]], dim=1)
    # Added here: the library takes no row longer than its positions.
    hidden = embeds + text.embeddings.position_embedding(prompts.positions)
    hidden = text.encoder(inputs_embeds=hidden, attention_mask=prompts.sees)
    hidden = text.final_layer_norm(hidden.last_hidden_state[:, prompts.ends])
    found = F.normalize(clip.model.text_projection(hidden).float(), dim=-1)
    return found if context.dim() == 3 else found[0]
