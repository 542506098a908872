"""The terms of the pre-training loss, and whom they teach."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from vlmtutor.objectives.contrastive import clip_loss, siglip_loss
from vlmtutor.precision import bf16_products
from vlmtutor.pretrain.build import build_model, build_tokenizer
from vlmtutor.pretrain.config import PretrainConfig
from vlmtutor.pretrain.data import Mosaics, PretrainData, to_pixel_values
from vlmtutor.pretrain.forward import encode_images, encode_texts
from vlmtutor.pretrain.losses import Trainer, quarter_naming, quarter_scores, total
from vlmtutor.pretrain.teacher import TextTargets
from vlmtutor.world import load_categories

CLASSES = len(load_categories())
TINY = PretrainConfig(
    vision_width=32, vision_layers=2, vision_head=16, text_width=32,
    text_layers=1, text_length=20, embed_dim=16, vocabulary=0, batch_size=8,
    mosaics=2, every_category=90,
)  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer([], TINY)


def case(tokenizer, free=True, **knobs):
    """Everything for one step: trainer, config and the losses' arguments."""
    config = replace(TINY, **knobs)
    model = build_model(config, len(tokenizer), 32)
    trainer = Trainer(model, CLASSES, teacher_dim=8)
    data = PretrainData(config)
    batch = data.batch(0, 32, 0.6)
    mosaics = data.mosaics(0, 32) if config.mosaics else None
    targets = rows = None
    if free:
        generator = torch.Generator().manual_seed(1)
        embeds = torch.randn(6, 8, generator=generator)
        top = torch.tensor([[0, 90], [90, 180], [0, 3]] * 2)
        targets = TextTargets(
            ["a moon", "fun", "zip", "cold sea", "no", "what now"],
            F.normalize(embeds, dim=-1),
            top,
            torch.full((6, 2), 0.5),
            3,
        )
        rows = torch.tensor([0, 4, 2])
    return trainer, config, (batch, tokenizer, config, targets, rows, mosaics)


def norm(parameters):
    return sum(float(p.grad.norm()) for p in parameters if p.grad is not None)


def towers(trainer):
    clip = trainer.clip
    return (
        [*clip.vision_model.parameters(), clip.visual_projection.weight],
        [*clip.text_model.parameters(), clip.text_projection.weight],
    )


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
@pytest.mark.parametrize("bf16", [True, False])
def test_all_terms_are_finite_and_reach_both_towers(tokenizer, loss, bf16):
    trainer, config, args = case(tokenizer, loss=loss)
    with bf16_products(bf16):
        terms = trainer.losses(*args)
    assert set(terms) == {"clip", "local", "naming", "label", "bank", "teacher"}
    for name, term in terms.items():
        assert term.dtype == torch.float32 and term.ndim == 0
        assert torch.isfinite(term) and term > 0, name
    total(terms, config).backward()
    unused = {"bias"} if loss == "softmax" else set()
    for name, p in trainer.named_parameters():
        if name in unused:
            assert p.grad is None
            continue
        assert p.grad is not None and torch.isfinite(p.grad).all(), name
    for tower in towers(trainer):
        assert norm(tower) > 1e-3


@pytest.mark.parametrize(
    ("term", "vision"),
    [
        ("clip", True),
        ("local", True),
        ("naming", True),
        ("label", True),
        ("bank", False),
        ("teacher", False),
    ],
)
def test_whom_each_term_teaches(tokenizer, term, vision):
    """Free text has no picture of its own: it teaches the words alone."""
    trainer, _, args = case(tokenizer)
    trainer.losses(*args)[term].backward()
    images, texts = towers(trainer)
    assert (norm(images) > 1e-4) == vision and norm(texts) > 1e-4


def test_the_total_is_the_weighted_sum():
    weights = {"local": 2.0, "naming": 3.0, "label": 5.0, "bank": 7.0}
    config = replace(
        TINY, **{f"{k}_weight": v for k, v in weights.items()}, teacher_weight=11.0
    )
    names = ["clip", "local", "naming", "label", "bank", "teacher"]
    terms = {name: torch.tensor(10.0**k) for k, name in enumerate(names)}
    assert float(total(terms, config)) == 1_175_321
    assert float(total({"clip": torch.tensor(4.0)}, config)) == 4


def test_terms_can_be_left_out(tokenizer):
    trainer, config, args = case(tokenizer, free=False)
    assert {"bank", "teacher"}.isdisjoint(trainer.losses(*args))
    trainer, config, args = case(tokenizer, free=False, local_weight=0.0)
    assert set(trainer.losses(*args)) == {"clip"}
    trainer, config, args = case(tokenizer, free=False, mosaics=0)
    assert set(trainer.losses(*args)) == {"clip", "local"}
    trainer, config, args = case(tokenizer, free=False, every_name=False)
    assert set(trainer.losses(*args)) == {"clip", "local", "naming"}


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_false_negatives_are_left_out_when_asked(tokenizer, loss):
    found = {}
    for masked in (True, False):
        trainer, config, args = case(
            tokenizer,
            free=False,
            loss=loss,
            false_negatives="kinds" if masked else "none",
        )
        batch = args[0]
        others = batch.same & ~torch.eye(8, dtype=torch.bool)
        assert others.any()  # two scenes of this batch hold the same
        found[masked] = trainer.losses(*args)["clip"].item()
        with torch.no_grad():
            images, _ = encode_images(trainer.clip, to_pixel_values(batch.pixels))
            texts, _ = encode_texts(trainer.clip, tokenizer, batch.captions)
            scale = trainer.clip.logit_scale.exp()
            ignore = batch.same if masked else None
            if loss == "sigmoid":
                by_hand = siglip_loss(images, texts, scale, -4.0, ignore)
            else:
                by_hand = clip_loss(images, texts, scale, ignore)
        assert found[masked] == pytest.approx(by_hand.item(), abs=1e-4)
    assert found[True] < found[False] - 1e-3


def ideal_patches(mosaics, phrases, named, side, share):
    """Patches that show their quarter's sticker, and its place in ``share``.

    Every ``1 / share``-th patch of a quarter is background.
    """
    patches = torch.zeros(mosaics.present.shape[1] // 4, side, side, 40)
    row, column = mosaics.split
    for m in range(len(patches)):
        for k in range(4):
            true = mosaics.present[:, 4 * m + k]
            sticker = phrases[:named][true[:named]][0]
            place = phrases[named:][true[named:]][0]
            y = slice(0, row) if k < 2 else slice(row, side)
            x = slice(0, column) if k % 2 == 0 else slice(column, side)
            quarter = patches[m, y, x]
            quarter[:] = sticker
            if share:
                quarter[:, :: int(1 / share)] = place
    return patches.flatten(1, 2)


def mosaic_case(seed=0):
    """Two mosaics of 6 x 6 patches, unequal quarters, 5 names, 4 places."""
    generator = torch.Generator().manual_seed(seed)
    kinds = torch.randint(0, 5, (8,), generator=generator)
    places = torch.randint(0, 4, (8,), generator=generator)
    present = torch.cat([F.one_hot(kinds, 5).T, F.one_hot(places, 4).T])
    mosaics = Mosaics(torch.empty(0), [""] * 9, present.bool(), (2, 4), 4)
    return mosaics, torch.eye(9, 40)


def test_quarters_lie_in_the_order_that_present_means():
    for seed in range(5):
        mosaics, phrases = mosaic_case(seed)
        patches = ideal_patches(mosaics, phrases, 5, 6, 0.0)
        scores = quarter_scores(patches, phrases, torch.tensor(50.0), mosaics)
        assert scores.shape == mosaics.present.shape
        found = scores[:5] > 25
        assert torch.equal(found, mosaics.present[:5])


def test_naming_is_free_where_every_quarter_shows_what_it_should():
    for seed in range(5):
        mosaics, phrases = mosaic_case(seed)
        scale = torch.tensor(80.0)
        half = ideal_patches(mosaics, phrases, 5, 6, 0.5)
        loss = quarter_naming(half, phrases, scale, mosaics)
        # half of each quarter for each of its two phrases
        assert loss.item() == pytest.approx(math.log(2), abs=1e-3)
        turned = half.unflatten(1, (6, 6)).transpose(1, 2).flatten(1, 2)
        wrong = quarter_naming(turned, phrases, scale, mosaics)
        assert wrong > loss + 0.2
        only = ideal_patches(mosaics, phrases, 5, 6, 0.0)
        places = quarter_naming(only, phrases, scale, mosaics).item()
        assert places == pytest.approx(-math.log(1e-6) / 2, rel=1e-3)


def test_the_bank_is_a_running_mean_of_single_pictures(tokenizer):
    trainer, _, _ = case(tokenizer, free=False)
    embeds = F.normalize(torch.randn(3, 16), dim=-1)
    trainer.update_bank(embeds, torch.tensor([5, -1, 5]))
    first = (1 - 0.9**2) * (embeds[0] + embeds[2]) / 2
    assert torch.allclose(trainer.bank[5], first)
    trainer.update_bank(embeds, torch.tensor([-1, 5, -1]))
    assert torch.allclose(trainer.bank[5], 0.9 * first + 0.1 * embeds[1])
    assert not trainer.bank[:5].any() and not trainer.bank[6:].any()


def test_a_category_without_a_picture_yet_is_no_answer(tokenizer):
    trainer, _, args = case(tokenizer)
    terms = trainer.losses(*args)  # the batch has filled a part of the bank
    seen = trainer.bank.norm(dim=-1) > 0
    assert set(seen.nonzero().flatten().tolist()) == set(args[0].single.tolist()) - {-1}
    assert 0 <= terms["bank"] < 20
    trainer.bank.zero_()
    with torch.no_grad():
        args[0].single.fill_(-1)
        assert trainer.losses(*args)["bank"] == 0


def test_ground_says_how_much_of_a_quarter_is_background():
    """The loss is least where names have their share of the patches."""
    mosaics, phrases = mosaic_case(1)

    def loss(share, ground):
        patches = ideal_patches(mosaics, phrases, 5, 6, share)
        return quarter_naming(patches, phrases, torch.tensor(50.0), mosaics, ground)

    half, quarter = 0.5, 0.25
    assert loss(quarter, 0.25) < loss(half, 0.25)
    assert loss(half, 0.5) < loss(quarter, 0.5)
    plain = quarter_naming(
        ideal_patches(mosaics, phrases, 5, 6, half),
        phrases,
        torch.tensor(50.0),
        mosaics,
    )
    assert plain == loss(half, 0.5)
