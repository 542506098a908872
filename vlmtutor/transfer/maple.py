"""MaPLe: deep text prompts, and visual prompts computed from them.

Khattak et al. 2022, "MaPLe: Multi-modal Prompt Learning", arXiv 2210.03117.
Tuned: M context vectors for each of the first ``depth`` layers of the text
encoder, and a linear map per layer that turns them into visual tokens for the
image encoder: the two sides cannot drift apart.  Simplified: depth 2 of the
four layers of text and six of pictures here, in place of 9 of 12; AdamW.  With
``coupled=False`` the visual tokens are free, which is the paper's baseline of
independent prompts (IVLP); they start where the coupled ones do.  Simplified
also: M is 4 words, where the authors have 2.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..seeding import seeded_weights
from .base import Learner, tune
from .pictures import Pictures
from .prompts import encode_prompts, prompt_tokens, start_context
from .visual_prompts import encode_prompted


class MaPLe(Learner):
    """Contexts for ``depth`` layers, and the tokens ``coupled`` to them.

    Raises ValueError where the encoders have no such depth.
    """

    reads = ("pixel_values",)
    batch_size = 64

    def __init__(self, clip, classes, depth=2, coupled=True, seed=0):
        config = clip.model.config
        most = min(
            config.text_config.num_hidden_layers, config.vision_config.num_hidden_layers
        )
        if not 1 <= depth <= most:
            raise ValueError(f"depth is from 1 to {most}, not {depth}")
        start = start_context(clip)  # [M, W]
        self.n_context, W = start.shape
        super().__init__(clip, classes)
        width = config.vision_config.hidden_size
        with seeded_weights(seed):
            deep = 0.02 * torch.randn(depth - 1, self.n_context, W)
            self.context = nn.Parameter(torch.cat([start[None], deep]))
            couplings = nn.ModuleList(nn.Linear(W, width) for _ in range(depth))
        self.couplings, self.free = couplings, None
        if not coupled:
            start = torch.stack(self.visual_prompts()).detach()
            self.couplings, self.free = None, nn.Parameter(start)

    def set_classes(self, classes: list[str]) -> None:
        super().set_classes(classes)
        self.tokens = prompt_tokens(self.clip, classes, self.n_context)

    def visual_prompts(self) -> list[Tensor]:
        """Tokens for each of the first layers: depth times [M, W_vision]."""
        if self.couplings is None:
            return list(self.free)
        pairs = zip(self.couplings, self.context, strict=True)
        return [couple(context) for couple, context in pairs]

    def logits(self, pictures: Pictures) -> Tensor:
        first, *deep = self.context  # each [M, W_text]
        texts = encode_prompts(self.clip, self.tokens, first, deep)
        embeds = encode_prompted(
            self.clip, pictures.pixel_values, self.visual_prompts()
        )
        return self.clip.logit_scale * embeds @ texts.T


def fit(
    clip,
    pictures,
    labels,
    classes,
    seed: int = 0,
    *,
    depth: int = 2,
    coupled: bool = True,
    steps: int = 30,
    lr: float = 2e-3,
    batch_size: int = 16,
) -> MaPLe:
    """Tune on ``pictures`` (pixels) with ``labels`` [N]."""
    learner = MaPLe(clip, classes, depth, coupled, seed)
    return tune(learner, pictures, labels, steps, lr, batch_size, seed)
