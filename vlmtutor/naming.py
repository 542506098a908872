"""Zero-shot classification: label names become a classifier.

Prompt ensembles: Radford et al. 2021, arXiv 2103.00020, section 3.1.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from .models.clip import Clip

# Sentences that suit stickers and photos alike; {} is where a label goes.
TEMPLATES = (
    "{}",
    "a {}",
    "the {}",
    "a picture of a {}",
    "a drawing of a {}",
    "a sticker of a {}",
    "a photo of a {}",
)


def _strings(items: str | Sequence[str], what: str) -> list[str]:
    items = [items] if isinstance(items, str) else list(items)
    if not items:
        raise ValueError(f"no {what}: give at least one")
    for item in items:
        if not isinstance(item, str):
            kind = type(item).__name__
            raise TypeError(f"{what} are strings, but one is a {kind}")
    return items


def text_classifier(
    clip: Clip, labels: str | Sequence[str], templates: str | Sequence[str] = TEMPLATES
) -> Tensor:
    """One vector per label: [M, D], L2-normalised.

    Each template filled with the label is encoded and normalised; their mean
    is normalised again.  Raises ValueError when there is no label or template,
    or a template has no ``{}``.
    """
    import torch.nn.functional as F

    labels = _strings(labels, "labels")
    templates = _strings(templates, "templates")
    for template in templates:
        if "{}" not in template:
            raise ValueError(f"the template {template!r} has no {{}}")
    prompts = [t.replace("{}", label) for label in labels for t in templates]
    embeds = clip.encode_texts(prompts)  # [M * K, D]
    embeds = embeds.unflatten(0, (len(labels), len(templates)))  # [M, K, D]
    return F.normalize(embeds.mean(dim=1), dim=-1)


def zero_shot(
    clip: Clip,
    images,
    labels: str | Sequence[str],
    templates: str | Sequence[str] = TEMPLATES,
) -> Tensor:
    """Probabilities of each label for each picture: [N, M], rows sum to 1.

    ``images`` are PIL images, paths, or image_embeds [N, D] computed before.
    The similarities are multiplied by the model's own ``logit_scale``.
    Raises ValueError as :func:`text_classifier` does, and for embeddings of
    another width.
    """
    import torch
    import torch.nn.functional as F

    classifier = text_classifier(clip, labels, templates)  # [M, D]
    if isinstance(images, torch.Tensor):
        width = classifier.shape[1]
        if images.ndim != 2 or images.shape[1] != width:
            shape = list(images.shape)
            raise ValueError(f"embeddings are [N, {width}], got {shape}")
        image_embeds = F.normalize(images.to(classifier), dim=-1)
    else:
        image_embeds = clip.encode_images(images)  # [N, D]
    logits = clip.logit_scale * image_embeds @ classifier.T  # [N, M]
    return logits.softmax(dim=-1)
