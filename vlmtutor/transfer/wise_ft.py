"""WiSE-FT: fine-tune, then meet the original weights half-way.

Wortsman et al. 2021, "Robust Fine-tuning of Zero-shot Models", arXiv
2109.01903.  Tuned: the image encoder and a linear head that starts from the
text classifier; or the head alone with ``blocks=0``.  The predictor's weights
lie between the zero-shot ones (``alpha`` 0) and the fine-tuned ones (1);
``at(alpha)`` gives another mixture of the same fit.  Simplified: only the last
``blocks`` layers are tuned, tens of steps, no augmentation.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import ZeroShot, tune
from .pictures import Pictures


class WiseFT(ZeroShot):
    """A copy of the image encoder whose last ``blocks`` layers are tuned.

    Raises ValueError where it has fewer layers.
    """

    batch_size = 64

    def __init__(self, clip, classes, blocks: int):
        super().__init__(clip, classes)
        layers = clip.model.vision_model.encoder.layers
        if not 0 <= blocks <= len(layers):
            raise ValueError(f"blocks is from 0 to {len(layers)}")
        self.reads = ("pixel_values" if blocks else "image_embeds",)
        self.head = nn.Parameter(self.weights.clone())  # [C, D]
        # A copy of CLIP's image side whose parameters are not counted: only
        # those in ``tuned`` are this learner's.
        side = nn.ModuleList([clip.model.vision_model, clip.model.visual_projection])
        self._side = [copy.deepcopy(side).requires_grad_(False)]
        vision, projection = self._side[0]
        last = vision.encoder.layers[len(layers) - blocks :]
        parts = [*last, vision.post_layernorm, projection] if blocks else []
        self.tuned = nn.ModuleList(parts).requires_grad_(True)
        self._ends = None

    def logits(self, pictures: Pictures) -> Tensor:
        if self.reads == ("image_embeds",):
            embeds = pictures.image_embeds
        else:
            vision, projection = self._side[0]
            output = vision(pixel_values=pictures.pixel_values)
            embeds = F.normalize(projection(output.pooler_output), dim=-1)
        return self.clip.logit_scale * embeds @ self.head.T

    def remember(self, start: list[Tensor]) -> None:
        """Keep both ends of the line between two sets of weights, [...] each."""
        self._ends = start, [p.detach().clone() for p in self.parameters()]

    def at(self, alpha: float) -> WiseFT:
        """A predictor with (1 - alpha) · zero-shot + alpha · fine-tuned.

        Raises ValueError for one whose head was replaced.
        """
        if self._ends is None:
            raise ValueError("mix first, then ask for other classes")
        other = copy.deepcopy(self, {id(self.clip): self.clip})
        pairs = zip(other.parameters(), *self._ends, strict=True)
        for parameter, start, end in pairs:
            parameter.data = torch.lerp(start, end, alpha)
        return other

    def with_classes(self, classes) -> WiseFT:
        """The mixed image encoder with the text classifier of other names."""
        if list(classes) == self.classes:
            return self
        other = copy.deepcopy(self, {id(self.clip): self.clip})
        other.set_classes(list(classes))
        other.head = nn.Parameter(other.weights.clone())
        other._ends = None  # the old head belongs to the old names
        return other


def fit(
    clip,
    pictures,
    labels,
    classes,
    seed: int = 0,
    *,
    alpha: float = 0.5,
    blocks: int = 2,
    steps: int = 40,
    lr: float = 1e-4,
    batch_size: int = 16,
) -> WiseFT:
    """Fine-tune on ``pictures`` with ``labels`` [N] and mix at ``alpha``."""
    learner = WiseFT(clip, classes, blocks)
    start = [p.detach().clone() for p in learner.parameters()]
    tune(learner, pictures, labels, steps, lr, batch_size, seed)
    learner.remember(start)
    return learner.at(alpha)
