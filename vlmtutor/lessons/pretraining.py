"""Pre-training from scratch: data, batches, wrong captions, a second objective."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from ..metrics import accuracy, recall_at_k
from ..models.config import FrameworkConfig
from ..models.frameworks import Framework, TwoLeg, TwoTower
from ..models.words import to_ids
from ..objectives.alignment import match_in_batch, same_captions
from ..objectives.contrastive import clip_loss, nt_xent
from ..objectives.generative import caption_loss, mask_words, masked_word_loss
from ..pairs import Batch, Pairs, scene_pairs
from ..training import History, evaluating, fit
from ..views import crops, recolor
from ..world import find_category
from ..world.captions import bare_caption
from ..world.categories import DENSE_BASE
from .contrastive import same_stickers

NAMES = DENSE_BASE[:30]
SCENES, STEPS, BATCH, RATE = 6000, 200, 64, 2e-3


# Pictures and texts


@dataclass
class Data:
    """``train``: one and two stickers in turn; ``ones`` and ``twos``: tests.

    ``prompts`` [30, L] are the names as input_ids, "a lion" and so on.
    """

    train: Pairs
    ones: Pairs
    twos: Pairs
    prompts: Tensor


def make_data(n: int = SCENES, n_test: int = 600, seed: int = 0) -> Data:
    """``n`` training scenes and the tests; no scene of one seed is in both.

    Captions hold nothing but the nouns, as bare as texts of the web.
    """
    scenes = {"categories": NAMES, "caption": bare_caption, "discs": 0.0}
    train = scene_pairs(n, "train", seed * 20_000, stickers=(1, 2), **scenes)
    scenes |= {"tokenizer": train.tokenizer, "repeats": 0.0}
    ones, twos = (
        scene_pairs(n_test // k, "test", (2 * seed + k) * 1000, stickers=k, **scenes)
        for k in (1, 2)
    )
    prompts = to_ids(train.tokenizer, [find_category(n).one for n in NAMES])
    return Data(train, ones, twos, prompts)


class Part:
    """Some rows of ``pairs``, to train on; nothing is copied."""

    def __init__(self, pairs: Pairs, rows: Tensor):
        self.pairs, self.rows = pairs, torch.as_tensor(rows)

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, index: Tensor) -> Batch:
        return self.pairs.batch(self.rows[torch.as_tensor(index)])


def shuffled(pairs: Pairs, share: float, seed: int = 0) -> tuple:
    """(pairs of which a ``share`` has another's caption, wrong [N] bool).

    The captions of some rows change places; a row that gets the words it had
    is not wrong.
    """
    _check(share)
    N = len(pairs)
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(N, generator=generator)[: round(share * N)]
    order = torch.arange(N)
    order[rows] = rows.roll(1)
    dirty = copy.copy(pairs)
    dirty.input_ids = pairs.input_ids[order]
    dirty.captions = [pairs.captions[i] for i in order]
    wrong = (dirty.input_ids != pairs.input_ids).any(dim=1)
    return dirty, wrong


def _check(share: float) -> None:
    if not 0 <= share <= 1:
        raise ValueError(f"a share is from 0 to 1, not {share}: 40 % is 0.4")


# Models and objectives

SECOND = ("views", "captions", "masked words", "matching")


def config(data: Data, seed: int = 0, causal: bool = False) -> FrameworkConfig:
    """The small two-tower of the lesson: a CNN and one layer for words."""
    return FrameworkConfig(
        len(data.train.tokenizer),
        text_length=16,
        image_encoder="cnn",
        width=64,
        image_layers=2,
        text_layers=1,
        embed_dim=64,
        causal=causal,
        seed=seed,
    )


def contrast(model: Framework, batch: Batch) -> Tensor:
    """CLIP's loss; equal captions of a batch are no negatives."""
    return clip_loss(
        model.encode_images(batch.pixel_values),
        model.encode_texts(batch.input_ids),
        model.scale(),
        same_captions(batch.input_ids),
    )


class WithSecond:
    """CLIP's loss and a second one: (model, batch) → named terms.

    ``second`` is "views" (SimCLR), "captions", "masked words" or "matching";
    another raises ValueError.
    """

    def __init__(self, second: str, vocabulary: int, seed: int = 0):
        if second not in SECOND:
            known = ", ".join(SECOND)
            raise ValueError(f"a second objective is one of {known}, not {second!r}")
        self.second, self.vocabulary = second, vocabulary
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, model: TwoLeg, batch: Batch) -> dict[str, Tensor]:
        ids = batch.input_ids
        images = model.image_tokens(batch.pixel_values)
        words = model.text_tokens(ids)
        image_embeds = model.image_embeds(images)
        text_embeds = model.text_embeds(words, ids)
        same = same_captions(ids)
        clip = clip_loss(image_embeds, text_embeds, model.scale(), same)
        if self.second == "views":
            a, b = (self._view(model, batch) for _ in range(2))
            other = nt_xent(a, b)
        elif self.second == "captions":  # CoCa: twice the weight
            other = 2 * caption_loss(model.word_logits(images, words, ids), ids)
        elif self.second == "masked words":
            masked, labels = mask_words(ids, self.vocabulary, self.generator, share=0.3)
            read = model.text_tokens(masked)
            other = masked_word_loss(model.word_logits(images, read, masked), labels)
        else:
            logits = model.scale() * image_embeds @ text_embeds.T
            other = match_in_batch(
                model, images, words, ids, self.generator, logits, same
            )
        return {"contrast": clip, self.second: other}

    def _view(self, model: TwoLeg, batch: Batch) -> Tensor:
        moved = crops(batch.pixel_values, self.generator)
        return model.encode_images(recolor(moved, self.generator))


def train(
    data: Data,
    on: Pairs | Part | None = None,
    steps: int = STEPS,
    batch_size: int = BATCH,
    seed: int = 0,
    second: str | None = None,
    **options,
) -> tuple[Framework, History]:
    """A model trained from scratch, and how it went.

    ``on``: other training pairs than ``data.train``; ``options`` for ``fit``.
    """
    on = data.train if on is None else on
    loss, model = contrast, TwoTower(config(data, seed))
    if second:
        model = TwoLeg(config(data, seed, causal=second == "captions"))
        loss = WithSecond(second, len(data.train.tokenizer), seed)
    options = {"lr": RATE, "progress": False, "seed": seed, **options}
    return model, fit(model, loss, on, steps, batch_size, **options)


# How good


def names_right(model: Framework, data: Data) -> float:
    """Zero-shot: the share of unseen one-sticker scenes named among 30."""
    images = model.encode_images(data.ones.pixel_values)
    return accuracy(images @ model.encode_texts(data.prompts).T, data.ones.labels)


def recall(model: Framework, data: Data) -> float:
    """Recall@1 of captions that look for their two-sticker scene.

    Any scene with the same two stickers is right.
    """
    images = model.encode_images(data.twos.pixel_values)
    texts = model.encode_texts(data.twos.input_ids)
    return recall_at_k(texts @ images.T, same_stickers(data.twos))


def score(model: Framework, data: Data) -> dict[str, float]:
    """{"names", "recall"} on unseen scenes."""
    with evaluating(model):
        return {
            "names": round(names_right(model, data), 3),
            "recall": round(recall(model, data), 3),
        }


def pair_scores(model: Framework, pairs: Pairs) -> Tensor:
    """How similar a picture and its caption are: cosines [N]."""
    scores = []
    with evaluating(model):
        for rows in torch.arange(len(pairs)).split(500):
            batch = pairs.batch(rows)
            images = model.encode_images(batch.pixel_values)
            texts = model.encode_texts(batch.input_ids)
            scores.append((images * texts).sum(dim=1))
    return torch.cat(scores)


def best(scores: Tensor, share: float) -> Tensor:
    """Rows of the ``share`` of the highest scores: [K]."""
    _check(share)
    return scores.topk(round(share * len(scores))).indices.sort().values
