"""Fill in and write: the data and the questions of notebook 04.

Scenes with one sticker on a coloured disc, and their complete captions: "a
big lion on a red disc, at sea".  A caption has four slots that only the
picture can fill (size, thing, colour, place), and words in between that
grammar fills.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..models.config import FrameworkConfig
from ..models.frameworks import TwoLeg
from ..models.words import MASK
from ..objectives.alignment import same_captions
from ..objectives.contrastive import clip_loss
from ..objectives.generative import (
    caption_loss,
    mask_words,
    masked_word_loss,
    patchify,
)
from ..pairs import Batch, Pairs, scene_pairs
from ..training import evaluating
from ..world.backgrounds import COLORS, PHRASES
from ..world.categories import DENSE_BASE

NAMES = DENSE_BASE[:12]
KINDS = ("thing", "colour", "place", "size", "function")
SIZES = ("big", "small")
_PLAIN = {"a", "an", "the", "in", "at", "on", "of", "background", "pair"}
_FORM = re.compile(
    r"(?:an? |the )?(?:(?P<size>big|small) )?(?P<thing>.+)"
    r" on an? (?P<colour>\w+) disc, (?P<place>.+)"
)


def make_data(n: int, n_test: int, seed: int = 0) -> tuple[Pairs, Pairs]:
    """Training and test pairs of one sticker on a disc; seeds never meet."""
    scenes = {"categories": NAMES, "stickers": 1, "discs": 1.0}
    train = scene_pairs(n, "train", seed * 20_000, **scenes)
    test = scene_pairs(n_test, "test", seed * 1000, tokenizer=train.tokenizer, **scenes)
    return train, test


def new_model(vocabulary: int, causal: bool = False, seed: int = 0) -> TwoLeg:
    """A reader, which sees all words, or with ``causal`` a writer."""
    config = FrameworkConfig(
        vocabulary,
        text_length=20,
        image_encoder="cnn",
        width=64,
        image_layers=2,
        text_layers=1,
        causal=causal,
        seed=seed,
    )
    return TwoLeg(config)


def _contrast(model: TwoLeg, images: Tensor, texts: Tensor, ids: Tensor) -> Tensor:
    embeds = model.image_embeds(images), model.text_embeds(texts, ids)
    return clip_loss(*embeds, model.scale(), same_captions(ids))


def reader_loss(
    model: TwoLeg, batch: Batch, generator: torch.Generator
) -> dict[str, Tensor]:
    """Masked words with the picture, for half of the batch, and without.

    Beside them CLIP's loss, as in ALBEF (Li et al. 2021, arXiv 2107.07651).
    """
    whole, half = batch.input_ids, len(batch) // 2
    ids, labels = mask_words(whole, model.config.vocabulary, generator, share=0.3)
    images = model.image_tokens(batch.pixel_values)
    words = model.text_tokens(ids)
    looks = model.word_logits(images[:half], words[:half], ids[:half])
    blind = model.word_logits(None, words[half:], ids[half:])
    return {
        "looks": masked_word_loss(looks, labels[:half]),
        "blind": masked_word_loss(blind, labels[half:]),
        "contrast": _contrast(model, images, model.text_tokens(whole), whole),
    }


def writer_loss(model: TwoLeg, batch: Batch) -> dict[str, Tensor]:
    """CLIP's loss and twice the captioning loss, as in CoCa.

    Yu et al. 2022, arXiv 2205.01917.
    """
    ids = batch.input_ids
    images, texts = model.image_tokens(batch.pixel_values), model.text_tokens(ids)
    logits = model.word_logits(images, texts, ids)  # [B, L, V]
    return {
        "contrast": _contrast(model, images, texts, ids),
        "captions": 2 * caption_loss(logits, ids),
    }


def kind_of(word: str) -> str:
    """Which of KINDS a word of these captions is."""
    if word in COLORS:
        return "colour"
    if word in SIZES:
        return "size"
    if word in _PLAIN or not word.isalpha():
        return "function"
    if any(word in name.split() for name in NAMES):
        return "thing"
    places = {w for phrase in PHRASES.values() for w in phrase.split()}
    return "place" if word in places else "function"


def kinds_of(tokenizer) -> Tensor:
    """The kind of each word of the vocabulary, as its place in KINDS: [V]."""
    words = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    return torch.tensor([KINDS.index(kind_of(word)) for word in words])


def loss_by_kind(
    model: TwoLeg, pairs: Pairs, pixel_values: Tensor | None
) -> dict[str, float]:
    """What a hidden word costs, in nats, by its kind.

    Each word is hidden once, alone, and guessed from the rest of its caption
    and from ``pixel_values`` [N, 3, S, S], or without a picture (None).
    """
    ids, kinds = pairs.input_ids, kinds_of(pairs.tokenizer)
    total, count = torch.zeros(len(KINDS)), torch.zeros(len(KINDS))
    with evaluating(model):
        images = None
        if pixel_values is not None:
            images = model.image_tokens(pixel_values)
        for place in range(ids.shape[1]):
            rows = ids[:, place] > MASK
            if not rows.any():
                continue
            truth, hidden = ids[rows, place], ids[rows].clone()
            hidden[:, place] = MASK
            logits = model.word_logits(
                None if images is None else images[rows],
                model.text_tokens(hidden),
                hidden,
            )[:, place]
            losses = F.cross_entropy(logits, truth, reduction="none")
            total.index_add_(0, kinds[truth], losses)
            count.index_add_(0, kinds[truth], torch.ones_like(losses))
    means = (total / count).tolist()
    return {k: v for k, v in zip(KINDS, means, strict=True) if v == v}


def slots(caption: str) -> dict[str, str] | None:
    """The four slots of a caption; None if it is no such sentence."""
    found = _FORM.fullmatch(caption)
    if not found or found["colour"] not in COLORS:
        return None
    return {key: value or "" for key, value in found.groupdict().items()}


def slots_right(written: Iterable[str], truth: Iterable[str]) -> dict[str, float]:
    """The share of right slots, of right "all" four, and of "sentences".

    A text that is no sentence has no right slot.  Raises ValueError for no
    captions or two lists of different lengths, TypeError for one text.
    """
    if isinstance(written, str) or isinstance(truth, str):
        raise TypeError("two lists of captions, not one caption: [caption]")
    written, truth = list(written), list(truth)
    if len(written) != len(truth):
        raise ValueError(f"{len(written)} captions written, {len(truth)} true ones")
    pairs = [(slots(a), slots(b)) for a, b in zip(written, truth, strict=True)]
    if not pairs:
        raise ValueError("no captions to compare")
    right = {
        key: sum(a is not None and a[key] == b[key] for a, b in pairs)
        for key in ("size", "thing", "colour", "place")
    }
    right["all"] = sum(a == b for a, b in pairs)
    right["sentences"] = sum(a is not None for a, _ in pairs)
    return {key: n / len(pairs) for key, n in right.items()}


def around_the_sticker(pairs: Pairs, side: int, share: float) -> Tensor:
    """[N, side²] bool: the ``share`` of patches nearest to each sticker."""
    boxes = pairs.boxes[:, 0]  # [N, 4]
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2  # [N, 2] as (x, y)
    at = (torch.arange(side) + 0.5) / side
    y, x = torch.meshgrid(at, at, indexing="ij")
    places = torch.stack([x.flatten(), y.flatten()], dim=1)  # [T, 2]
    far = torch.cdist(middle, places)  # [N, T]
    order = far.argsort(dim=1, stable=True)
    return order.argsort(dim=1) < round(share * side**2)


def patch_errors(
    painted: Tensor, pixel_values: Tensor, mask: Tensor, patch_size: int
) -> Tensor:
    """The mean squared error on the hidden patches of each picture: [N]."""
    truth = patchify(pixel_values, patch_size)
    error = (painted - truth).square().mean(-1)  # [N, T]
    return (error * mask).sum(1) / mask.sum(1)


def mean_of_the_rest(pixel_values: Tensor, mask: Tensor, patch_size: int) -> Tensor:
    """The plainest painter: the mean colour of what is seen, everywhere.

    Patches [N, T, patch_size² · 3].
    """
    seen = patchify(pixel_values, patch_size) * ~mask[..., None]
    colors = seen.unflatten(-1, (-1, 3)).mean(2).sum(1)  # [N, 3]
    colors = colors / (~mask).sum(1, keepdim=True)
    row = colors.repeat(1, patch_size**2)  # [N, patch_size² · 3]
    return row[:, None].expand(-1, mask.shape[1], -1)


def other_color(caption: str) -> str:
    """The caption with another colour of the disc: the next in the list.

    Raises ValueError for a text that is no caption of these scenes.
    """
    colors, found = list(COLORS), slots(caption)
    if found is None:
        raise ValueError(f"no caption with a disc: {caption!r}")
    color = found["colour"]
    other = colors[(colors.index(color) + 1) % len(colors)]
    article = "an" if other[0] in "aeiou" else "a"
    return re.sub(r" on an? \w+ disc", f" on {article} {other} disc", caption)
