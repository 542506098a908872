"""Pre-training from scratch: what do data, batches, dirt and company change?

``python -m vlmtutor.lessons.pretraining`` trains the small two-tower of
notebook 06 again and again, a few seconds each: on few and many scenes, with
small and large batches, on captions of which some belong to other pictures,
and with a second objective beside CLIP's.  It writes
``notebooks/results/06_pretraining.json``; the notebook itself does a few of the runs.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .. import stored
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

NAMES = DENSE_BASE[:30]
SCENES, STEPS, BATCH, RATE = 6000, 200, 64, 2e-3
SIZES = (250, 1000, SCENES)
BATCHES = (16, BATCH, 256)
NOISE = (0.0, 0.4)
DROPPED = 0.4  # of clean pairs, to see what filtering costs them


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
        self.pairs, self.rows = pairs, rows

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, index: Tensor) -> Batch:
        return self.pairs.batch(self.rows[torch.as_tensor(index)])


def shuffled(pairs: Pairs, share: float, seed: int = 0) -> tuple:
    """(pairs of which a ``share`` has another's caption, wrong [N] bool).

    The captions of some rows change places; a row that gets the words it had
    is not wrong.
    """
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


# Models and objectives


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

    ``second`` is "views" (SimCLR), "captions", "masked words" or "matching".
    """

    def __init__(self, second: str, vocabulary: int, seed: int = 0):
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


SECONDS = (None, "views", "captions", "masked words", "matching")


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
    sets = [{thing.name for thing in scene.objects} for scene in data.twos.scenes]
    right = torch.tensor([[a == b for b in sets] for a in sets])
    return recall_at_k(texts @ images.T, right)


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


def auc(scores: Tensor, positive: Tensor) -> float:
    """The chance that a positive row scores higher than a negative one.

    ``scores`` [N], ``positive`` [N] bool; ties count half.  Raises
    ValueError when one of the two kinds is missing.
    """
    high, low = scores[positive], scores[~positive]
    if not len(high) or not len(low):
        raise ValueError("an AUC compares two kinds, and one is missing")
    low = low.sort().values
    below = torch.searchsorted(low, high, right=False)
    upto = torch.searchsorted(low, high, right=True)
    return ((below + upto).double().mean() / (2 * len(low))).item()


def best(scores: Tensor, share: float) -> Tensor:
    """Rows of the ``share`` of the highest scores: [K]."""
    return scores.topk(round(share * len(scores))).indices.sort().values


# The four sweeps.  Each has one point in common: all scenes, as they are, in
# batches of BATCH, with CLIP's loss alone.  ``common`` is that run.


@dataclass
class Common:
    """The run that all sweeps share: its model, scores and seconds."""

    model: Framework
    scores: dict[str, float]
    seconds: float


def common_run(data: Data, seed: int) -> Common:
    model, history = train(data, seed=seed)
    return Common(model, score(model, data), history.seconds)


def data_rows(data: Data, seed: int, common: Common) -> list[dict]:
    """Few and many scenes, the same steps: some see a scene often."""
    rows = []
    for n in SIZES:
        scores = common.scores
        if n < len(data.train):
            part = Part(data.train, torch.arange(n))
            scores = score(train(data, part, seed=seed)[0], data)
        rows.append({"scenes": n, "seed": seed, **scores})
    return rows


def batch_rows(data: Data, seed: int, common: Common) -> list[dict]:
    """Small and large batches, the same number of pairs seen."""
    rows = []
    for size in BATCHES:
        steps, scores = STEPS * BATCH // size, common.scores
        if size != BATCH:
            scores = score(train(data, None, steps, size, seed)[0], data)
        rows.append({"batch": size, "steps": steps, "seed": seed, **scores})
    return rows


def noise_rows(data: Data, seed: int, common: Common) -> list[dict]:
    """Wrong captions; as they are, and what a first model thinks best.

    The filter knows how many captions are wrong, not which.
    """
    rows = []
    for share in NOISE:
        dirty, wrong = shuffled(data.train, share, seed)
        model, scores = common.model, common.scores
        if share:
            model, _ = train(data, dirty, seed=seed)
            scores = score(model, data)
        rows.append({"noise": share, "kept": 1.0, "seed": seed, **scores})
        judged = pair_scores(model, dirty)
        keep = best(judged, 1 - (share or DROPPED))
        again, _ = train(data, Part(dirty, keep), seed=seed)
        found = {"auc": round(auc(judged, ~wrong), 3)} if share else {}
        rows.append(
            {
                "noise": share,
                "kept": round(len(keep) / len(dirty), 2),
                "seed": seed,
                **score(again, data),
                **found,
                "wrong kept": round(wrong[keep].float().mean().item(), 3),
            }
        )
    return rows


def objective_rows(data: Data, seed: int, common: Common) -> list[dict]:
    """CLIP alone and with a second objective, the same steps."""
    rows = []
    for second in SECONDS:
        scores, seconds = common.scores, common.seconds
        if second:
            model, history = train(data, seed=seed, second=second)
            scores, seconds = score(model, data), history.seconds
        rows.append(
            {
                "second": second or "none",
                "seed": seed,
                "seconds": round(seconds, 1),
                **scores,
            }
        )
    return rows


SWEEPS = {
    "data": data_rows,
    "batch": batch_rows,
    "noise": noise_rows,
    "objectives": objective_rows,
}


def run(seeds: tuple[int, ...] = (0, 1, 2), say=lambda text: None) -> dict:
    """All sweeps with each seed."""
    found = {name: [] for name in SWEEPS}
    for seed in seeds:
        data = make_data(seed=seed)
        common = common_run(data, seed)
        for name, sweep in SWEEPS.items():
            rows = sweep(data, seed, common)
            found[name] += rows
            say(f"{name}: {rows}")
    return {
        **stored.heading(),
        "steps": STEPS,
        "batch size": BATCH,
        "scenes": SCENES,
        "names": len(NAMES),
        **found,
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m vlmtutor.lessons.pretraining",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, help="where to write the JSON")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    start = time.perf_counter()
    notes = run(tuple(args.seeds), say=print)
    notes["minutes"] = round((time.perf_counter() - start) / 60, 1)
    path = stored.save(notes, "06_pretraining", args.out)
    print(f"{path} written after {notes['minutes']} minutes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
