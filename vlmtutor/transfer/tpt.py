"""TPT: tune the context on the one picture that is to be classified.

Shu et al. 2022, "Test-Time Prompt Tuning for Zero-Shot Generalization in
Vision-Language Models", arXiv 2209.07511.  Tuned: the context vectors, by one
step on each unlabelled test picture, and thrown away after it.  The loss is
the entropy of the mean prediction over those random views of the picture on
which CLIP is surest: the views should agree on something.  Simplified: the
surest 4 of 16 views in place of 6 of 64, crops and mirrors without AugMix, the
same crops for all pictures.  Needs pixels, and 16 image encodings a picture.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..seeding import generator
from ..training import frozen
from .coop import CoOp
from .packed_prompts import encode_packed
from .pictures import Pictures

N_VIEWS = 16  # of each picture


def entropy(probabilities: Tensor) -> Tensor:
    """In nats, over the last dimension: [..., C] → [...]."""
    return torch.special.entr(probabilities).sum(-1)


def surest(logits: Tensor, share: float) -> Tensor:
    """Rows of the views [V, C] with the least entropy, at least one."""
    keep = max(1, int(share * len(logits)))
    return entropy(logits.softmax(-1)).argsort(stable=True)[:keep]


def mean_entropy(logits: Tensor) -> Tensor:
    """Entropy of the mean prediction over views [V, C]."""
    return entropy(logits.softmax(-1).mean(0))


def random_views(pixel_values: Tensor, n: int, seed: int, smallest: float) -> Tensor:
    """One picture [3, H, W] → itself and n - 1 random crops [n, 3, H, W].

    A crop keeps ``smallest`` to 1 of each side, is brought back to size and
    mirrored half of the time.
    """
    height, width = pixel_values.shape[-2:]
    rng = generator(seed)
    views = [pixel_values]
    for _ in range(n - 1):
        share, x, y, flip = torch.rand(4, generator=rng).tolist()
        share = smallest + (1 - smallest) * share
        h, w = round(share * height), round(share * width)
        top, left = round(y * (height - h)), round(x * (width - w))
        crop = pixel_values[:, top : top + h, left : left + w]
        crop = F.interpolate(
            crop[None], size=(height, width), mode="bilinear", align_corners=False
        )[0]
        views.append(crop.flip(-1) if flip < 0.5 else crop)
    return torch.stack(views)


class TPT(CoOp):
    """``parameters_trained`` are tuned anew for every picture."""

    reads = ("pixel_values",)

    def __init__(self, clip, classes, seed, share, smallest, lr):
        super().__init__(clip, classes)
        self.seed, self.share, self.smallest, self.lr = seed, share, smallest, lr

    def adapted(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        """A context [M, W] tuned on one picture, and its embedding [1, D]."""
        views = random_views(pixel_values, N_VIEWS, self.seed, self.smallest)
        with torch.no_grad():
            embeds = self.clip.image_features(views)  # [V, D], original first
        context = self.context.detach().clone().requires_grad_()
        optimizer = torch.optim.AdamW([context], lr=self.lr, weight_decay=0)
        with torch.enable_grad(), frozen(self.clip):
            texts = encode_packed(self.clip, self.packed, context)
            logits = self.clip.logit_scale * embeds @ texts.T  # [V, C]
            rows = surest(logits.detach(), self.share)
            loss = mean_entropy(logits[rows])
            (context.grad,) = torch.autograd.grad(loss, [context])
        optimizer.step()
        return context.detach(), embeds[:1]

    def logits(self, pictures: Pictures) -> Tensor:
        rows = []
        for pixel_values in pictures.pixel_values:
            context, embeds = self.adapted(pixel_values)
            texts = encode_packed(self.clip, self.packed, context)
            rows.append(self.clip.logit_scale * embeds @ texts.T)
        return torch.cat(rows)


def fit(
    clip,
    pictures,
    labels,
    classes,
    seed: int = 0,
    *,
    share: float = 0.25,
    smallest: float = 0.5,
    lr: float = 5e-3,
) -> TPT:
    """A predictor that tunes itself; ``pictures`` and ``labels`` are unused.

    The int(16 · ``share``) surest views, at least one, are kept;
    a view keeps ``smallest`` to 1 of each side.
    """
    return TPT(clip, classes, seed, share, smallest, lr)
