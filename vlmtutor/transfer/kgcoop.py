"""KgCoOp: learn a context, but stay near what hand-written prompts say.

Yao et al. 2023, "Visual-Language Prompt Tuning with Knowledge-guided Context
Optimization", arXiv 2303.13283.  Tuned: the same vectors as in CoOp.  To its
loss comes ``weight`` times the mean distance (1 - cosine) between the text
embeddings and those of hand-written prompts.  Simplified: the reference is the
ensembled zero-shot classifier; AdamW.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ..naming import text_classifier
from .base import tune
from .coop import CoOp
from .pictures import Pictures


def knowledge_penalty(text_embeds: Tensor, reference: Tensor) -> Tensor:
    """Mean of 1 - cosine between rows [C, D]: a number from 0 to 2."""
    return (1 - F.cosine_similarity(text_embeds, reference, dim=-1)).mean()


def fit(
    clip,
    pictures,
    labels,
    classes,
    seed: int = 0,
    *,
    weight: float = 8.0,
    steps: int = 100,
    lr: float = 3e-3,
    batch_size: int = 32,
) -> CoOp:
    """Tune a context on ``pictures`` with ``labels`` [N]."""
    learner = CoOp(clip, classes, seed=seed)
    reference = text_classifier(clip, classes)  # [C, D]

    def loss(batch: Pictures, y: Tensor) -> Tensor:
        texts = learner.text_embeds()
        logits = clip.logit_scale * batch.image_embeds @ texts.T
        penalty = knowledge_penalty(texts, reference)
        return F.cross_entropy(logits, y) + weight * penalty

    return tune(learner, pictures, labels, steps, lr, batch_size, seed, loss=loss)
