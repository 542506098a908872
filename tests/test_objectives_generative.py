"""Hidden patches, hidden words, next words: against transformers' losses."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from objective_tiny import agree, finite, rng
from transformers import (
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    ViTMAEConfig,
    ViTMAEForPreTraining,
)

from vlmtutor.objectives.generative import (
    caption_loss,
    mask_words,
    masked_image_loss,
    masked_word_loss,
    patchify,
    random_patch_mask,
    unpatchify,
)
from vlmtutor.seeding import seeded_weights


@pytest.fixture(scope="module")
def vit_mae():
    with seeded_weights(0):
        return {
            normalize: ViTMAEForPreTraining(
                ViTMAEConfig(
                    hidden_size=16,
                    num_hidden_layers=1,
                    intermediate_size=16,
                    num_attention_heads=2,
                    image_size=16,
                    patch_size=4,
                    decoder_hidden_size=16,
                    decoder_num_hidden_layers=1,
                    decoder_num_attention_heads=2,
                    decoder_intermediate_size=16,
                    norm_pix_loss=normalize,
                )
            )
            for normalize in (True, False)
        }


@pytest.mark.parametrize("normalize", [True, False])
def test_masked_image_loss_is_that_of_vitmae(vit_mae, normalize):
    pixels = torch.randn(3, 3, 16, 16, generator=rng(0))
    output = vit_mae[normalize](pixels)
    mask = output.mask.bool()
    assert mask.sum(1).eq(12).all()
    ours = masked_image_loss(output.logits, pixels, mask, 4, normalize)
    agree(ours, output.loss, (output.logits,))


@given(st.sampled_from([1, 2, 4]), st.integers(1, 3), st.integers(0, 2))
@settings(max_examples=15, deadline=None)
def test_unpatchify_turns_patchify_back(p, side, n):
    pixels = torch.randn(n, 3, p * side, p * side, generator=rng(0))
    patches = patchify(pixels, p)
    assert patches.shape == (n, side * side, 3 * p * p)
    assert torch.equal(unpatchify(patches, p), pixels)


def test_patches_must_fit():
    with pytest.raises(ValueError, match="do not fill"):
        patchify(torch.zeros(1, 3, 10, 10), 4)
    with pytest.raises(ValueError, match="no square"):
        unpatchify(torch.zeros(1, 5, 12), 2)


def test_masked_image_loss_at_the_edges():
    pixels = torch.randn(2, 3, 8, 8, generator=rng(0))
    predicted = torch.zeros(2, 4, 48).requires_grad_()
    nothing = torch.zeros(2, 4, dtype=torch.bool)
    loss = masked_image_loss(predicted, pixels, nothing, 4)
    assert loss.item() == 0
    finite(loss, predicted)
    all_of_it = ~nothing
    # guessing grey leaves each patch's own (unbiased) variance
    loss = masked_image_loss(predicted, pixels, all_of_it, 4)
    assert loss.item() == pytest.approx(47 / 48, abs=1e-3)
    flat = masked_image_loss(predicted, pixels * 0 + 1, all_of_it, 4)
    assert flat.item() == 0  # no spread, and no division by it
    empty = masked_image_loss(predicted[:0], pixels[:0], nothing[:0], 4)
    assert empty.item() == 0


def test_random_patch_mask_hides_equally_many():
    mask = random_patch_mask(50, 16, 0.75, rng(0))
    assert mask.sum(1).eq(12).all()
    assert mask.float().mean(0).min() > 0.5  # every place has its turn
    assert torch.equal(mask, random_patch_mask(50, 16, 0.75, rng(0)))
    assert not random_patch_mask(2, 16, 0, rng(0)).any()
    assert random_patch_mask(2, 16, 1, rng(0)).all()
    with pytest.raises(ValueError, match="between 0 and 1"):
        random_patch_mask(2, 16, 1.5, rng(0))


def test_masked_word_loss_is_that_of_bert():
    with seeded_weights(0):
        model = BertForMaskedLM(
            BertConfig(
                vocab_size=30,
                hidden_size=16,
                num_hidden_layers=1,
                num_attention_heads=2,
                intermediate_size=16,
                hidden_dropout_prob=0,
                attention_probs_dropout_prob=0,
            )
        )
    ids = torch.randint(5, 30, (3, 7), generator=rng(0))
    masked, labels = mask_words(ids, 30, rng(1), share=0.4)
    output = model(input_ids=masked, labels=labels)
    ours = masked_word_loss(output.logits, labels)
    agree(ours, output.loss, (output.logits,))


def test_masked_word_loss_at_the_edges():
    logits = torch.randn(2, 3, 9, generator=rng(0)).requires_grad_()
    nothing = torch.full((2, 3), -100)
    loss = masked_word_loss(logits, nothing)
    assert loss.item() == 0
    finite(loss, logits)
    one_row = nothing.clone()
    one_row[1, 2] = 4
    hand = -logits[1, 2].log_softmax(0)[4]
    assert torch.allclose(masked_word_loss(logits, one_row), hand)
    finite(masked_word_loss(1e4 * logits, one_row), logits)
    assert masked_word_loss(logits[:0], nothing[:0]).item() == 0


def test_mask_words_keeps_to_its_shares():
    ids = torch.randint(5, 50, (200, 60), generator=rng(0))
    ids[:, 0], ids[:, -1], ids[::2, -2] = 2, 3, 0
    new, labels = mask_words(ids, 50, rng(1))
    chosen = labels != -100
    words = ids >= 5
    assert not chosen[~words].any()
    assert torch.equal(new[~chosen], ids[~chosen])
    assert torch.equal(labels[chosen], ids[chosen])
    assert chosen[words].float().mean().item() == pytest.approx(0.15, abs=0.01)
    masked = (new == 4)[chosen].float().mean().item()
    kept = (new == ids)[chosen].float().mean().item()
    assert masked == pytest.approx(0.8, abs=0.03)
    assert kept == pytest.approx(0.1 + 0.1 / 45, abs=0.03)
    assert new[words].min() >= 4 and new.max() < 50


def test_mask_words_may_choose_none():
    ids = torch.tensor([[2, 7, 8, 9, 3], [2, 8, 3, 0, 0]])
    new, labels = mask_words(ids, 10, rng(0), share=0)
    assert torch.equal(new, ids) and labels.eq(-100).all()
    new, labels = mask_words(ids[:0], 10, rng(0))
    assert new.shape == labels.shape == (0, 5)


def test_caption_loss_is_that_of_gpt2():
    with seeded_weights(0):
        model = GPT2LMHeadModel(
            GPT2Config(vocab_size=20, n_embd=16, n_layer=1, n_head=2, n_positions=12)
        ).eval()
    ids = torch.tensor([[2, 7, 8, 9, 3], [2, 8, 3, 0, 0]])
    output = model(input_ids=ids, labels=ids.masked_fill(ids == 0, -100))
    ours = caption_loss(output.logits, ids)
    agree(ours, output.loss, (output.logits,))


def test_caption_loss_at_the_edges():
    logits = torch.randn(2, 4, 9, generator=rng(0)).requires_grad_()
    ids = torch.tensor([[2, 7, 3, 0], [0, 0, 0, 0]])
    alone = caption_loss(logits[:1], ids[:1])
    assert torch.allclose(caption_loss(logits, ids), alone)
    for loss in (caption_loss(logits, ids * 0), caption_loss(1e4 * logits, ids)):
        finite(loss, logits)
    assert caption_loss(logits, ids * 0).item() == 0
    assert caption_loss(logits[:, :1], ids[:, :1]).item() == 0
    assert caption_loss(logits[:0], ids[:0]).item() == 0
