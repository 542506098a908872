"""Vectors in place of words, read by CLIP's text encoder (BARON's sentences)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from ...naming import TEMPLATES
from ...transfer.prompts import PromptTokens, encode_prompts, hooks
from ..pictures import once


def slots(clip, words: Tensor, spoken: Tensor) -> PromptTokens:
    """Sentences with room for ``words`` [R, M, W]: those ``spoken`` bool [R, M].

    Words that are not spoken are masked, as padding is.
    """
    ids = clip.tokenize(["a"])["input_ids"][0]
    start, word, end = ids[0], ids[1], ids[-1]
    middle = word.expand(words.shape[:2])
    edge = torch.ones(len(words), 1, dtype=torch.long)
    return PromptTokens(
        torch.cat([start * edge, middle, end * edge], 1),
        torch.cat([edge, spoken.long(), edge], 1),
        words.shape[1],
    )


@contextlib.contextmanager
def before_last_norm(clip) -> Iterator[list[Tensor]]:
    """Inside the ``with``: collects what the text encoder's last norm reads.

    Each is [M, L, W].
    """
    seen: list[Tensor] = []
    norm = clip.model.text_model.final_layer_norm
    with hooks(norm.register_forward_pre_hook(lambda m, args: seen.append(args[0]))):
        yield seen


def read(clip, words: Tensor, spoken: Tensor) -> tuple[Tensor, Tensor]:
    """Pseudo words [R, M, W], read by the text encoder; gradients flow.

    Texts in the joint space [R, D], and the end token's state before the last
    norm [R, W]; both L2-normalised.
    """
    with before_last_norm(clip) as seen:
        texts = encode_prompts(clip, slots(clip, words, spoken), words)
    return texts, F.normalize(seen[0][:, -1], dim=-1)


@torch.no_grad()
def name_states(clip, names: list[str]) -> Tensor:
    """The same states for names, mean of the templates': [C, W]."""
    kept = once(clip, "states of names", dict)
    for name in names:
        if name not in kept:
            inputs = clip.tokenize([t.replace("{}", name) for t in TEMPLATES])
            with before_last_norm(clip) as seen:
                clip.text_features(inputs)
            end = inputs["attention_mask"].sum(1) - 1
            states = seen[0][torch.arange(len(end)), end]
            kept[name] = F.normalize(F.normalize(states, dim=-1).mean(0), dim=0)
    return torch.stack([kept[name] for name in names])
