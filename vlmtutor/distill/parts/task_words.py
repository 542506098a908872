"""Texts of names that also say what is to be done with them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...seeding import seeded_weights
from ...transfer.prompts import encode_prompts, prompt_tokens

TASKS = ("semantic", "instance", "panoptic")
TASK_WORDS = 4  # vectors of a task's context


class Words(nn.Module):
    """Texts of names for a task: ``words(names, task)`` [C, D].

    The task's vectors stand first, then those of all names, then the name.
    """

    def __init__(self, clip, context: Tensor, seed: int):
        super().__init__()
        self.clip = [clip]
        self.register_buffer("context", context)  # learned on crops
        shape = (len(TASKS), TASK_WORDS, context.shape[1])
        with seeded_weights(seed):
            self.tasks = nn.Parameter(0.02 * torch.randn(shape))

    def forward(
        self, names: list[str], task: str, context: Tensor | None = None
    ) -> Tensor:
        context = self.context if context is None else context
        context = torch.cat([self.tasks[TASKS.index(task)], context])
        (clip,) = self.clip
        return encode_prompts(clip, prompt_tokens(clip, names, len(context)), context)
