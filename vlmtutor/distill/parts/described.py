"""Names with a description of how their things look, read by CLIP."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...transfer.prompts import hooks, start_context
from ...world import find_category


def look(name: str) -> str:
    """How a thing of that name looks; nothing for what the world has not."""
    try:
        return find_category(name).descriptions[0]
    except KeyError:
        return ""


class Described(nn.Module):
    """``words(names)``: texts [C, D] of "[v1] name [v2] description"."""

    def __init__(self, clip):
        super().__init__()
        self.clip = clip
        self.vectors = nn.Parameter(start_context(clip, "a").repeat(2, 1))

    def forward(self, names: list[str]) -> Tensor:
        inputs = self.clip.tokenize([f"a {name} a {look(name)}" for name in names])
        # <s> and </s> of a name alone stand for <s> and the first vector
        second = [len(self.clip.tokenize([n])["input_ids"][0]) for n in names]
        rows = torch.arange(len(names))

        def put(module, args, output: Tensor) -> Tensor:
            output = output.clone()
            output[:, 1] = self.vectors[0]
            output[rows, second] = self.vectors[1]
            return output

        table = self.clip.model.text_model.embeddings.token_embedding
        with hooks(table.register_forward_hook(put)):
            return self.clip.text_features(inputs)
