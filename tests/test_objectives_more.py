"""The lessons' losses against reference implementations, and at the edges."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    BertConfig,
    BertForMaskedLM,
    CLIPConfig,
    CLIPModel,
    GPT2Config,
    GPT2LMHeadModel,
    ViTMAEConfig,
    ViTMAEForPreTraining,
)
from transformers.loss.loss_for_object_detection import sigmoid_focal_loss

from vlmtutor.objectives.captioning import caption_loss
from vlmtutor.objectives.contrastive import clip_loss
from vlmtutor.objectives.grounding import (
    focal_loss,
    grounding_loss,
    pool_regions,
    region_concept_loss,
    region_word_logits,
)
from vlmtutor.objectives.image_only import nt_xent
from vlmtutor.objectives.labels import unicl_loss
from vlmtutor.objectives.late_interaction import filip_loss, token_similarity
from vlmtutor.objectives.masked import (
    mask_words,
    masked_image_loss,
    masked_word_loss,
    patchify,
    random_patch_mask,
    unpatchify,
)
from vlmtutor.objectives.matching import (
    hard_negatives,
    match_in_batch,
    matching_loss,
    random_negatives,
    same_captions,
)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def unit(*shape, seed=0):
    return F.normalize(torch.randn(*shape, generator=rng(seed)), dim=-1)


def agree(ours, theirs, inputs, atol=1e-6):
    """Two losses have one value and one gradient for each input."""
    assert torch.allclose(ours, theirs, atol=atol)
    first = torch.autograd.grad(ours, inputs, retain_graph=True)
    second = torch.autograd.grad(theirs, inputs, retain_graph=True)
    for a, b in zip(first, second, strict=True):
        assert a.abs().max() > 0
        assert torch.allclose(a, b, atol=atol)


def finite(loss, *inputs):
    assert loss.isfinite()
    for grad in torch.autograd.grad(loss, inputs):
        assert grad.isfinite().all()


@pytest.fixture(scope="module")
def clip_output():
    """What a tiny CLIPModel says of six pictures and texts, with its loss."""
    tiny = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    config = CLIPConfig(
        text_config={**tiny, "vocab_size": 20, "eos_token_id": 3},
        vision_config={**tiny, "image_size": 8, "patch_size": 4},
        projection_dim=8,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = CLIPModel(config)
    ids = torch.randint(5, 20, (6, 5), generator=rng())
    ids[:, -1] = 3
    pixels = torch.randn(6, 3, 8, 8, generator=rng(1))
    output = model(input_ids=ids, pixel_values=pixels, return_loss=True)
    return output, model.logit_scale.exp()


# SimCLR


def slow_nt_xent(a, b, t):
    """The definition, one view at a time."""
    views = [*a, *b]
    losses = []
    for i, view in enumerate(views):
        partner = (i + len(a)) % len(views)
        others = [
            torch.exp(view @ other / t) for j, other in enumerate(views) if j != i
        ]
        right = torch.exp(view @ views[partner] / t)
        losses.append(-torch.log(right / sum(others)))
    return sum(losses) / len(losses)


@given(st.integers(1, 6), st.floats(0.2, 5), st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_nt_xent_is_its_definition(n, t, seed):
    a = unit(n, 4, seed=seed).requires_grad_()
    b = unit(n, 4, seed=seed + 1).requires_grad_()
    ours, theirs = nt_xent(a, b, t), slow_nt_xent(a, b, t)
    assert torch.allclose(ours, theirs, atol=1e-5)
    for first, second in zip(
        torch.autograd.grad(ours, (a, b)),
        torch.autograd.grad(theirs, (a, b)),
        strict=True,
    ):
        assert torch.allclose(first, second, atol=1e-5)


def test_nt_xent_at_the_edges():
    a = unit(5, 8).requires_grad_()
    assert nt_xent(a[:1], a[1:2]).item() == 0  # nothing to confuse it with
    same = torch.ones(4, 8) / 8**0.5
    assert nt_xent(same, same).item() == pytest.approx(math.log(7))
    for temperature in (1e-3, 1e6):
        finite(nt_xent(a, unit(5, 8, seed=1), temperature), a)
    with pytest.raises(ValueError, match="at least one"):
        nt_xent(a[:0], a[:0])
    with pytest.raises(ValueError, match="two views"):
        nt_xent(a, a[:2])


# UniCL


def test_unicl_with_labels_of_their_own_is_clip(clip_output):
    output, scale = clip_output
    image, text = output.image_embeds, output.text_embeds
    for labels in (torch.arange(6), torch.full((6,), -1)):
        ours = unicl_loss(image, text, scale, labels)
        agree(ours, output.loss, (image, text))


def test_unicl_spreads_over_what_is_alike():
    image, text = unit(4, 8), unit(4, 8, seed=1)
    logits = 5 * image @ text.T
    everything = unicl_loss(image, text, 5, torch.zeros(4, dtype=torch.long))
    even = -(logits.log_softmax(1).mean() + logits.log_softmax(0).mean()) / 2
    assert torch.allclose(everything, even, atol=1e-6)


def test_unicl_classifies_with_texts_of_classes():
    """N pictures and M class texts: one direction is cross-entropy."""
    image, text = unit(5, 8), unit(3, 8, seed=1)
    labels = torch.tensor([0, 1, 2, 1, 0])
    logits = 4 * image @ text.T
    right = labels[:, None] == torch.arange(3)
    back = logits.T.log_softmax(1) * right.T / right.T.sum(1, keepdim=True)
    hand = (F.cross_entropy(logits, labels) - back.sum(1).mean()) / 2
    ours = unicl_loss(image, text, 4, labels, torch.arange(3))
    assert torch.allclose(ours, hand, atol=1e-6)


def test_unicl_at_the_edges():
    image = unit(3, 8).requires_grad_()
    labels = torch.tensor([0, 1, 1])
    assert unicl_loss(image[:1], image[:1], 9, labels[:1]).item() == 0
    for scale in (0.0, 1e4):
        finite(unicl_loss(image, unit(3, 8, seed=1), scale, labels), image)
    with pytest.raises(ValueError, match="no picture"):
        unicl_loss(image[:0], image[:0], 1, labels[:0])
    with pytest.raises(ValueError, match="no picture"):
        unicl_loss(image, image, 1, labels, labels + 5)
    with pytest.raises(ValueError, match="one label"):
        unicl_loss(image, image, 1, labels[:2])


# FILIP


def slow_filip(patches, words, mask):
    N, M = len(patches), len(words)
    by_patch, by_word = torch.zeros(N, M), torch.zeros(N, M)
    for n in range(N):
        for m in range(M):
            cosines = patches[n] @ words[m][mask[m]].T
            by_patch[n, m] = cosines.max(1).values.mean()
            by_word[n, m] = cosines.max(0).values.mean()
    return by_patch, by_word


def test_token_similarity_is_its_definition():
    patches, words = unit(3, 5, 8), unit(4, 6, 8, seed=1)
    mask = torch.arange(6) < torch.tensor([6, 1, 3, 4])[:, None]
    ours = token_similarity(patches, words, mask)
    for a, b in zip(ours, slow_filip(patches, words, mask), strict=True):
        assert torch.allclose(a, b, atol=1e-6)
    full = token_similarity(patches, words)
    again = token_similarity(patches, words, torch.ones_like(mask))
    for a, b in zip(full, again, strict=True):
        assert torch.allclose(a, b, atol=1e-6)
    assert not torch.allclose(*full, atol=1e-3)  # the two directions differ


def test_filip_ignores_padding_and_the_order_of_patches():
    patches, words = unit(3, 5, 8), unit(3, 6, 8, seed=1)
    mask = torch.arange(6) < torch.tensor([2, 6, 4])[:, None]
    loss = filip_loss(patches, words, 10, mask)
    other = torch.where(mask[..., None], words, unit(3, 6, 8, seed=2))
    assert torch.equal(loss, filip_loss(patches, other, 10, mask))
    assert torch.allclose(loss, filip_loss(patches.flip(1), words, 10, mask))


def test_filip_with_one_token_is_clip(clip_output):
    output, scale = clip_output
    image, text = output.image_embeds, output.text_embeds
    ours = filip_loss(image[:, None], text[:, None], scale)
    agree(ours, output.loss, (image, text))


def test_filip_at_the_edges():
    patches = unit(3, 5, 8).requires_grad_()
    words = unit(3, 6, 8, seed=1)
    mask = torch.zeros(3, 6, dtype=torch.bool)
    mask[0] = True
    for similarity in token_similarity(patches, words, mask):
        assert similarity[:, 1:].eq(0).all()  # texts without words
    for scale in (0.0, 1e4):
        finite(filip_loss(patches, words, scale, mask), patches)
    assert filip_loss(patches[:1], words[:1], 9).item() == 0
    with pytest.raises(ValueError, match="0 pictures"):
        filip_loss(patches[:0], words[:0], 1)
    with pytest.raises(ValueError, match="3 pictures and 2 texts"):
        filip_loss(patches, words[:2], 1)


# Masked pictures


@pytest.fixture(scope="module")
def vit_mae():
    with torch.random.fork_rng():
        torch.manual_seed(0)
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
    pixels = torch.randn(3, 3, 16, 16, generator=rng())
    output = vit_mae[normalize](pixels)
    mask = output.mask.bool()
    assert mask.sum(1).eq(12).all()
    ours = masked_image_loss(output.logits, pixels, mask, 4, normalize)
    agree(ours, output.loss, (output.logits,))


@given(st.sampled_from([1, 2, 4]), st.integers(1, 3), st.integers(0, 2))
@settings(max_examples=15, deadline=None)
def test_unpatchify_turns_patchify_back(p, side, n):
    pixels = torch.randn(n, 3, p * side, p * side, generator=rng())
    patches = patchify(pixels, p)
    assert patches.shape == (n, side * side, 3 * p * p)
    assert torch.equal(unpatchify(patches, p), pixels)


def test_patches_must_fit():
    with pytest.raises(ValueError, match="do not fill"):
        patchify(torch.zeros(1, 3, 10, 10), 4)
    with pytest.raises(ValueError, match="no square"):
        unpatchify(torch.zeros(1, 5, 12), 2)


def test_masked_image_loss_at_the_edges():
    pixels = torch.randn(2, 3, 8, 8, generator=rng())
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
    mask = random_patch_mask(50, 16, 0.75, rng())
    assert mask.sum(1).eq(12).all()
    assert mask.float().mean(0).min() > 0.5  # every place has its turn
    assert torch.equal(mask, random_patch_mask(50, 16, 0.75, rng()))
    assert not random_patch_mask(2, 16, 0, rng()).any()
    assert random_patch_mask(2, 16, 1, rng()).all()
    with pytest.raises(ValueError, match="between 0 and 1"):
        random_patch_mask(2, 16, 1.5, rng())


# Masked words


def test_masked_word_loss_is_that_of_bert():
    with torch.random.fork_rng():
        torch.manual_seed(0)
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
    ids = torch.randint(5, 30, (3, 7), generator=rng())
    masked, labels = mask_words(ids, 30, rng(1), share=0.4)
    output = model(input_ids=masked, labels=labels)
    ours = masked_word_loss(output.logits, labels)
    agree(ours, output.loss, (output.logits,))


def test_masked_word_loss_at_the_edges():
    logits = torch.randn(2, 3, 9, generator=rng()).requires_grad_()
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
    ids = torch.randint(5, 50, (200, 60), generator=rng())
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


def test_mask_words_where_it_is_told():
    ids = torch.tensor([[2, 7, 8, 9, 3], [2, 8, 3, 0, 0]])
    new, labels = mask_words(ids, 10, rng(), choose=ids == 8)
    assert new.tolist() == [[2, 7, 4, 9, 3], [2, 4, 3, 0, 0]]
    assert labels.tolist() == [[-100, -100, 8, -100, -100], [-100, 8] + 3 * [-100]]  # fmt: skip # noqa: E501
    new, labels = mask_words(ids, 10, rng(), share=0)
    assert torch.equal(new, ids) and labels.eq(-100).all()
    new, labels = mask_words(ids[:0], 10, rng())
    assert new.shape == labels.shape == (0, 5)


# Captions


def test_caption_loss_is_that_of_gpt2():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = GPT2LMHeadModel(
            GPT2Config(vocab_size=20, n_embd=16, n_layer=1, n_head=2, n_positions=12)
        ).eval()
    ids = torch.tensor([[2, 7, 8, 9, 3], [2, 8, 3, 0, 0]])
    output = model(input_ids=ids, labels=ids.masked_fill(ids == 0, -100))
    ours = caption_loss(output.logits, ids)
    agree(ours, output.loss, (output.logits,))


def test_caption_loss_at_the_edges():
    logits = torch.randn(2, 4, 9, generator=rng()).requires_grad_()
    ids = torch.tensor([[2, 7, 3, 0], [0, 0, 0, 0]])
    alone = caption_loss(logits[:1], ids[:1])
    assert torch.allclose(caption_loss(logits, ids), alone)
    for loss in (caption_loss(logits, ids * 0), caption_loss(1e4 * logits, ids)):
        finite(loss, logits)
    assert caption_loss(logits, ids * 0).item() == 0
    assert caption_loss(logits[:, :1], ids[:, :1]).item() == 0
    assert caption_loss(logits[:0], ids[:0]).item() == 0


# Matching


def test_matching_loss_is_a_two_way_cross_entropy():
    yes = torch.randn(4, generator=rng()).requires_grad_()
    no = torch.randn(8, generator=rng(1)).requires_grad_()
    both = torch.cat([yes, no])
    two_way = torch.stack([torch.zeros_like(both), both], dim=1)
    theirs = F.cross_entropy(two_way, torch.tensor([1] * 4 + [0] * 8))
    agree(matching_loss(yes, no[:3], no[3:]), theirs, (yes, no))


def test_matching_loss_at_the_edges():
    prior = torch.full((4,), math.log(0.5))  # sigmoid: 1/3
    loss = matching_loss(prior, prior, prior)
    assert loss.item() == pytest.approx(0.6365, abs=1e-4)
    huge = torch.tensor([1e6, -1e6]).requires_grad_()
    finite(matching_loss(huge, huge), huge)
    assert matching_loss(huge[:1]).item() == 0
    with pytest.raises(ValueError, match="empty"):
        matching_loss(huge[:0])


def test_negatives_are_wrong_and_the_hard_ones_look_right():
    logits = torch.zeros(6, 6)
    logits[:, 2] = 4.0  # everything looks like 2
    draws = torch.stack([hard_negatives(logits, rng(s)) for s in range(200)])
    assert (draws != torch.arange(6)).all()
    assert (draws[:, [0, 1, 3, 4, 5]] == 2).float().mean() > 0.8
    easy = torch.stack([random_negatives(6, rng(s)) for s in range(200)])
    assert (easy != torch.arange(6)).all()
    assert (easy[:, 0] == 2).float().mean().item() == pytest.approx(0.2, abs=0.08)  # fmt: skip # noqa: E501
    extreme = hard_negatives(1e6 * logits, rng())
    assert (extreme[[0, 1]] == 2).all() and extreme[2] != 2


def test_what_is_the_same_is_no_negative():
    ids = torch.tensor([[2, 7, 3], [2, 8, 3], [2, 7, 3]])
    same = same_captions(ids)
    assert same.tolist() == [[1, 0, 1], [0, 1, 0], [1, 0, 1]]
    for seed in range(20):
        drawn = random_negatives(3, rng(seed), same)
        assert drawn[0] == drawn[2] == 1 and drawn[1] in (0, 2)
    nothing = torch.ones(3, 3, dtype=torch.bool)
    assert random_negatives(3, rng(), nothing).tolist() == [-1] * 3
    assert hard_negatives(torch.zeros(1, 1), rng()).tolist() == [-1]
    assert hard_negatives(torch.zeros(0, 0), rng()).tolist() == []


class Pairing:
    """A model that knows which picture belongs to which text."""

    def match_logits(self, image_tokens, text_tokens, input_ids):
        right = image_tokens[:, 0, 0] == text_tokens[:, 0, 0]
        self.asked = right.tolist()
        return torch.where(right, 30.0, -30.0)


def test_match_in_batch_asks_three_questions_a_pair():
    tokens = torch.arange(4.0).view(4, 1, 1)
    ids = torch.arange(5, 9)[:, None]
    for logits in (None, torch.zeros(4, 4)):
        model = Pairing()
        loss = match_in_batch(model, tokens, tokens, ids, rng(), logits)
        assert model.asked == [True] * 4 + [False] * 8
        assert loss.item() < 1e-6
    all_alike = torch.ones(4, 4, dtype=torch.bool)
    match_in_batch(model, tokens, tokens, ids, rng(), same=all_alike)
    assert model.asked == [True] * 4
    alone = match_in_batch(model, tokens[:1], tokens[:1], ids[:1], rng())
    assert model.asked == [True] and alone.item() < 1e-6


# Grounding


def test_pool_regions_weighs_patches_by_what_is_covered():
    patches = torch.eye(4)[None]  # a 2 × 2 grid, each patch its own axis
    boxes = torch.tensor(
        [[[0, 0, 1, 1], [0, 0, 0.5, 0.5], [0.25, 0, 1, 0.5], [0, 0, 0, 0]]]
    )
    pooled = pool_regions(patches, boxes)[0]
    assert torch.allclose(pooled[0], torch.full((4,), 0.5))
    assert torch.allclose(pooled[1], torch.eye(4)[0])
    assert torch.allclose(pooled[2], F.normalize(torch.tensor([1.0, 2, 0, 0]), dim=0))  # fmt: skip # noqa: E501
    assert pooled[3].eq(0).all()


@pytest.mark.parametrize("alpha,gamma", [(0.25, 2.0), (0.5, 0.0), (0.7, 1.0)])
def test_focal_loss_is_that_of_transformers(alpha, gamma):
    logits = (3 * torch.randn(4, 6, generator=rng())).requires_grad_()
    truth = torch.rand(4, 6, generator=rng(1)) < 0.3
    theirs = sigmoid_focal_loss(logits, truth.float(), 4, alpha, gamma)
    agree(focal_loss(logits, truth, None, alpha, gamma), theirs, (logits,))


def test_focal_loss_at_the_edges():
    logits = torch.tensor([[1e4, -1e4, 0.0]]).requires_grad_()
    truth = torch.tensor([[True, False, True]])
    for gamma in (0.0, 2.0):
        finite(focal_loss(logits, truth, gamma=gamma), logits)
        finite(focal_loss(logits, ~truth, gamma=gamma), logits)
    nothing = torch.zeros(1, 3, dtype=torch.bool)
    assert focal_loss(logits, truth, nothing).item() == 0
    only = torch.tensor([[False, False, True]])
    half = focal_loss(logits, truth, only, alpha=1, gamma=0)
    assert half.item() == pytest.approx(math.log(2))


def test_grounding_loss_leaves_out_what_does_not_exist():
    logits = torch.randn(2, 3, 5, generator=rng())
    truth = torch.rand(2, 3, 5, generator=rng(1)) < 0.4
    regions = torch.tensor([[True, True, False], [False] * 3])
    words = torch.tensor([[True] * 4 + [False], [True] * 5])
    loss = grounding_loss(logits, truth, regions, words)
    part, right = logits[:1, :2, :4], truth[:1, :2, :4]
    hand = focal_loss(part, right) * right.numel() / right.sum()
    assert torch.allclose(loss, hand)
    none = grounding_loss(logits, truth, regions & False, words)
    assert none.item() == 0


def test_region_word_logits_stay_bounded():
    regions, words = unit(2, 3, 8), unit(2, 5, 8, seed=1)
    logits = region_word_logits(regions, words, 10.0, -4.0)
    hand = 10 * torch.einsum("brd,bld->brl", regions, words) - 4
    assert torch.allclose(logits, hand, atol=1e-5)
    assert region_word_logits(regions, words, 1e9).abs().max() == 5e4


def test_region_concept_loss_is_classification():
    regions = unit(2, 3, 8).requires_grad_()
    concepts = unit(4, 8, seed=1)
    labels = torch.tensor([[0, 3, -1], [2, -1, -1]])
    logits = 9 * regions.flatten(0, 1) @ concepts.T
    theirs = F.cross_entropy(logits, labels.flatten(), ignore_index=-1)
    ours = region_concept_loss(regions, concepts, labels, 9.0)
    agree(ours, theirs, (regions,))
    nothing = region_concept_loss(regions, concepts, labels * 0 - 1, 9.0)
    assert nothing.item() == 0
    finite(region_concept_loss(regions, concepts, labels, 1e4), regions)


def test_clip_loss_stays_the_common_ground(clip_output):
    output, scale = clip_output
    image, text = output.image_embeds, output.text_embeds
    agree(clip_loss(image, text, scale), output.loss, (image, text))
