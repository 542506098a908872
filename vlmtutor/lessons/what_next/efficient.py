"""Few pairs: second losses beside CLIP's, and how many pairs they are worth."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ...models.config import FrameworkConfig
from ...models.frameworks import TwoTower
from ...models.words import to_ids
from ...objectives.contrastive import clip_loss, nt_xent
from ...objectives.efficient import TextQueue, nearest_loss, simsiam_loss, views_loss
from ...pairs import Batch
from ...seeding import generator, seeded_weights
from ...views import crops, recolor
from ...world import find_category
from ...world.captions import with_article
from ..pretraining import NAMES
from .data import BATCH, Data, config, contrast, few, same_label

PAIRS = 250
SIZES = (PAIRS, 500, 1000, 2000, 4000)  # of CLIP's own curve
QUEUE = 512
# what is added to CLIP's loss, and its weight: SLIP's, and DeCLIP's ratio
WEIGHTS = {"SLIP": 1.0, "SimSiam": 0.5, "nearest text": 0.5}
ARMS = ("CLIP", "one view", "two texts", "two views, two texts", "SLIP", "SimSiam")
ARMS += ("nearest text",)


class Model(TwoTower):
    """Two towers that start as CLIP's do, and SimSiam's predictor beside."""

    def __init__(self, config: FrameworkConfig):
        super().__init__(config)
        D = config.embed_dim
        with seeded_weights(config.seed + 1):
            narrow, wide = nn.Linear(D, D // 2), nn.Linear(D // 2, D)
        between = nn.BatchNorm1d(D // 2), nn.ReLU()
        self.predictor = nn.Sequential(narrow, *between, wide)


def wordings(data: Data, most: int = 3) -> Tensor:
    """Other words for each name, as input_ids [30, most, L]."""
    rows = []
    for name in NAMES:
        category = find_category(name)
        words = [category.one, *map(with_article, category.synonyms)]
        rows += [words[k % len(words)] for k in range(most)]
    ids = to_ids(data.train.tokenizer, rows)
    return ids.unflatten(0, (len(NAMES), most))


def random_view(pixel_values: Tensor, rng: torch.Generator) -> Tensor:
    """A crop, mirrored half of the time, in other colours: [B, 3, S, S]."""
    return recolor(crops(pixel_values, rng), rng)


class Objective:
    """One of :data:`ARMS`: (model, batch) → named terms.

    ``texts`` [30, K, L] are the second wordings, ``weight`` that of the
    second loss (by default the paper's), ``view`` what makes a view of
    pictures.  Raises ValueError for another arm.
    """

    def __init__(
        self,
        arm: str,
        texts: Tensor | None = None,
        seed: int = 0,
        weight: float | None = None,
        view: Callable = random_view,
    ):
        if arm not in ARMS:
            raise ValueError(f"an arm is in {ARMS}, not {arm!r}")
        self.arm, self.texts, self.view = arm, texts, view
        self.weight = WEIGHTS.get(arm) if weight is None else weight
        self.rng, self.queue = generator(seed), TextQueue(QUEUE)

    def __call__(self, model: Model, batch: Batch) -> dict[str, Tensor]:
        if self.arm == "CLIP":
            return {"contrast": contrast(model, batch)}
        if self.arm.endswith("two texts"):
            return {"contrast": self._all(model, batch)}
        if self.arm == "one view":
            seen = self.view(batch.pixel_values, self.rng)
            images, texts = model.encode_images(seen), self._texts(model, batch)
        else:
            images = model.encode_images(batch.pixel_values)
            texts = self._texts(model, batch)
        same, scale = same_label(batch), model.scale()
        terms = {"contrast": clip_loss(images, texts, scale, same)}
        if self.arm == "nearest text":
            near, rows = self.queue.nearest(texts)
            second = nearest_loss(images, near, rows, scale, same)
            self.queue.push(texts)
        elif self.arm in ("SLIP", "SimSiam"):
            a, b = self._two(model, batch)
            if self.arm == "SLIP":
                second = nt_xent(a, b)
            else:
                second = simsiam_loss((model.predictor(a), model.predictor(b)), (a, b))
        else:
            return terms
        return {**terms, self.arm: self.weight * second}

    def _texts(self, model: Model, batch: Batch) -> Tensor:
        return model.encode_texts(batch.input_ids)

    def _two(self, model: Model, batch: Batch) -> tuple[Tensor, Tensor]:
        """Two views of each picture, encoded: [B, D] twice."""
        views = [self.view(batch.pixel_values, self.rng) for _ in range(2)]
        return tuple(model.encode_images(view) for view in views)

    def _all(self, model: Model, batch: Batch) -> Tensor:
        """DeCLIP's first part: two views, two wordings, all four pairs.

        Or the picture as it is and two wordings, to tell which of them helps.
        """
        ids, K = batch.input_ids, 0 if self.texts is None else self.texts.shape[1]
        if K:
            which = torch.randint(K, (len(batch),), generator=self.rng)
            ids = self.texts[batch.labels, which]
        texts = self._texts(model, batch), model.encode_texts(ids)
        if self.arm == "two texts":
            images = (model.encode_images(batch.pixel_values),)
        else:
            images = self._two(model, batch)
        return views_loss(images, texts, model.scale(), same_label(batch))


def arithmetic(data: Data, arm: str) -> int:
    """Floating-point operations of one step, forward and back, as counted."""
    model, loss = Model(config(data)), Objective(arm, wordings(data))
    batch = few(data.train, BATCH).batch(range(BATCH))
    with FlopCounterMode(display=False) as counter:
        sum(loss(model, batch).values()).backward()
    return counter.get_total_flops()


def equal_steps(data: Data, arm: str, steps: int) -> int:
    """As many steps of CLIP as cost what ``steps`` of an arm cost."""
    return round(steps * arithmetic(data, arm) / arithmetic(data, "CLIP"))


def multiplier(curve: Mapping[int, float], n: int, value: float) -> float:
    """How many times its ``n`` pairs CLIP needs to be as good as ``value``.

    ``curve``: pairs → how good CLIP is, read between its points on a
    logarithmic axis; beyond its ends there is no saying, so the ends count.
    """
    sizes = sorted(curve)
    good = np.maximum.accumulate([curve[size] for size in sizes])
    return float(np.exp(np.interp(value, good, np.log(sizes))) / n)
