"""Alignment objectives: does a caption match, and which word means what?

``python -m vlmtutor.lessons.alignment`` repeats the runs of notebook 05 with
more steps and writes ``notebooks/results/05_alignment.json``.
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
from ..metrics import recall_at_k
from ..models.blocks import watch_attention
from ..models.config import FrameworkConfig
from ..models.frameworks import TwoLeg
from ..models.words import to_ids
from ..objectives.alignment import (
    grounding_loss,
    match_in_batch,
    phrase_scores,
    pool_regions,
    region_word_logits,
)
from ..objectives.contrastive import clip_loss, multi_positive_loss
from ..pairs import Batch, Pairs, scene_pairs
from ..training import History, evaluating, fit
from ..world import find_category
from ..world.captions import bare_caption
from ..world.categories import DENSE_BASE
from .contrastive import centers_in, is_word

NAMES = DENSE_BASE[:8]
BATCH = 64
RATE = 2e-3
TOP = 10  # how many candidates are ranked again
# How to go on after a warm start: hard negatives, random ones, no matching.
NEGATIVES = {"contrast": None, "random": False, "hard": True}


@dataclass
class Data:
    """``train``: one or two stickers; ``test``: two, never the same twice.

    Captions name the stickers and nothing else; ``has`` [N, C] bool tells
    which of NAMES a training scene holds.
    """

    train: Pairs
    test: Pairs
    has: Tensor


def make_data(n: int, n_test: int = 200, seed: int = 0) -> Data:
    """``n`` training scenes and ``n_test`` others; seeds never meet."""
    scenes = {
        "categories": NAMES,
        "caption": bare_caption,
        "discs": 0.0,
        "repeats": 0.0,
    }
    train = scene_pairs(n, "train", seed * n, stickers=(1, 2), **scenes)
    test = scene_pairs(
        n_test, "test", seed * n_test, stickers=2, tokenizer=train.tokenizer, **scenes
    )
    return Data(train, test, holds(train))


def holds(pairs: Pairs) -> Tensor:
    """Which of NAMES each scene holds: [N, C] bool."""
    found = [{t.name for t in scene.objects} for scene in pairs.scenes]
    return torch.tensor([[name in s for name in NAMES] for s in found])


def new_model(data: Data, seed: int = 0, encoder: str = "cnn") -> TwoLeg:
    """Two encoders with a fusion on top, untrained.

    In a "cnn" a patch sees its neighbours; in a "vit" it sees everything.
    """
    words = len(data.train.tokenizer)
    model = TwoLeg(
        FrameworkConfig(words, text_length=16, seed=seed, image_encoder=encoder)
    )
    model.generator = torch.Generator().manual_seed(seed)
    return model


# Matching


def contrast(model: TwoLeg, batch: Batch, has: Tensor) -> dict[str, Tensor]:
    """CLIP's loss; what holds the same stickers is no negative."""
    return {"contrast": _contrast(model, batch, has)[0]}


def _contrast(model, batch, has):
    images = model.image_tokens(batch.pixel_values)
    texts = model.text_tokens(batch.input_ids)
    e = model.image_embeds(images)
    t = model.text_embeds(texts, batch.input_ids)
    rows = has[batch.index]
    same = (rows[:, None] == rows).all(-1)  # [B, B]
    loss = clip_loss(e, t, model.scale(), ignore=same)
    return loss, images, texts, same, model.scale() * e @ t.T


def match(model: TwoLeg, batch: Batch, has: Tensor, hard: bool) -> dict[str, Tensor]:
    """CLIP's loss and the matching loss, with hard negatives or random."""
    loss, images, texts, same, logits = _contrast(model, batch, has)
    yes_or_no = match_in_batch(
        model,
        images,
        texts,
        batch.input_ids,
        model.generator,
        logits if hard else None,
        same,
    )
    return {"contrast": loss, "match": yes_or_no}


def train_matching(
    model: TwoLeg, data: Data, steps: int, hard: bool | None, seed: int = 0
) -> History:
    """Train in place; ``hard`` None: contrast alone."""

    def loss(model: TwoLeg, batch: Batch) -> dict[str, Tensor]:
        if hard is None:
            return contrast(model, batch, data.has)
        return match(model, batch, data.has, hard)

    return fit(model, loss, data.train, steps, BATCH, RATE, seed=seed, progress=False)


@dataclass
class Seen:
    """Tokens and embeddings of pictures and texts, computed once."""

    images: Tensor  # [N, 1 + T, W]
    texts: Tensor  # [M, L, W]
    input_ids: Tensor  # [M, L]
    cosines: Tensor  # [N, M]


def look(model: TwoLeg, pixel_values: Tensor, input_ids: Tensor) -> Seen:
    """Both encoders, each input once."""
    images = model.image_tokens(pixel_values)
    texts = model.text_tokens(input_ids)
    cosines = model.image_embeds(images) @ model.text_embeds(texts, input_ids).T
    return Seen(images, texts, input_ids, cosines)


def match_scores(model: TwoLeg, seen: Seen, rows: Tensor) -> Tensor:
    """The fusion's answer for each text and each of its candidates.

    ``rows`` [M, K] pictures → logits [M, K]: M · K runs of the fusion.
    """
    M, K = rows.shape
    texts = torch.arange(M).repeat_interleave(K)
    parts = zip(rows.flatten().split(512), texts.split(512), strict=True)
    return torch.cat(
        [
            model.match_logits(seen.images[i], seen.texts[t], seen.input_ids[t])
            for i, t in parts
        ]
    ).view(M, K)


def rerank(model: TwoLeg, seen: Seen, top: int = TOP) -> Tensor:
    """Scores [M, N]: the ``top`` pictures of each text as the fusion says.

    The others follow in the order of their cosines.
    """
    scores = seen.cosines.T.clone()  # [M, N], at most 1
    rows = scores.topk(top, dim=1).indices
    answers = match_scores(model, seen, rows).sigmoid() + 2  # above the rest
    return scores.scatter(1, rows, answers)


def one_word_wrong(pairs: Pairs, seed: int = 0) -> list[str]:
    """Each caption with one of its nouns exchanged for one not there."""
    generator = torch.Generator().manual_seed(seed)
    texts = []
    for i, caption in enumerate(pairs.described):
        present = {t.name for t in pairs.scenes[i].objects}
        absent = [name for name in NAMES if name not in present]
        draw = torch.randint(len(absent), (), generator=generator)
        k = int(torch.randint(2, (), generator=generator))
        start, end = caption.spans[k]
        other = find_category(absent[draw]).one
        texts.append(caption.text[:start] + other + caption.text[end:])
    return texts


def score_matching(model: TwoLeg, data: Data, fused: bool = True) -> dict:
    """Recall@1 of captions for pictures, and the two-way choice of captions.

    "recall" and "choice" by cosines; ``fused``: "reranked" and "fused choice"
    by the fusion as well.
    """
    test = data.test
    has = holds(test)
    right = (has[:, None] == has).all(-1)  # [M, N]
    false_ids = to_ids(test.tokenizer, one_word_wrong(test))
    with evaluating(model):
        seen = look(model, test.pixel_values, test.input_ids)
        false = look(model, test.pixel_values, false_ids)
        found = {
            "recall": recall_at_k(seen.cosines.T, right),
            "recall at 10": recall_at_k(seen.cosines.T, right, TOP),
            "choice": _share(seen.cosines.diag() > false.cosines.diag()),
        }
        if fused:
            own = torch.arange(len(test))[:, None]
            better = match_scores(model, seen, own) > match_scores(model, false, own)
            found["reranked"] = recall_at_k(rerank(model, seen), right)
            found["fused choice"] = _share(better)
    return found


def _share(right: Tensor) -> float:
    return float(right.float().mean())


# Regions and words


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
    """Train in place, with boxes or with captions alone."""
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
    which = torch.tensor(
        [[NAMES.index(t.name) for t in s.objects] for s in pairs.scenes]
    )
    return names[which] @ patches.transpose(1, 2)


def attention_heat(model: TwoLeg, pairs: Pairs, layer: int = -1) -> Tensor:
    """What each noun looks at in the fusion: [N, R, T], mean over heads."""
    images = model.image_tokens(pairs.pixel_values)
    texts = model.text_tokens(pairs.input_ids)
    with watch_attention(model.fusion):
        model.fuse(images, texts, pairs.input_ids)
        weights = model.fusion.blocks[layer].cross.weights.mean(1)
    rows = torch.arange(len(pairs))[:, None]
    return weights[rows, noun_tokens(pairs), 1:]  # the first is no patch


def which_region(heat: Tensor, pairs: Pairs) -> float:
    """Of two stickers, is a noun warmer on its own?  Chance is one half.

    ``heat`` [N, 2, T]; a sticker's warmth is the mean over its box.
    """
    warmth = box_means(heat, pairs.boxes)  # [N, 2 nouns, 2 boxes]
    own = warmth.diagonal(dim1=1, dim2=2)
    other = warmth.flip(2).diagonal(dim1=1, dim2=2)
    return _share(own > other)


def box_means(heat: Tensor, boxes: Tensor) -> Tensor:
    """Mean of maps [N, Q, T] over boxes [N, R, 4]: [N, Q, R]."""
    side = round(heat.shape[-1] ** 0.5)
    edges = torch.arange(side + 1) / side
    low, high = boxes[..., :2, None], boxes[..., 2:, None]  # [N, R, 2, 1]
    cover = torch.minimum(high, edges[1:]) - torch.maximum(low, edges[:-1])
    across, down = cover.clamp(min=0).unbind(2)  # [N, R, side]
    weights = (down[..., :, None] * across[..., None, :]).flatten(2)
    weights = weights / weights.sum(-1, keepdim=True).clamp(min=1e-9)
    return heat @ weights.transpose(1, 2)


def hits(heat: Tensor, pairs: Pairs) -> tuple[float, float]:
    """The pointing game: the warmest patch has its centre in the box.

    Stickers that hold no centre do not count; (hits, chance).
    """
    inside = centers_in(pairs.boxes, round(heat.shape[-1] ** 0.5))
    counted = inside.any(-1)  # [N, R]
    hit = inside.gather(-1, heat.argmax(-1, keepdim=True))[..., 0]
    return _share(hit[counted]), float(inside[counted].float().mean())


def score_grounding(heat: Tensor, pairs: Pairs) -> dict[str, float]:
    """ "which": of two stickers; "hits": of all patches."""
    return {"which": which_region(heat, pairs), "hits": hits(heat, pairs)[0]}


def run(steps: int, n: int = 8192, seed: int = 0, say=lambda t: None) -> dict:
    """Matching with a CNN; grounding with a CNN and with a ViT."""
    data = make_data(n, seed=seed)
    matching, regions = [], []

    def ground(name, encoder, model, heat, seconds):
        with evaluating(model):
            found = score_grounding(heat(model, data.test), data.test)
        row = {"name": name, "encoder": encoder, "seconds": seconds}
        regions.append({**row, **_short(found)})
        say(str(regions[-1]))

    for encoder in ("cnn", "vit"):
        warm = new_model(data, seed, encoder)
        ground("untrained", encoder, warm, name_heat, 0.0)
        history = train_matching(warm, data, steps, None, seed)
        seconds = round(history.seconds, 1)
        ground("contrast", encoder, warm, name_heat, seconds)
        for name, boxes in (("captions", False), ("boxes", True)):
            model = copy.deepcopy(warm)
            history = train_grounding(model, data, steps, boxes, seed + 1)
            seconds = round(history.seconds, 1)
            heat = word_heat if boxes else name_heat
            ground(name, encoder, model, heat, seconds)
        if encoder == "vit":
            continue
        for name, hard in NEGATIVES.items():
            model = copy.deepcopy(warm)
            history = train_matching(model, data, steps, hard, seed + 1)
            found = score_matching(model, data, hard is not None)
            seconds = round(history.seconds, 1)
            row = {"name": name, "seconds": seconds, **_short(found)}
            if hard is not None:
                last = history.terms["match"][-20:]
                row["match loss"] = round(sum(last) / len(last), 3)
                ground(f"attention, {name}", encoder, model, attention_heat, seconds)
            matching.append(row)
            say(str(row))
    return {
        **stored.heading(),
        "steps": steps,
        "batch": BATCH,
        "scenes": n,
        "seed": seed,
        "matching": matching,
        "regions": regions,
    }


def _short(found: dict[str, float]) -> dict[str, float]:
    return {key: round(value, 3) for key, value in found.items()}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m vlmtutor.lessons.alignment",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="where to write the JSON")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    start = time.perf_counter()
    notes = run(args.steps, seed=args.seed, say=print)
    notes["minutes"] = round((time.perf_counter() - start) / 60, 1)
    path = stored.save(notes, "05_alignment", args.out)
    print(f"{path} written after {notes['minutes']} minutes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
