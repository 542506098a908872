"""Image-text matching: random and hard negatives, and ranking again."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..metrics import recall_at_k
from ..models.config import FrameworkConfig
from ..models.frameworks import TwoLeg
from ..models.words import to_ids
from ..objectives.alignment import match_in_batch
from ..objectives.contrastive import clip_loss
from ..pairs import Batch, Pairs, scene_pairs
from ..training import History, evaluating, fit
from ..world import find_category
from ..world.captions import bare_caption
from ..world.categories import DENSE_BASE
from .contrastive import same_stickers

NAMES = DENSE_BASE[:8]
BATCH = 64
RATE = 3e-3
TOP = 10  # how many candidates are ranked again
# After a warm start: hard negatives, random ones, or none and no matching.
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


def make_data(n: int, n_test: int = 400, seed: int = 0) -> Data:
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


def singles(data: Data) -> Data:
    """The same, but to train on scenes with one sticker only."""
    rows = [i for i, scene in enumerate(data.train.scenes) if len(scene.objects) == 1]
    return Data(data.train.subset(rows), data.test, data.has[rows])


def holds(pairs: Pairs) -> Tensor:
    """Which of NAMES each scene holds: [N, C] bool."""
    found = [{t.name for t in scene.objects} for scene in pairs.scenes]
    return torch.tensor([[name in s for name in NAMES] for s in found])


def new_model(data: Data, seed: int = 0, encoder: str = "cnn") -> TwoLeg:
    """Two encoders with a fusion on top, untrained.

    In a "cnn" a patch sees its neighbours; in a "vit" it sees everything.
    """
    config = FrameworkConfig(
        len(data.train.tokenizer),
        text_length=16,
        image_encoder=encoder,
        width=64,
        image_layers=2,
        text_layers=1,
        fusion_layers=1,
        embed_dim=64,
        seed=seed,
    )
    model = TwoLeg(config)
    model.generator = torch.Generator().manual_seed(seed)
    return model


def loss_terms(
    model: TwoLeg, batch: Batch, has: Tensor, hard: bool | None
) -> dict[str, Tensor]:
    """CLIP's loss, "contrast", and that of matching, "match".

    ``hard``: with hard negatives or random ones; None: contrast alone.  What
    ``has`` [N, C] the same stickers is no negative.
    """
    images = model.image_tokens(batch.pixel_values)
    texts = model.text_tokens(batch.input_ids)
    image_embeds = model.image_embeds(images)
    text_embeds = model.text_embeds(texts, batch.input_ids)
    rows = has[batch.index]
    same = (rows[:, None] == rows).all(-1)  # [B, B]
    terms = {"contrast": clip_loss(image_embeds, text_embeds, model.scale(), same)}
    if hard is not None:
        logits = model.scale() * image_embeds @ text_embeds.T if hard else None
        terms["match"] = match_in_batch(
            model, images, texts, batch.input_ids, model.generator, logits, same
        )
    return terms


def train_matching(
    model: TwoLeg, data: Data, steps: int, hard: bool | None, seed: int = 0
) -> History:
    """Train in place; ``hard`` as in :func:`loss_terms`.

    Raises ValueError for other values: any word would count as True.
    """
    if hard not in (None, False, True):
        raise ValueError(f"hard is True, False or None, not {hard!r}: see NEGATIVES")

    def loss(model: TwoLeg, batch: Batch) -> dict[str, Tensor]:
        return loss_terms(model, batch, data.has, hard)

    return fit(model, loss, data.train, steps, BATCH, RATE, seed=seed, progress=False)


def warm_up(model: TwoLeg, data: Data, steps: int, seed: int = 0) -> History:
    """By contrast alone: ``steps`` with one sticker a scene, then ``steps`` more.

    A caption with two nouns leaves open which is which; one noun does not.
    """
    history = train_matching(model, singles(data), steps, None, seed)
    then = train_matching(model, data, steps, None, seed)
    history.loss += then.loss
    history.seconds += then.seconds
    history.items += then.items
    return history


@dataclass
class Encoded:
    """Tokens and embeddings of pictures and texts, computed once."""

    images: Tensor  # [N, 1 + T, W]
    texts: Tensor  # [M, L, W]
    input_ids: Tensor  # [M, L]
    cosines: Tensor  # [N, M]


def encode(model: TwoLeg, pixel_values: Tensor, input_ids: Tensor) -> Encoded:
    """Both encoders, each input once."""
    images = model.image_tokens(pixel_values)
    texts = model.text_tokens(input_ids)
    cosines = model.image_embeds(images) @ model.text_embeds(texts, input_ids).T
    return Encoded(images, texts, input_ids, cosines)


def match_scores(model: TwoLeg, seen: Encoded, rows: Tensor) -> Tensor:
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


def rerank(model: TwoLeg, seen: Encoded, top: int) -> Tensor:
    """Scores [M, N]: the ``top`` pictures of each text as the fusion says.

    The others follow in the order of their cosines.
    """
    scores = seen.cosines.T.clone()  # [M, N], at most 1
    rows = scores.topk(min(top, scores.shape[1]), dim=1).indices
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
    right = same_stickers(test)  # [M, N]
    false_ids = to_ids(test.tokenizer, one_word_wrong(test))
    with evaluating(model):
        seen = encode(model, test.pixel_values, test.input_ids)
        false = encode(model, test.pixel_values, false_ids)
        found = {
            "recall": recall_at_k(seen.cosines.T, right),
            "recall at 10": recall_at_k(seen.cosines.T, right, TOP),
        }
        better = {"choice": seen.cosines.diag() > false.cosines.diag()}
        if fused:
            own = torch.arange(len(test))[:, None]
            true = match_scores(model, seen, own)
            better["fused choice"] = true > match_scores(model, false, own)
            found["reranked"] = recall_at_k(rerank(model, seen, TOP), right)
    return found | {k: v.float().mean().item() for k, v in better.items()}
