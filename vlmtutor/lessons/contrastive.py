"""Five contrastive objectives on one budget: what does each buy?"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..metrics import accuracy, recall_at_k
from ..models.config import FrameworkConfig
from ..models.frameworks import TwoTower
from ..models.towers import last_word
from ..models.words import MASK, to_ids
from ..objectives.contrastive import (
    clip_loss,
    filip_loss,
    nt_xent,
    siglip_loss,
    token_similarity,
    unicl_loss,
)
from ..pairs import Batch, Pairs, scene_pairs
from ..training import History, evaluating, fit
from ..views import crops, recolor
from ..world import find_category
from ..world.captions import CaptionMix, bare_caption, random_caption
from ..world.categories import DENSE_BASE

NAMES = DENSE_BASE[:12]
# People say the same in many ways: a name, a synonym, how it looks.
WORDS = CaptionMix(meme=0, description=0, synonym=0.6, size=0.3, place=0)
BATCH = 64


class Model(TwoTower):
    """Two towers, and what some of the objectives need besides."""

    def build(self) -> None:
        super().build()
        # the share of right answers among those of a batch: SigLIP's start
        self.logit_bias = nn.Parameter(torch.tensor(-math.log(BATCH - 1)))
        self.generator = torch.Generator().manual_seed(self.config.seed)


# The five: (model, batch) → loss


def clip(model: Model, batch: Batch) -> Tensor:
    images = model.encode_images(batch.pixel_values)
    texts = model.encode_texts(batch.input_ids)
    return clip_loss(images, texts, model.scale())


def siglip(model: Model, batch: Batch) -> Tensor:
    images = model.encode_images(batch.pixel_values)
    texts = model.encode_texts(batch.input_ids)
    return siglip_loss(images, texts, model.scale(), model.logit_bias)


def simclr(model: Model, batch: Batch) -> Tensor:
    first = view(batch.pixel_values, model.generator)
    second = view(batch.pixel_values, model.generator)
    return nt_xent(model.encode_images(first), model.encode_images(second))


def unicl(model: Model, batch: Batch) -> Tensor:
    images = model.encode_images(batch.pixel_values)
    texts = model.encode_texts(batch.input_ids)
    return unicl_loss(images, texts, model.scale(), batch.labels)


def filip(model: Model, batch: Batch) -> Tensor:
    patches = model.patch_embeds(model.image_tokens(batch.pixel_values))
    words = model.word_embeds(model.text_tokens(batch.input_ids))
    return filip_loss(patches, words, model.scale(), is_word(batch.input_ids))


OBJECTIVES: dict[str, Callable[[Model, Batch], Tensor]] = {
    "CLIP": clip,
    "SigLIP": siglip,
    "SimCLR": simclr,
    "UniCL": unicl,
    "FILIP": filip,
}


def view(pixel_values: Tensor, generator: torch.Generator) -> Tensor:
    """The pictures cropped, mirrored and tinted at random: same shape."""
    if not pixel_values.is_floating_point():
        raise TypeError("pixel_values are floats: pairs.pixel_values, not pairs.images")
    return recolor(crops(pixel_values, generator, least=0.5), generator)


def is_word(input_ids: Tensor) -> Tensor:
    """[M, L] bool: True on words, False on start, end and padding."""
    return input_ids > MASK


@dataclass
class Data:
    """``train``: one or two stickers; ``ones`` and ``twos``: tests.

    ``labeled`` are training scenes with one sticker.  In ``train`` a scene
    with two stickers has the label -1: no single class is right.
    """

    train: Pairs
    labeled: Pairs
    ones: Pairs
    twos: Pairs


def make_data(n: int, n_test: int = 200, seed: int = 0) -> Data:
    """``n`` training scenes and ``n_test`` of each test; seeds never meet."""
    rng = random.Random(seed)
    scenes = {"categories": NAMES, "discs": 0.0}
    train = scene_pairs(
        n,
        "train",
        seed * n,
        stickers=(1, 2),
        **scenes,
        caption=lambda layout: random_caption(rng, layout, WORDS),
    )
    counts = torch.tensor([len(scene.objects) for scene in train.scenes])
    labeled = train.subset((counts == 1).nonzero()[:400, 0].tolist())
    train.labels[counts > 1] = -1
    ones, twos = (
        scene_pairs(
            n_test,
            "test",
            (2 * seed + k) * n_test,
            stickers=k + 1,
            caption=bare_caption,
            tokenizer=train.tokenizer,
            repeats=0.0,
            **scenes,
        )
        for k in (0, 1)
    )
    return Data(train, labeled, ones, twos)


def new_model(name: str, data: Data, seed: int = 0) -> Model:
    """An untrained model, started as one of OBJECTIVES asks; else ValueError."""
    if name not in OBJECTIVES:
        known = ", ".join(OBJECTIVES)
        raise ValueError(f"an objective is one of {known}, not {name!r}")
    model = Model(FrameworkConfig(len(data.train.tokenizer), text_length=40, seed=seed))
    if name == "SigLIP":
        model.logit_scale.data.fill_(math.log(10))
    return model


def train(name: str, data: Data, steps: int, seed: int = 0) -> tuple[Model, History]:
    """A model trained with one of OBJECTIVES, and how it went."""
    model = new_model(name, data, seed)
    history = fit(
        model,
        OBJECTIVES[name],
        data.train,
        steps,
        BATCH,
        seed=seed,
        name=name,
        progress=False,
    )
    return model, history


# What was bought


def similarities(
    model: Model, pixel_values: Tensor, input_ids: Tensor, by_token: bool
) -> tuple[Tensor, Tensor]:
    """Pictures by texts, twice [N, M]: as a picture and as a text sees it.

    The two differ only ``by_token``, as FILIP compares.
    """
    images = model.image_tokens(pixel_values)
    texts = model.text_tokens(input_ids)
    if by_token:
        patches, words = model.patch_embeds(images), model.word_embeds(texts)
        return token_similarity(patches, words, is_word(input_ids))
    texts = model.text_embeds(texts, input_ids)
    cosines = model.image_embeds(images) @ texts.T
    return cosines, cosines


def name_accuracy(model: Model, ones: Pairs, by_token: bool) -> float:
    """Zero-shot: which of NAMES fits a picture best?"""
    ids = to_ids(ones.tokenizer, [find_category(n).one for n in NAMES])
    scores, _ = similarities(model, ones.pixel_values, ids, by_token)
    return accuracy(scores, ones.labels)


def caption_recall(model: Model, twos: Pairs, by_token: bool) -> float:
    """Recall@1: each caption looks for its picture among all.

    Any picture with the same two stickers is right.
    """
    _, scores = similarities(model, twos.pixel_values, twos.input_ids, by_token)
    return recall_at_k(scores.T, same_stickers(twos))


def same_stickers(pairs: Pairs) -> Tensor:
    """Which scenes hold the same stickers: [N, N] bool."""
    sets = [{thing.name for thing in scene.objects} for scene in pairs.scenes]
    return torch.tensor([[a == b for b in sets] for a in sets])


def features(model: Model, pairs: Pairs) -> Tensor:
    """The mean of a picture's tokens, before any projection: [N, W]."""
    return model.image_tokens(pairs.pixel_values).mean(1)


def probe(features: Tensor, labels: Tensor, test: Tensor) -> Tensor:
    """A linear probe by least squares: scores [M, C] of the ``test`` rows.

    ``features`` [N, W] with ``labels`` [N] from 0 to C - 1 and ``test``
    [M, W] are brought to mean 0 and spread 1, with a small penalty.
    """
    mean, std = features.mean(0), features.std(0) + 1e-6
    x = (features - mean) / std
    y = torch.eye(int(labels.max()) + 1)[labels]  # [N, C]
    gram = x.T @ x + len(x) ** 0.5 * torch.eye(x.shape[1])
    weights = torch.linalg.solve(gram, x.T @ (y - y.mean(0)))
    return (test - mean) / std @ weights + y.mean(0)


def probe_accuracy(model: Model, data: Data) -> float:
    """How many one-sticker scenes a probe of the pictures names."""
    scores = probe(
        features(model, data.labeled), data.labeled.labels, features(model, data.ones)
    )
    return accuracy(scores, data.ones.labels)


def noun_heat(model: Model, pairs: Pairs, by_token: bool) -> Tensor:
    """Where each of NAMES is: cosines with every patch, [N, C, T].

    The name alone is the text: its last word ``by_token``, else the whole.
    """
    ids = to_ids(pairs.tokenizer, [find_category(n).one for n in NAMES])
    patches = model.patch_embeds(model.image_tokens(pairs.pixel_values))
    texts = model.text_tokens(ids)
    if by_token:
        nouns = last_word(ids) - 1  # the place before the end
        named = model.word_embeds(texts)[torch.arange(len(ids)), nouns]
    else:
        named = model.text_embeds(texts, ids)
    return torch.einsum("ntd,cd->nct", patches, named)


def centers_in(boxes: Tensor, side: int) -> Tensor:
    """Which patches have their centre in a box: [..., 4] → [..., side²]."""
    at = (torch.arange(side) + 0.5) / side
    across = (at >= boxes[..., 0:1]) & (at < boxes[..., 2:3])  # [..., side]
    down = (at >= boxes[..., 1:2]) & (at < boxes[..., 3:4])
    return (down[..., :, None] & across[..., None, :]).flatten(-2)


def sticker_labels(pairs: Pairs) -> Tensor:
    """What each sticker is, as its place in ``pairs.names``: [N, R]."""
    index = pairs.names.index
    return torch.tensor([[index(t.name) for t in s.objects] for s in pairs.scenes])


def pointing(heat: Tensor, pairs: Pairs) -> tuple[float, float]:
    """The pointing game (Zhang et al. 2016, arXiv 1608.00507): hits, chance.

    ``heat`` [N, R, T] has a map for each sticker, which is hit if the warmest
    patch has its centre in the box.  Stickers that hold no centre do not
    count; chance is the share of patches that are hits.
    """
    inside = centers_in(pairs.boxes, round(heat.shape[-1] ** 0.5))  # [N, R, T]
    counted = inside.any(-1)  # [N, R]
    hit = inside.gather(-1, heat.argmax(-1, keepdim=True))[..., 0]
    return hit[counted].float().mean().item(), inside[counted].float().mean().item()


def score(model: Model, data: Data, by_token: bool) -> dict[str, float]:
    """What a model can do: "names", "recall", "probe" and "pointing"."""
    with evaluating(model):
        heat = noun_heat(model, data.twos, by_token)  # [N, C, T]
        rows = torch.arange(len(heat))[:, None]
        own = heat[rows, sticker_labels(data.twos)]  # [N, 2, T]
        return {
            "names": name_accuracy(model, data.ones, by_token),
            "recall": caption_recall(model, data.twos, by_token),
            "probe": probe_accuracy(model, data),
            "pointing": pointing(own, data.twos)[0],
        }
