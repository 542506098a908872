"""TaI-DPT: learn to recognise pictures from captions alone.

Guo et al. 2022, "Texts as Images in Prompt Tuning for Multi-Label Image
Recognition", arXiv 2211.12739.  Tuned: two contexts, one compared with a whole
caption and one with its single words.  Since CLIP puts captions and pictures
into one space, what is learnt on captions, whose nouns are the labels, is then
asked of pictures and their patches.  Simplified: contexts start from words;
labels are the class names found in a caption; AdamW; the hinge is a mean over
pairs, where the authors sum; the two scores are averaged.
Scores rank pictures; they are no probabilities.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..training import minimize
from .base import Learner
from .pictures import Pictures
from .prompts import encode_prompts, prompt_tokens, start_context

SCORE_SCALE = 4.0  # a margin of 1 is then a difference in cosine of 0.25
WORD_SHARPNESS, PATCH_SHARPNESS = 50.0, 40.0


def noun_labels(
    captions: Sequence[str],
    classes: Sequence[str],
    words: Mapping[str, Sequence[str]] | None = None,
) -> Tensor:
    """Which classes a caption names: [N, C] of 0 and 1.

    ``words`` adds other names of a class.  Longer names are looked for first,
    so that a "hot dog" is no dog.
    """
    names = [(name, c) for c, name in enumerate(classes)]
    for c, name in enumerate(classes):
        names += [(other, c) for other in (words or {}).get(name, ())]
    names.sort(key=lambda pair: -len(pair[0]))
    labels = torch.zeros(len(captions), len(classes))
    for row, caption in enumerate(captions):
        for name, c in names:
            pattern = rf"\b{re.escape(name)}s?\b"
            caption, found = re.subn(pattern, "_", caption, flags=re.I)
            if found:
                labels[row, c] = 1
    return labels


@torch.no_grad()
def encode_words(clip, texts: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
    """text_embeds [N, D], embeds of each token [N, L, D], which are words."""
    inputs = clip.tokenize(texts)
    output = clip.model.text_model(**inputs)
    project = clip.model.text_projection
    whole = F.normalize(project(output.pooler_output), dim=-1)
    tokens = F.normalize(project(output.last_hidden_state), dim=-1)
    # Words lie between <s> and </s>, the last token that is attended to.
    place = torch.arange(tokens.shape[1])
    last = inputs["attention_mask"].sum(1, keepdim=True) - 1
    return whole, tokens, (place > 0) & (place < last)


def local_scores(
    parts: Tensor, weights: Tensor, mask: Tensor, sharpness: float
) -> Tensor:
    """Parts [N, T, D] against classes [C, D] → [N, C]: a soft maximum.

    ``mask`` [N, T] is True for the parts that count.
    """
    cosine = parts @ weights.T  # [N, T, C]
    where = (sharpness * cosine).masked_fill(~mask[..., None], float("-inf"))
    return (where.softmax(1) * cosine).sum(1)


def ranking_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Each class that is named should score 1 above each that is not: [N, C].

    Mean hinge over the pairs of a row, over rows that have pairs.
    """
    named = (labels == 1)[:, :, None]
    unnamed = (labels == 0)[:, None, :]
    pairs = (named & unnamed).float()  # [N, C, C]
    hinge = (1 - scores[:, :, None] + scores[:, None, :]).clamp(min=0)
    counts = pairs.sum((1, 2))
    means = (hinge * pairs).sum((1, 2)) / counts.clamp(min=1)
    return means.sum() / (counts > 0).sum().clamp(min=1)


class TaIDPT(Learner):
    """``whole`` is compared with pictures, ``local`` with their patches."""

    reads = ("image_embeds", "patch_embeds")
    multi_label = True

    def __init__(self, clip, classes):
        start = start_context(clip)  # [M, W]
        self.n_context = len(start)
        super().__init__(clip, classes)
        self.whole, self.local = nn.Parameter(start), nn.Parameter(start + 0)

    def set_classes(self, classes: list[str]) -> None:
        super().set_classes(classes)
        self.tokens = prompt_tokens(self.clip, classes, self.n_context)

    def scores(self, embeds, parts, mask, sharpness) -> tuple[Tensor, Tensor]:
        """Global and local scores [N, C] of captions, or of pictures."""
        whole, local = (
            encode_prompts(self.clip, self.tokens, context)
            for context in (self.whole, self.local)
        )
        by_parts = local_scores(parts, local, mask, sharpness)
        return SCORE_SCALE * embeds @ whole.T, SCORE_SCALE * by_parts

    def logits(self, pictures: Pictures) -> Tensor:
        patches = pictures.patch_embeds.flatten(1, 2)  # [N, T, D]
        mask = torch.ones(patches.shape[:2], dtype=torch.bool)
        pair = self.scores(pictures.image_embeds, patches, mask, PATCH_SHARPNESS)
        return sum(pair) / 2


def fit(
    clip,
    captions: Sequence[str],
    labels,
    classes,
    seed: int = 0,
    *,
    steps: int = 150,
    lr: float = 2e-3,
    batch_size: int = 64,
) -> TaIDPT:
    """Tune on ``captions``; no picture is looked at.

    ``labels`` [N, C] say which classes a caption names; None finds the class
    names in the captions.
    """
    if labels is None:
        labels = noun_labels(captions, classes)
    labels = torch.as_tensor(labels)
    learner = TaIDPT(clip, classes)
    whole, tokens, mask = encode_words(clip, captions)

    def loss(rows: Tensor) -> Tensor:
        pair = learner.scores(whole[rows], tokens[rows], mask[rows], WORD_SHARPNESS)
        return sum(ranking_loss(scores, labels[rows]) for scores in pair)

    minimize(
        clip, learner.parameters(), loss, len(captions), steps, lr, batch_size, seed
    )
    return learner
