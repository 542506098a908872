"""UPT: text and visual prompts that come out of one small transformer.

Zang et al. 2022, "Unified Vision and Language Prompt Learning", arXiv
2210.07225.  Tuned: n shared vectors U and one transformer layer that lets them
see each other; its outputs are split into context vectors for the text encoder
and tokens for the image encoder.  Simplified: written after the paper's
description, as no code for it was released; prompts enter the first layers
only; each half has a projection to its encoder's width, from zero, and is added
to a fixed place: hand-written words as in CoOp, and copies of the class token,
where random tokens as in VPT can halve the accuracy before any step.  So UPT
and its single arms start from one place, and CoOp within a few points of it: a
token always takes its share of every softmax, so none is quite harmless.
``arms`` tells which of the two halves is tuned: with one alone the other stays
where it starts.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..seeding import seeded_weights
from .base import Learner, tune
from .packed_prompts import encode_packed, pack
from .pictures import Pictures
from .prompts import prompt_tokens, start_context
from .visual_prompts import class_tokens, encode_prompted

ARMS = ("both", "text", "pictures")


class UPT(Learner):
    """``prompts()`` is what the small transformer says to both encoders.

    Raises ValueError for ``arms`` that are none of :data:`ARMS`.
    """

    reads = ("pixel_values",)
    batch_size = 64

    def __init__(self, clip, classes, n_visual=5, arms="both", seed=0):
        if arms not in ARMS:
            raise ValueError(f"arms is one of {', '.join(ARMS)}, not {arms!r}")
        words = start_context(clip)  # [M, W], not tuned
        self.n_context, W = words.shape
        super().__init__(clip, classes)
        self.words = words
        self.visual = class_tokens(clip, n_visual)  # [p, W_vision], not tuned
        n = self.n_context + n_visual
        with seeded_weights(seed):
            self.unified = nn.Parameter(0.02 * torch.randn(n, W))
            # U' = U + attention(norm(U));  Û = U' + MLP(norm(U'))
            self.mix = nn.TransformerEncoderLayer(
                W,
                nhead=1,
                dim_feedforward=W,
                dropout=0.0,
                activation="gelu",
                batch_first=True,
                norm_first=True,
            )
            self.to_text = nn.Linear(W, W, bias=False)
            self.to_vision = nn.Linear(W, self.visual.shape[1], bias=False)
        nn.init.zeros_(self.to_text.weight)
        nn.init.zeros_(self.to_vision.weight)
        if arms == "text":
            self.to_vision = None
        if arms == "pictures":
            self.to_text = None

    def set_classes(self, classes: list[str]) -> None:
        super().set_classes(classes)
        self.tokens = prompt_tokens(self.clip, classes, self.n_context)
        self.packed = pack(self.tokens)

    def prompts(self) -> tuple[Tensor, Tensor]:
        """Context [M, W_text] and visual tokens [p, W_vision]."""
        mixed = self.mix(self.unified[None])[0]  # [M + p, W]
        M = self.n_context
        context, visual = self.words, self.visual
        if self.to_text is not None:
            context = context + self.to_text(mixed[:M])
        if self.to_vision is not None:
            visual = visual + self.to_vision(mixed[M:])
        return context, visual

    def logits(self, pictures: Pictures) -> Tensor:
        context, visual = self.prompts()
        texts = encode_packed(self.clip, self.packed, context)
        embeds = encode_prompted(self.clip, pictures.pixel_values, [visual])
        return self.clip.logit_scale * embeds @ texts.T


def fit(
    clip,
    pictures,
    labels,
    classes,
    seed: int = 0,
    *,
    n_visual: int = 5,
    arms: str = "both",
    steps: int = 30,
    lr: float = 2e-3,
    batch_size: int = 16,
) -> UPT:
    """Tune on ``pictures`` (pixels) with ``labels`` [N]."""
    learner = UPT(clip, classes, n_visual, arms, seed)
    return tune(learner, pictures, labels, steps, lr, batch_size, seed)
