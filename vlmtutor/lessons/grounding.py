"""Region-word matching: which part of a picture does a word mean?"""

from __future__ import annotations

import torch
from torch import Tensor

from ..models.blocks import watch_attention
from ..models.frameworks import TwoLeg
from ..models.words import to_ids
from ..objectives.alignment import (
    grounding_loss,
    patch_cover,
    phrase_scores,
    pool_regions,
    region_word_logits,
)
from ..objectives.contrastive import multi_positive_loss
from ..pairs import Batch, Pairs
from ..training import History, fit
from ..world import find_category
from .contrastive import is_word, pointing, sticker_labels
from .matching import BATCH, NAMES, RATE, Data


def with_boxes(model: TwoLeg, batch: Batch, pairs: Pairs) -> Tensor:
    """GLIP's loss: the true boxes and the spans of their phrases."""
    patches = model.patch_embeds(model.image_tokens(batch.pixel_values))
    words = model.word_embeds(model.text_tokens(batch.input_ids))
    boxes = pairs.boxes[batch.index]  # [B, R, 4]
    truth = pairs.region_words[batch.index][..., : words.shape[1]]
    logits = region_word_logits(
        pool_regions(patches, boxes), words, model.scale(), -2.0
    )
    there = boxes[..., 2] > 0  # [B, R]
    return grounding_loss(logits, truth, there, is_word(batch.input_ids))


def without_boxes(model: TwoLeg, batch: Batch, has: Tensor, ids: Tensor):
    """Some patch of a picture must answer each name of its caption."""
    patches = model.patch_embeds(model.image_tokens(batch.pixel_values))
    names = model.encode_texts(ids)  # [C, D]
    scores = phrase_scores(patches, names, model.scale())  # [C, B]
    return multi_positive_loss(scores, has[batch.index].T)


def name_ids(pairs: Pairs) -> Tensor:
    """NAMES as texts, "a fox": input_ids [C, L]."""
    return to_ids(pairs.tokenizer, [find_category(n).one for n in NAMES])


def train_grounding(
    model: TwoLeg, data: Data, steps: int, boxes: bool, seed: int = 0
) -> History:
    """Train in place, with ``boxes`` or, where False, with captions alone."""
    if not isinstance(boxes, bool):
        raise TypeError(f"boxes is True or False, not {boxes!r}")
    ids = name_ids(data.train)

    def loss(model: TwoLeg, batch: Batch) -> Tensor:
        if boxes:
            return with_boxes(model, batch, data.train)
        return without_boxes(model, batch, data.has, ids)

    return fit(model, loss, data.train, steps, BATCH, RATE, seed=seed, progress=False)


def noun_tokens(pairs: Pairs) -> Tensor:
    """The last token of each sticker's phrase: [N, R] places."""
    places = torch.arange(pairs.input_ids.shape[1])
    return (pairs.region_words * places).amax(-1)


def word_heat(model: TwoLeg, pairs: Pairs) -> Tensor:
    """Cosines of each noun, in its caption, with all patches: [N, R, T]."""
    patches = model.patch_embeds(model.image_tokens(pairs.pixel_values))
    words = model.word_embeds(model.text_tokens(pairs.input_ids))
    rows = torch.arange(len(pairs))[:, None]
    return words[rows, noun_tokens(pairs)] @ patches.transpose(1, 2)


def name_heat(model: TwoLeg, pairs: Pairs) -> Tensor:
    """Cosines of each sticker's name, as a text, with patches: [N, R, T]."""
    patches = model.patch_embeds(model.image_tokens(pairs.pixel_values))
    names = model.encode_texts(name_ids(pairs))
    return names[sticker_labels(pairs)] @ patches.transpose(1, 2)


def attention_heat(model: TwoLeg, pairs: Pairs) -> Tensor:
    """What each noun looks at, last in the fusion: [N, R, T], mean of heads."""
    images = model.image_tokens(pairs.pixel_values)
    texts = model.text_tokens(pairs.input_ids)
    with watch_attention(model.fusion):
        model.fuse(images, texts, pairs.input_ids)
        weights = model.fusion.blocks[-1].cross.weights.mean(1)
    rows = torch.arange(len(pairs))[:, None]
    return weights[rows, noun_tokens(pairs), 1:]  # the first is no patch


def which_region(heat: Tensor, pairs: Pairs) -> float:
    """Of two stickers, is a noun warmer on its own?  Chance is one half.

    ``heat`` [N, 2, T]; a sticker's warmth is the mean over its box.
    """
    warmth = box_means(heat, pairs.boxes)  # [N, 2 nouns, 2 boxes]
    own = warmth.diagonal(dim1=1, dim2=2)
    other = warmth.flip(2).diagonal(dim1=1, dim2=2)
    return (own > other).float().mean().item()


def box_means(heat: Tensor, boxes: Tensor) -> Tensor:
    """Mean of maps [N, Q, T] over boxes [N, R, 4]: [N, Q, R]."""
    weights = patch_cover(boxes, round(heat.shape[-1] ** 0.5))  # [N, R, T]
    weights = weights / weights.sum(-1, keepdim=True).clamp(min=1e-9)
    return heat @ weights.transpose(1, 2)


def score_grounding(heat: Tensor, pairs: Pairs) -> dict[str, float]:
    """ "which": of two stickers; "hits": of all patches.

    ``heat`` [N, R, T] has a map for each sticker; another shape raises ValueError.
    """
    N, R = pairs.boxes.shape[:2]
    if heat.ndim != 3 or heat.shape[:2] != (N, R):
        raise ValueError(f"maps are [N={N}, R={R}, T], not {list(heat.shape)}")
    return {"which": which_region(heat, pairs), "hits": pointing(heat, pairs)[0]}
