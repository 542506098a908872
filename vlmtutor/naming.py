"""Zero-shot: names become a classifier, of pictures or of their patches.

Prompt ensembles: Radford et al. 2021, arXiv 2103.00020, section 3.1.4.  Naming
each patch by its own embedding is MaskCLIP's read-out (Zhou et al. 2022, arXiv
2112.01071).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .models.texts import as_texts

if TYPE_CHECKING:  # loaded on first use: names alone need no torch
    import numpy as np
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


def _some_texts(items: str | Sequence[str], what: str) -> list[str]:
    items = as_texts([items] if isinstance(items, str) else items, what)
    if not items:
        raise ValueError(f"no {what}s: give at least one")
    return items


def even_cosine(clip: Clip) -> float | None:
    """The cosine to which a SigLIP gives even chances; None for a CLIP."""
    bias = getattr(clip, "logit_bias", None)
    return None if bias is None else -bias / clip.logit_scale


def probabilities(
    cosines: Tensor, temperature: float, even: float | None = None
) -> Tensor:
    """What cosines [N, M] of pictures and texts mean to a model: [N, M].

    A CLIP's texts compete: the softmax over them of ``cosine / temperature``,
    where its own temperature is ``1 / logit_scale``.  A SigLIP judges each
    pair by itself: the sigmoid of ``(cosine - even) / temperature``, which
    with its own temperature is that of ``logit_scale * cosine + logit_bias``;
    a row may sum to anything.  ``even`` is the model's :func:`even_cosine`.
    """
    if even is None:
        return (cosines / temperature).softmax(dim=-1)
    return ((cosines - even) / temperature).sigmoid()


def text_classifier(
    clip: Clip, labels: str | Sequence[str], templates: str | Sequence[str] = TEMPLATES
) -> Tensor:
    """One vector per label: [M, D], L2-normalised.

    Each template filled with the label is encoded and normalised; their mean
    is normalised again.  Raises ValueError when there is no label or template,
    or a template has no ``{}``.
    """
    import torch.nn.functional as F

    labels = _some_texts(labels, "label")
    templates = _some_texts(templates, "template")
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
    The similarities are multiplied by the model's own ``logit_scale``; a
    SigLIP's rows sum to anything, see :func:`probabilities`.  Raises
    ValueError as :func:`text_classifier` does, and for embeddings of another
    width; TypeError for a label that is no text, with its place.
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
    cosines = image_embeds @ classifier.T  # [N, M]
    return probabilities(cosines, 1 / clip.logit_scale, even_cosine(clip))


def label_maps(
    features: Tensor, classifier: Tensor, size: int, scale: float = 1.0
) -> tuple[Tensor, Tensor]:
    """The likeliest class of every pixel, and its probability.

    ``features`` [N, h, w, D] and ``classifier`` [C, D] are L2-normalised.
    Cosines are brought from patches to ``size`` × ``size`` pixels by bilinear
    interpolation; ``scale`` multiplies them before the softmax.  Returns
    labels [N, size, size] and confidence of the same shape.
    """
    import torch
    import torch.nn.functional as F

    labels, confidence = [], []
    for patches in features:  # one at a time: C maps of pixels are large
        cosines = (patches @ classifier.T).permute(2, 0, 1)  # [C, h, w]
        cosines = F.interpolate(cosines[None], size=(size, size), mode="bilinear")[0]
        likeliest = (scale * cosines).softmax(dim=0).max(dim=0)
        labels.append(likeliest.indices)
        confidence.append(likeliest.values)
    return torch.stack(labels), torch.stack(confidence)


def find_boxes(
    labels: Tensor, confidence: Tensor, background: int, least: int = 40
) -> dict[str, np.ndarray]:
    """Boxes around the connected areas of a label map [H, W].

    Areas of one class that touch only at a corner are two.  Areas below
    ``least`` pixels and labels from ``background`` on give no box.  Returns
    "boxes" [n, 4] (x0, y0, x1, y1), "labels" [n] and "scores" [n], the mean
    of ``confidence`` [H, W] over the area: what
    :func:`vlmtutor.metrics.average_precision` takes.  Raises TypeError for
    labels that are no whole numbers.
    """
    import numpy as np
    from scipy import ndimage

    labels, confidence = np.asarray(labels), np.asarray(confidence)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"labels are whole numbers, got {labels.dtype}")
    boxes, kinds, scores = [], [], []
    for kind in np.unique(labels[labels < background]):
        areas, _ = ndimage.label(labels == kind)
        for k, place in enumerate(ndimage.find_objects(areas), start=1):
            inside = areas[place] == k
            if inside.sum() < least:
                continue
            rows, columns = place
            boxes.append((columns.start, rows.start, columns.stop, rows.stop))
            kinds.append(int(kind))
            scores.append(float(confidence[place][inside].mean()))
    return {
        "boxes": np.array(boxes, float).reshape(-1, 4),
        "labels": np.array(kinds, int),
        "scores": np.array(scores, float),
    }
