"""ProGrad: take only steps that do not unlearn the zero-shot answers.

Zhu et al. 2022, "Prompt-aligned Gradient for Prompt Tuning", arXiv 2205.14865.
Tuned: the same vectors as in CoOp.  Two gradients are compared in every step,
that of the cross-entropy and that of the divergence from CLIP's zero-shot
answers; where they point against each other, the part of the first that
opposes the second is taken out.  Plain gradient descent, since only then is
the step the projected gradient: Adam would rescale it into another direction.
Simplified: the zero-shot answers are those of the prompt ensemble; no momentum
(the authors' is 0.9).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..naming import text_classifier
from .base import tune
from .coop import CoOp
from .pictures import Pictures


def aligned(task: Tensor, general: Tensor, strength: float = 1.0) -> Tensor:
    """The task's gradient without what opposes the general one, both [...].

    Unchanged where the angle between them is at most 90 degrees; with
    ``strength`` 1 orthogonal to the general gradient otherwise.
    """
    unit = general / general.norm().clamp(min=1e-12)
    along = (task * unit).sum()
    return task - strength * along.clamp(max=0) * unit


def zero_shot_divergence(zero_shot: Tensor, logits: Tensor) -> Tensor:
    """KL(zero-shot ‖ model) of two logits [N, C], averaged over rows."""
    return F.kl_div(
        logits.log_softmax(-1),
        zero_shot.log_softmax(-1),
        reduction="batchmean",
        log_target=True,
    )


def fit(
    clip,
    pictures,
    labels,
    classes,
    seed: int = 0,
    *,
    strength: float = 1.0,
    steps: int = 100,
    lr: float = 0.3,
    batch_size: int = 32,
) -> CoOp:
    """Tune a context on ``pictures`` with ``labels`` [N]."""
    learner = CoOp(clip, classes, seed=seed)
    weights = text_classifier(clip, classes)  # [C, D]

    def losses(batch: Pictures, y: Tensor) -> tuple[Tensor, Tensor]:
        logits = learner.logits(batch)
        zero_shot = clip.logit_scale * batch.image_embeds @ weights.T
        divergence = zero_shot_divergence(zero_shot, logits)
        return F.cross_entropy(logits, y), divergence

    def gradients(values: tuple, parameters: list[Tensor]) -> Sequence[Tensor]:
        if not strength:  # plain descent, at half the price
            return torch.autograd.grad(values[0], parameters)
        task, general = (
            torch.autograd.grad(value, parameters, retain_graph=True)
            for value in values
        )
        pairs = zip(task, general, strict=True)
        return [aligned(t, g, strength) for t, g in pairs]

    return tune(
        learner,
        pictures,
        labels,
        steps,
        lr,
        batch_size,
        seed,
        loss=losses,
        gradients=gradients,
        sgd=True,
    )
