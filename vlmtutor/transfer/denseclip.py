"""DenseCLIP: a map of similarities to class names guides a dense prediction.

Rao et al. 2021, "DenseCLIP: Language-Guided Dense Prediction with
Context-Aware Prompting", arXiv 2112.01518.  Tuned: context vectors before the
class names; a transformer decoder that lets the names look at the picture, and
``gamma``, from 1e-4, which weighs what they saw; and a small head that reads
patches and score maps.  Simplified: the image encoder is frozen (the paper
tunes it at a tenth of the step size) and its patches cached; the head is one
convolution added to the score map, in place of a feature pyramid; one decoder
layer; words to start from; AdamW.  The decoder has most of the numbers that are
tuned, and the head learns much alone: ``words=False`` leaves the context as it
is, ``looks=False`` the names without a look at the picture, so that what the
prompts bring can be told.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..seeding import seeded_weights
from .base import Learner, tune
from .pictures import Pictures
from .prompts import encode_prompts, prompt_tokens, start_context

TEMPERATURE = 0.07  # of the loss on the score map itself
AUXILIARY = 0.4  # its weight, as in the authors' code
IGNORE = -1


def pixel_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of [N, C, h, w] against labels [N, H, W], -1 left out.

    Logits are enlarged where the labels are finer.
    """
    if logits.shape[-2:] != labels.shape[-2:]:
        logits = F.interpolate(
            logits, size=labels.shape[-2:], mode="bilinear", align_corners=False
        )
    return F.cross_entropy(logits, labels, ignore_index=IGNORE)


class DenseCLIP(Learner):
    """``predictor(pictures)`` is [N, C, h, w]: logits per patch."""

    reads = ("image_embeds", "patch_embeds")
    batch_size = 32

    def __init__(
        self, clip, classes, words: bool = True, looks: bool = True, seed: int = 0
    ):
        start = start_context(clip)  # [M, W]
        self.n_context = len(start)
        super().__init__(clip, classes)
        D, C = clip.embed_dim, len(classes)
        self.context = nn.Parameter(start) if words else start
        self.decoder = None
        if looks:
            with seeded_weights(seed):
                self.decoder = nn.TransformerDecoderLayer(
                    D, nhead=1, dim_feedforward=D, dropout=0.0, batch_first=True
                )
            self.gamma = nn.Parameter(torch.full((D,), 1e-4))
        self.head = nn.Conv2d(D + C, C, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def set_classes(self, classes: list[str]) -> None:
        self._refuse_new_classes(classes)
        super().set_classes(classes)
        self.tokens = prompt_tokens(self.clip, classes, self.n_context)

    def score_map(self, pictures: Pictures) -> Tensor:
        """Cosines of patches and context-aware names: [N, C, h, w]."""
        patches = pictures.patch_embeds  # [N, h, w, D]
        texts = encode_prompts(self.clip, self.tokens, self.context)
        texts = texts.expand(len(patches), -1, -1)  # [N, C, D]
        if self.decoder is not None:
            whole = pictures.image_embeds[:, None]
            seen = torch.cat([whole, patches.flatten(1, 2)], dim=1)
            texts = texts + self.gamma * self.decoder(texts, seen)
            texts = F.normalize(texts, dim=-1)
        return torch.einsum("nhwd,ncd->nchw", patches, texts)

    def logits(self, pictures: Pictures, score: Tensor | None = None):
        score = self.score_map(pictures) if score is None else score
        patches = pictures.patch_embeds.movedim(-1, 1)  # [N, D, h, w]
        refined = self.head(torch.cat([patches, score], dim=1))
        return self.clip.logit_scale * score + refined


def fit(
    clip,
    pictures,
    labels,
    classes,
    seed: int = 0,
    *,
    words: bool = True,
    looks: bool = True,
    steps: int = 60,
    lr: float = 2e-3,
    batch_size: int = 16,
) -> DenseCLIP:
    """Tune on ``pictures`` with ``labels`` [N, H, W]; -1 is left out."""
    learner = DenseCLIP(clip, classes, words, looks, seed)

    def loss(batch: Pictures, y: Tensor) -> Tensor:
        score = learner.score_map(batch)
        auxiliary = pixel_loss(score / TEMPERATURE, y)
        return pixel_loss(learner.logits(batch, score), y) + AUXILIARY * auxiliary

    return tune(learner, pictures, labels, steps, lr, batch_size, seed, loss=loss)
