"""Patches that are told what is being looked for, and ask for it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...objectives.alignment import patch_cover
from ...seeding import seeded_weights
from ...transfer.prompts import encode_prompts, prompt_tokens, start_context
from ..supervision import IGNORE, Boxed
from .losses import softmax_ce_ignore
from .texts import text_classifier

GATE = 0.1  # at first
ADAPTED = ("none", "text", "both")


class Adapted(nn.Module):
    """``adapted(dense, names)``: patches [N, T, D] and texts [C, D], unit.

    ``adapt`` "none" leaves both as they are, "text" has learned prompts,
    "both" a visual prompt as well.  Raises ValueError for anything else.
    """

    def __init__(self, clip, adapt: str = "both", seed: int = 0):
        super().__init__()
        if adapt not in ADAPTED:
            raise ValueError(f"adapt is one of {ADAPTED}, not {adapt!r}")
        self.clip, self.adapt, D = clip, adapt, clip.embed_dim
        self.context = nn.Parameter(start_context(clip, seed=seed))
        with seeded_weights(seed):
            self.query, self.value = nn.Linear(D, D), nn.Linear(D, D)
        for layer in (self.query, self.value):  # at first texts answer as they are
            nn.init.eye_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.gate = nn.Parameter(torch.tensor(GATE))

    def tuned(self) -> list[nn.Parameter]:
        """What is trained."""
        if self.adapt == "none":
            return []
        more = [*self.query.parameters(), *self.value.parameters(), self.gate]
        return [self.context] + (more if self.adapt == "both" else [])

    def texts(self, names: list[str]) -> Tensor:
        """The names' texts: [C, D]."""
        if self.adapt == "none":
            return text_classifier(self.clip, names)
        tokens = prompt_tokens(self.clip, names, len(self.context))
        return encode_prompts(self.clip, tokens, self.context)

    def forward(self, dense: Tensor, names: list[str]) -> tuple[Tensor, Tensor]:
        texts = self.texts(names)
        if self.adapt != "both":
            return dense, texts
        logits = self.clip.logit_scale * self.query(dense) @ texts.T
        answer = logits.softmax(-1) @ self.value(texts)
        return F.normalize(dense + self.gate * answer, dim=-1), texts


def patch_labels(data: Boxed, side: int) -> Tensor:
    """Names of patches that a base box covers by half: [N, side²], else 255.

    Where boxes overlap the smaller one has the patch.
    """
    size = data.pictures.images.shape[1]
    maps = torch.full((len(data), side**2), IGNORE)
    for own, boxes, labels in zip(maps, data.boxes, data.labels, strict=True):
        area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
        inside = patch_cover(boxes / size, side) * side**2 >= 0.5
        for k in area.argsort(descending=True).tolist():
            own[inside[k]] = labels[k]
    return maps


def patch_loss(
    adapted: Adapted, dense: Tensor, labels: Tensor, names: list[str]
) -> Tensor:
    """Cross-entropy of patches [B, T, D] and their labels [B, T] among names."""
    patches, texts = adapted(dense, names)
    logits = adapted.clip.logit_scale * patches @ texts.T
    return softmax_ce_ignore(logits.transpose(1, 2)[..., None], labels[..., None])
