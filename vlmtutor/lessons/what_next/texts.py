"""Texts from a language model: in training, and as sentences for a classifier."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.frameworks import Framework
from ...models.words import to_ids
from ...objectives.contrastive import clip_loss
from ...pairs import Batch
from ...seeding import generator
from ...world import find_category
from ...world.rewrites import load_rewrites
from ..pretraining import NAMES
from .data import CAPTIONS, Data, same_label

PAIRS, STEPS = 2000, 400
TEMPLATES = ("a picture of {}", "here is {}", "i see {}", "look, {}")
TEMPLATES += ("a drawing of {}",)

Texts = tuple[tuple[str, ...], ...]  # for each name its texts, the caption first


def arms() -> dict[str, Texts]:
    """What a caption may be replaced by in training, a name a row.

    All but the first have the caption and five more: template paraphrases,
    one rewrite five times, the rewrites with the words of a name mixed up
    among its five, the rewrites.
    """
    own = [load_rewrites()[name].train for name in NAMES]
    more = {
        "templates": [[t.format(one) for t in TEMPLATES] for one in CAPTIONS],
        "one rewrite": [[r[0]] * len(r) for r in own],
        "words mixed up": [mixed_up(r, seed) for seed, r in enumerate(own)],
        "rewrites": own,
    }
    found = {"captions": tuple((one,) for one in CAPTIONS)}
    for name, rows in more.items():
        found[name] = tuple((c, *r) for c, r in zip(CAPTIONS, rows, strict=True))
    return found


def mixed_up(texts: Sequence[str], seed: int = 0) -> list[str]:
    """The words of all texts, dealt anew; each text keeps its length."""
    words = [word for text in texts for word in text.split()]
    random.Random(seed).shuffle(words)
    dealt = iter(words)
    return [" ".join(next(dealt) for _ in text.split()) for text in texts]


def questions() -> dict[str, Texts]:
    """Wordings that ask for a name, for tests: none but captions were read."""
    known = [find_category(name) for name in NAMES]
    return {
        "captions": arms()["captions"],
        "unseen rewrites": tuple(load_rewrites()[name].unseen for name in NAMES),
        "descriptions": tuple(c.descriptions[:3] for c in known),
        "meme lines": tuple(c.held_out_memes for c in known),
    }


class Drawn:
    """CLIP's loss with a text drawn anew each time: (model, batch) → loss.

    ``texts`` has equally many for each name; one of them is drawn for each
    picture, each as likely.  The picture stays as it is.
    Source: LaCLIP, Fan et al. 2023, arXiv 2305.20088.
    """

    def __init__(self, data: Data, texts: Texts, seed: int = 0):
        ids = to_ids(data.train.tokenizer, [text for row in texts for text in row])
        self.ids = ids.unflatten(0, (len(texts), -1))  # [30, K, L]
        self.rng = generator(seed)

    def __call__(self, model: Framework, batch: Batch) -> Tensor:
        which = torch.randint(self.ids.shape[1], (len(batch),), generator=self.rng)
        ids = self.ids[batch.labels, which]  # [B, L]
        longest = int((ids != 0).sum(1).max())
        images = model.encode_images(batch.pixel_values)
        texts = model.encode_texts(ids[:, :longest])
        return clip_loss(images, texts, model.scale(), same_label(batch))


def sentence_classifier(clip, sentences: Sequence[Sequence[str]]) -> Tensor:
    """Each name's sentences as one vector: unit vectors, their mean: [C, D].

    Source: CuPL, Pratt et al. 2022, arXiv 2209.03320.
    """
    rows = [clip.encode_texts(list(own)).mean(0) for own in sentences]
    return F.normalize(torch.stack(rows), dim=-1)


def sentences() -> dict[str, list[list[str]]]:
    """Five sentences for each name, to build a classifier of.

    The control has the name and what was written of another one: WaffleCLIP
    (Roth et al. 2023, arXiv 2306.07282) found that such words help as much.
    """
    own = [load_rewrites()[name].train for name in NAMES]
    other = own[7:] + own[:7]

    def joined(texts):
        pairs = zip(CAPTIONS, texts, strict=True)
        return [[f"{caption}, {text}" for text in row] for caption, row in pairs]

    return {
        "templates": [[t.format(c) for t in TEMPLATES] for c in CAPTIONS],
        "rewrites": [list(r) for r in own],
        "name and rewrite": joined(own),
        "name and another's rewrite": joined(other),
    }
