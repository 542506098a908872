"""Two towers, two legs, one tower: same pairs, same steps, about same size."""

from __future__ import annotations

import random

import torch
from torch import Tensor

from ..metrics import recall_at_k
from ..models.config import FrameworkConfig
from ..models.frameworks import Framework, OneTower, TwoLeg, TwoTower
from ..models.words import to_ids, word_tokenizer
from ..objectives.alignment import match_in_batch, same_captions
from ..objectives.contrastive import clip_loss
from ..pairs import Batch, Pairs, layout_pairs
from ..training import History, fit
from ..world.backgrounds import VARIANTS
from ..world.captions import Caption, relation
from ..world.categories import find_category, load_categories
from ..world.layout import Layout, Placement
from . import ranking

# Few things and colours: so a batch holds captions that differ in nothing
# but who stands on what and where, and the loss has to ask for that.
CATEGORIES = ("cat", "bee", "rose", "robot")
COLORS = ("red", "yellow", "blue")
BACKGROUNDS = ("sand", "snow", "paper", "sky")
SPLIT_SEEDS = {"train": 0, "val": 1, "test": 2}

# layers such that the three have about as many parameters
LAYERS = {
    TwoTower: {"image_layers": 3, "text_layers": 3},
    TwoLeg: {"image_layers": 2, "text_layers": 1, "fusion_layers": 2},
    OneTower: {"image_layers": 6},
}
SIZE, WIDTH = 48, 64
LR = 2e-3
MATCHED = 24  # pairs of a batch that are also matched
FIGURES = ("R@1", "colours", "relations")
CNN_LAYERS = 2  # a residual layer is one and a half blocks


def random_scene(rng: random.Random, n: int) -> Layout:
    """One or two stickers on discs, none in the way of the other.

    Two are different things on discs of different colours, side by side or
    one above the other.
    """
    names = rng.sample(CATEGORIES, n)
    colors = rng.sample(COLORS, n)
    if n == 1:
        spots = [(rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.7))]
    else:
        along = rng.sample((0.27, 0.73), 2)
        across = [rng.uniform(0.4, 0.6) for _ in range(2)]
        spots = list(zip(along, across, strict=True))
        if rng.random() < 0.5:
            spots = [(y, x) for x, y in spots]
    placements = tuple(
        Placement(
            find_category(name).index,
            x,
            y,
            rng.uniform(0.4, 0.5),
            rng.random() < 0.5,
            color,
        )
        for name, color, (x, y) in zip(names, colors, spots, strict=True)
    )
    return Layout(rng.choice(BACKGROUNDS), rng.randrange(VARIANTS), placements)


def caption(layout: Layout) -> Caption:
    """Things, colours and how they stand: nothing left out, nothing else."""
    phrases = [
        f"{load_categories()[p.category].one} on a {p.color} disc"
        for p in layout.placements
    ]
    text, ends = phrases[0], [(0, len(phrases[0]))]
    if len(phrases) == 2:
        text += f" {relation(*layout.placements)} "
        ends.append((len(text), len(text) + len(phrases[1])))
        text += phrases[1]
    return Caption(text, tuple(ends))


def draw_pairs(
    n: int, split: str = "train", seed: int = 0, stickers=(1, 2), tokenizer=None
) -> Pairs:
    """``n`` scenes with captions; numbers of ``stickers`` take turns.

    Half of the training scenes have one sticker: with them training gets
    going much sooner.  Splits and seeds share no random numbers.  Raises
    ValueError for other numbers than 1 and 2, and for an unknown split.
    """
    stickers = (stickers,) if isinstance(stickers, int) else tuple(stickers)
    if not stickers or not set(stickers) <= {1, 2}:
        raise ValueError(f"a scene has 1 or 2 stickers, say (1, 2), not {stickers}")
    if split not in SPLIT_SEEDS:
        raise ValueError(f"a split is one of {', '.join(SPLIT_SEEDS)}, not {split!r}")
    rng = random.Random(f"{SPLIT_SEEDS[split]} {seed}")
    layouts = [random_scene(rng, stickers[k % len(stickers)]) for k in range(n)]
    return layout_pairs(layouts, SIZE, caption, tokenizer, CATEGORIES)


def training_pairs(n: int, seed: int = 0) -> Pairs:
    """Pairs to train on, and the tokenizer of all captions there can be."""
    return draw_pairs(n, "train", seed, tokenizer=vocabulary())


def test_pairs(n: int, tokenizer) -> Pairs:
    """Scenes of two stickers; no caption comes twice."""
    drawn = draw_pairs(4 * n, "test", stickers=(2,), tokenizer=tokenizer)
    first = {text: i for i, text in reversed([*enumerate(drawn.captions)])}
    return drawn.subset(sorted(first.values())[:n])


def vocabulary():
    """A tokenizer that knows every word of :func:`caption`."""
    relations = "to the left right of above below"
    things = [find_category(name).one for name in CATEGORIES]
    return word_tokenizer([relations, "on a disc", *COLORS, *things])


def swapped_ids(pairs: Pairs, what: str) -> Tensor:
    """Captions [N, L] that are wrong in one thing and keep every word.

    ``what`` is "colours" (the discs change owners) or "stickers" (they change
    places, so that the relation is the opposite one).
    """
    layouts = [scene.layout for scene in pairs.scenes]
    if what == "colours":
        layouts = [x.swap_colors() for x in layouts]
    elif what == "stickers":
        layouts = [x.swap_stickers() for x in layouts]
    else:
        raise ValueError(f"swap 'colours' or 'stickers', not {what!r}")
    texts = [caption(x).text for x in layouts]
    return to_ids(pairs.tokenizer, texts)


def make(kind: type[Framework], tokenizer, seed: int = 0, **sizes):
    """A framework of the size that the comparison uses.

    Raises ValueError for other classes than the package's three.
    """
    if kind not in LAYERS:
        names = ", ".join(k.__name__ for k in LAYERS)
        what = getattr(kind, "__name__", repr(kind))
        raise ValueError(
            f"make builds {names} of vlmtutor.models.frameworks, not this {what}"
        )
    sizes = {
        "image_encoder": "vit-conv",
        "width": WIDTH,
        "embed_dim": WIDTH,
        "image_size": SIZE,
    } | sizes
    layers = dict(LAYERS[kind])
    if sizes["image_encoder"] == "cnn":
        layers["image_layers"] = CNN_LAYERS
    sizes = layers | sizes
    return kind(FrameworkConfig(len(tokenizer), seed=seed, **sizes))


def contrast(model: Framework, batch: Batch) -> dict[str, Tensor]:
    """CLIP's loss, for every framework."""
    images = model.encode_images(batch.pixel_values)
    texts = model.encode_texts(batch.input_ids)
    ignore = same_captions(batch.input_ids)
    return {"contrast": clip_loss(images, texts, model.scale(), ignore)}


class ContrastAndMatch:
    """CLIP's loss, and the question whether a picture and a text match.

    The question is put to the first ``MATCHED`` pairs of a batch, each with
    two hard negatives: it costs more than all the rest.
    """

    def __init__(self, seed: int = 0):
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, model: Framework, batch: Batch) -> dict[str, Tensor]:
        ids = batch.input_ids
        image_tokens = model.image_tokens(batch.pixel_values)
        text_tokens = model.text_tokens(ids)
        images = model.image_embeds(image_tokens)
        texts = model.text_embeds(text_tokens, ids)
        same = same_captions(ids)
        logits = model.scale() * images @ texts.T
        some = slice(MATCHED)
        return {
            "contrast": clip_loss(images, texts, model.scale(), same),
            "match": match_in_batch(
                model,
                image_tokens[some],
                text_tokens[some],
                ids[some],
                self.generator,
                logits[some, some],
                same[some, some],
            ),
        }


def loss_for(model: Framework, seed: int = 0):
    """Two towers have one score a pair; the others have two."""
    return contrast if isinstance(model, TwoTower) else ContrastAndMatch(seed)


def measure(model: Framework, pairs: Pairs, grid: int = 100) -> dict:
    """Retrieval and binding, by embeddings and, where there is, by matching.

    Retrieval is R@1 of picture → caption among ``grid`` of the pairs.
    """
    x, right = pairs.pixel_values, pairs.input_ids
    few, ids = x[:grid], right[:grid]
    ways = {"embeddings": ranking.by_embeddings}
    if not isinstance(model, TwoTower):
        ways["matching"] = ranking.by_matching
    found = {}
    wrong = [swapped_ids(pairs, what) for what in ("colours", "stickers")]
    for way, fill in ways.items():
        values = [recall_at_k(fill(model, few, ids))]
        for trap in wrong:
            matching = way == "matching"
            values.append(ranking.prefers(model, x, right, trap, matching))
        found[way] = dict(zip(FIGURES, values, strict=True))
    return found


def train(
    model: Framework,
    pairs: Pairs,
    steps: int,
    batch_size: int = 64,
    seed: int = 0,
    **options,
) -> History:
    """Train a framework by its own loss, in place."""
    return fit(
        model, loss_for(model, seed), pairs, steps, batch_size, LR, seed=seed, **options
    )
