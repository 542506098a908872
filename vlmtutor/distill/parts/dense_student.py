"""One small student for all methods that end in a student.

It sees raw pixels and two of CLIP's earlier hidden states, on a grid twice as
fine as the patches, and gives one vector a cell; text embeddings, which stay
as they are, classify it.  So it can name what it never had labels for.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...models.inside import as_map, as_tokens
from ...seeding import seeded_weights
from ...training import descend
from ..pictures import DensePictures, batched, taps
from .losses import softmax_ce_ignore
from .refine import shrink_labels, upsample
from .texts import background_classifier, class_scores, text_classifier

OPEN = 254  # the label of pixels that the student has to guess itself
READS = 2  # hidden states that are read, of those that are kept


class Trunk(nn.Module):
    """Pixels and hidden states mixed: [N, width, 2 g, 2 g]."""

    def __init__(self, clip, width: int = 64):
        super().__init__()
        config = clip.model.config.vision_config
        self.layers = taps(clip)[:READS]
        self.fine = 2 * config.image_size // config.patch_size
        inputs = len(self.layers) * config.hidden_size
        self.tokens = nn.Conv2d(inputs, width, 1)
        self.pixels = nn.Sequential(
            nn.Conv2d(3, width // 2, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(width // 2, width, 3, stride=2, padding=1),
        )
        self.mix = nn.Sequential(
            nn.GroupNorm(8, 2 * width),
            nn.GELU(),
            nn.Conv2d(2 * width, width, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.GELU(),
        )

    def forward(self, pictures: DensePictures) -> Tensor:
        states = [
            F.layer_norm(h, h.shape[-1:])
            for h in (pictures.hidden(k)[:, 1:] for k in self.layers)
        ]
        tokens, pixels = as_map(torch.cat(states, -1)), pictures.pixel_values
        size = (self.fine, self.fine)
        tokens = F.interpolate(
            self.tokens(tokens), size=size, mode="bilinear", align_corners=False
        )
        pixels = self.pixels(pixels)
        if pixels.shape[-2:] != size:
            pixels = F.interpolate(pixels, size=size, mode="bilinear")
        return self.mix(torch.cat([tokens, pixels], 1))


class Student(nn.Module):
    """``student(pictures)`` is [N, D, 2 g, 2 g], L2-normalised."""

    def __init__(self, clip, width: int = 64, seed: int = 0):
        super().__init__()
        with seeded_weights(seed):
            self.trunk = Trunk(clip, width)
            self.head = nn.Conv2d(width, clip.embed_dim, 1)
        self.fine = self.trunk.fine

    def forward(self, pictures: DensePictures) -> Tensor:
        return F.normalize(self.head(self.trunk(pictures)), dim=1)


@dataclass(frozen=True)
class StudentSegmenter:
    """A trained student as a segmenter; any names will do."""

    clip: object
    student: Student
    bias: float = 0.0

    @property
    def trained(self) -> int:
        return sum(p.numel() for p in self.student.parameters())

    def scores(self, pictures, names, seen=None) -> Tensor:
        W = text_classifier(self.clip, names)
        places = background_classifier(self.clip)
        with torch.no_grad():
            vectors = as_tokens(self.student(pictures))
        coarse = class_scores(vectors, W, places, self.bias)
        return upsample(coarse, pictures.images.shape[1])


def train_student(
    clip,
    pictures: DensePictures,
    labels: Tensor,
    names: list[str],
    *,
    guidance: Tensor | None = None,
    novel: Tensor | None = None,
    self_train_at: float | None = None,
    steps: int = 150,
    batch_size: int = 16,
    lr: float = 3e-3,
    seed: int = 0,
) -> StudentSegmenter:
    """Cross-entropy against labels [N, h, w]; 255 does not count.

    Labels index ``names``, len(names) is background; maps finer than the
    student's grid are reduced to it.  Pixels labelled 254 are open: there
    ``guidance`` (of the same shape) counts, until the share
    ``self_train_at`` of the steps is done; from then on the student's own
    best guess among the columns ``novel``, taken anew each step.
    """
    student = Student(clip, seed=seed)
    segmenter = StudentSegmenter(clip, student)
    labels = _fit_grid(labels, student.fine)
    if guidance is not None:
        guidance = _fit_grid(guidance, student.fine)
    W, places = text_classifier(clip, names), background_classifier(clip)
    pictures.prepare("pixel_values")
    hand_over = steps if self_train_at is None else self_train_at * steps

    def loss(step: int, rows: Tensor) -> Tensor:
        vectors = as_tokens(student(pictures[rows]))
        logits = clip.logit_scale * class_scores(vectors, W, places, 0.0)
        target = labels[rows]
        still_open = target == OPEN
        if still_open.any():
            guess = guidance[rows] if guidance is not None else 255
            if step >= hand_over:
                guess = novel[logits.detach()[:, novel].argmax(1)]
            target = torch.where(still_open, guess, target)
        return softmax_ce_ignore(logits, target)

    sizes = {"steps": steps, "lr": lr, "batch_size": batch_size}
    descend(student.parameters(), loss, len(pictures), seed=seed, **sizes)
    student.requires_grad_(False)
    return segmenter


def _fit_grid(labels: Tensor, size: int) -> Tensor:
    """Label maps on the student's grid."""
    if labels.shape[-1] == size:
        return labels.long()
    if labels.shape[-1] < size:
        times = size // labels.shape[-1]
        labels = labels.repeat_interleave(times, 1)
        return labels.repeat_interleave(times, 2).long()
    return shrink_labels(labels, size).long()


def pseudo_labels(
    segmenter, pictures: DensePictures, names: list[str], size: int
) -> Tensor:
    """A teacher's hard answers on a grid: labels [N, size, size]."""
    pictures.prepare()
    parts = []
    with torch.no_grad():
        for rows in batched(len(pictures), 64):
            scores = segmenter.scores(pictures[rows], names)
            small = F.interpolate(scores, size=(size, size), mode="area")
            parts.append(small.argmax(1))
    return torch.cat(parts)
