"""Vectors of pixels: a trunk with the pixels' edges, and CLIP's patches in it.

Proposers and classifiers of pixels start from the same map, at the same
resolution, so that what is compared is what they do with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...models.inside import as_map, as_tokens
from ...seeding import seeded_weights
from ...training import descend
from ..pictures import DensePictures
from ..supervision import Masked
from .dense_student import Trunk
from .losses import softmax_ce_ignore
from .refine import shrink_labels, upsample
from .texts import background_classifier, class_scores, text_classifier


class SharpTrunk(nn.Module):
    """Features of a picture, and the same on twice the grid with edges."""

    def __init__(self, clip, width: int = 64):
        super().__init__()
        self.trunk = Trunk(clip, width)
        self.edges = nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(16, width, 3, padding=1),
        )
        side = self.trunk.fine
        self.where = nn.Parameter(0.02 * torch.randn(1, width, side, side))

    @property
    def fine(self) -> int:
        """The side of the sharp map: twice the trunk's, four cells a patch."""
        return 2 * self.trunk.fine

    def features(self, pictures: DensePictures) -> Tensor:
        """[N, width, h, w], of pixels and hidden states."""
        return self.trunk(pictures) + self.where

    def sharpened(self, features: Tensor, pictures: DensePictures) -> Tensor:
        """[N, width, 2 h, 2 w]: twice the grid, with edges that pixels show."""
        edges = self.edges(pictures.pixel_values)
        smooth, edges = (upsample(x, self.fine) for x in (features, edges))
        return F.gelu(smooth + edges)


class NearMap(SharpTrunk):
    """``net(pictures)`` [N, D, 4 g, 4 g], L2-normalised: CLIP's patches at first.

    What the trunk adds to them starts from zero.
    """

    def __init__(self, clip, seed: int = 0):
        with seeded_weights(seed):
            super().__init__(clip)
            self.head = nn.Conv2d(self.edges[-1].out_channels, clip.embed_dim, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, pictures: DensePictures) -> Tensor:
        sharp = self.sharpened(self.features(pictures), pictures)
        near = upsample(as_map(pictures.dense), self.fine)
        return F.normalize(near + self.head(sharp), dim=1)


@dataclass(frozen=True)
class PixelClassifier:
    """Every pixel is named by itself, by cosines with names and places."""

    clip: object
    net: NearMap

    @property
    def trained(self) -> int:
        return sum(p.numel() for p in self.net.parameters())

    def logits(self, pictures: DensePictures, names: list[str]) -> Tensor:
        """Scaled cosines [N, C + 1, 4 g, 4 g], the background last."""
        W, places = text_classifier(self.clip, names), background_classifier(self.clip)
        scores = class_scores(as_tokens(self.net(pictures)), W, places)
        return self.clip.logit_scale * scores

    def scores(self, pictures, names, seen=None) -> Tensor:
        with torch.no_grad():
            return upsample(self.logits(pictures, names), pictures.images.shape[1])


def train_pixels(clip, data: Masked, seed: int = 0, steps: int = 150):
    """A :class:`PixelClassifier` by cross-entropy on base masks.

    Pictures, steps and step size are those of the proposer.
    """
    model = PixelClassifier(clip, NearMap(clip, seed))
    labels = shrink_labels(data.labels, model.net.fine)
    data.pictures.prepare("pixel_values")

    def loss(step: int, rows: Tensor) -> Tensor:
        pictures, y = data.pictures[rows], labels[rows]
        if step % 2:
            pictures, y = pictures.mirrored(), y.flip(-1)
        return softmax_ce_ignore(model.logits(pictures, data.names), y)

    how = {"steps": steps, "lr": 3e-3, "seed": seed, "clip_norm": 1.0}
    descend(model.net.parameters(), loss, len(data), **how)
    model.net.requires_grad_(False)
    return model
