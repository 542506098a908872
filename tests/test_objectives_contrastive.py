"""The contrastive losses: values, gradients, edge cases."""

import functools
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from objective_tiny import agree, finite, leaf, output_of, rng, tiny_clip, unit
from transformers import SiglipConfig, SiglipModel

from vlmtutor.objectives.alignment import naming_loss, phrase_scores
from vlmtutor.objectives.contrastive import (
    clip_loss,
    filip_loss,
    multi_positive_loss,
    nt_xent,
    siglip_loss,
    token_similarity,
    unicl_loss,
)
from vlmtutor.seeding import seeded_weights

quick = settings(max_examples=40, deadline=None)
EXTREMES = [1e-3, 1.0, 100.0, 1e4]


@functools.cache
def tiny_siglip(seed=0):
    tower = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    config = SiglipConfig(
        text_config={**tower, "vocab_size": 2000},
        vision_config={**tower, "image_size": 32, "patch_size": 8},
    )
    with seeded_weights(seed):
        model = SiglipModel(config)
    model.logit_bias.data.fill_(-3.0)
    model.logit_scale.data.fill_(math.log(10))
    return model, output_of(model, seed)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_values_and_gradients_are_those_of_transformers(kind, seed):
    model, output = (tiny_siglip if kind == "siglip" else tiny_clip)(seed)
    inputs = [output.image_embeds, output.text_embeds, model.logit_scale]
    if kind == "siglip":
        inputs.append(model.logit_bias)
    images, texts, scale, *bias = inputs
    loss = siglip_loss if kind == "siglip" else clip_loss
    agree(loss(images, texts, scale.exp(), *bias), output.loss, inputs)


def both(images, texts, scale, ignore=None):
    """Both contrastive losses, SigLIP's with its usual bias."""
    return (
        clip_loss(images, texts, scale, ignore),
        siglip_loss(images, texts, scale, -10.0, ignore),
    )


@pytest.mark.parametrize("n", [2, 4, 64])
def test_a_model_that_knows_nothing_pays_the_logarithm(n):
    same = unit(1, 8).expand(n, 8)
    loss = clip_loss(same, same, 100.0)
    assert loss.item() == pytest.approx(math.log(n), rel=1e-5)
    # without scale and bias every question of SigLIP is a coin toss
    loss = siglip_loss(same, same, 0.0, 0.0)
    assert loss.item() == pytest.approx(n * math.log(2), rel=1e-5)


@pytest.mark.parametrize("scale", EXTREMES)
def test_extreme_temperatures_stay_finite(scale):
    for seed in range(4):
        images, texts = leaf(unit(6, 16, seed=seed)), unit(6, 16, seed=-seed)
        for loss in both(images, texts, scale):
            (gradient,) = torch.autograd.grad(loss, images)
            assert torch.isfinite(loss) and loss >= 0
            assert torch.isfinite(gradient).all()
        patches, phrases = leaf(unit(3, 9, 16)), unit(5, 16)
        scores = phrase_scores(patches, phrases, scale)
        positives = torch.eye(5, 3, dtype=torch.bool)
        flat = scale * patches.flatten(0, 1) @ phrases.T
        regions = torch.arange(27) // 9
        for loss in (
            multi_positive_loss(scores, positives),
            naming_loss(flat, regions, positives.T),
        ):
            (gradient,) = torch.autograd.grad(loss, patches, retain_graph=True)
            assert torch.isfinite(loss) and torch.isfinite(gradient).all()


def test_a_sharp_right_model_pays_nothing():
    eye = torch.eye(6)
    assert clip_loss(eye, eye, 100.0) < 1e-6
    assert siglip_loss(eye, eye, 100.0, -50.0) < 1e-6
    assert clip_loss(eye, eye.roll(1, 0), 100.0) == pytest.approx(100)


def test_a_batch_of_one_teaches_nothing_but_siglip_still_asks():
    images, texts = leaf(unit(1, 8)), unit(1, 8, seed=1)
    loss = clip_loss(images, texts, 50.0)
    (gradient,) = torch.autograd.grad(loss, images)
    assert loss == 0 and not gradient.any()
    cosine = float((images * texts).sum().detach())
    asked = siglip_loss(images, texts, 5.0, -1.0).item()
    assert asked == pytest.approx(math.log1p(math.exp(1 - 5 * cosine)))


@quick
@given(st.integers(2, 7), st.integers(0, 1000))
def test_ignored_pairs_take_no_part(n, seed):
    generator = rng(seed)
    ignore = torch.rand(n, n, generator=generator) < 0.4
    images, texts = unit(n, 12, seed=seed), unit(n, 12, seed=seed + 1)
    diagonal = torch.eye(n, dtype=torch.bool)
    kept = ~ignore | diagonal
    logits = 7 * images.double() @ texts.double().T
    # by hand: a softmax over the pairs that are kept
    odds = logits.exp() * kept
    rows = (odds.diag() / odds.sum(1)).log()
    columns = (odds.diag() / odds.sum(0)).log()
    by_hand = -(rows.mean() + columns.mean()) / 2
    ours = clip_loss(images, texts, 7.0, ignore)
    assert ours.item() == pytest.approx(by_hand.item(), abs=1e-5)
    answers = (logits - 2) * (2 * diagonal.double() - 1)
    by_hand = (torch.log1p((-answers).exp()) * kept).sum(1).mean()
    ours = siglip_loss(images, texts, 7.0, -2.0, ignore)
    assert ours.item() == pytest.approx(by_hand.item(), rel=1e-5)


def test_masks_of_nothing_and_of_everything():
    images, texts = unit(5, 8), unit(5, 8, seed=1)
    nothing = torch.zeros(5, 5, dtype=torch.bool)
    for plain, masked in zip(
        both(images, texts, 9.0), both(images, texts, 9.0, nothing), strict=True
    ):
        assert torch.equal(plain, masked)
    # the diagonal is never left out: only the pairs themselves remain
    ours, siglip = both(images, texts, 9.0, ~nothing)
    assert ours == 0
    pairs = 9 * (images * texts).sum(-1) - 10
    assert torch.allclose(siglip, -F.logsigmoid(pairs).mean())


def test_ignored_pairs_get_no_gradient():
    images, texts = unit(3, 8), leaf(unit(3, 8, seed=1))
    ignore = torch.tensor([[0, 1, 0], [1, 0, 0], [0, 0, 0]], dtype=bool)
    logits = leaf(images @ texts.detach().T)
    eye = torch.eye(3)  # with one-hot pictures the texts are the logits
    for loss in both(eye, logits.T, 5.0, ignore):
        (gradient,) = torch.autograd.grad(loss, logits)
        assert not gradient[ignore].any()
        assert (gradient[~ignore] != 0).all()


def test_one_positive_a_row_is_the_loss_of_clip():
    images, texts = unit(6, 8), unit(6, 8, seed=1)
    ours = multi_positive_loss(20 * images @ texts.T, torch.eye(6).bool())
    assert torch.allclose(ours, clip_loss(images, texts, 20.0), atol=1e-6)


@quick
@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 1000))
def test_several_positives_share_the_target_evenly(p, b, seed):
    generator = rng(seed)
    positives = torch.rand(p, b, generator=generator) < 0.5
    positives[0, 0] = True
    logits = torch.randn(p, b, generator=generator).double() * 4

    def by_hand(scores, right):
        rows = []
        for row, answers in zip(scores, right, strict=True):
            if answers.any():
                target = answers.double() / answers.sum()
                rows.append(-(target * row.softmax(0).log()).sum())
        return torch.stack(rows).mean()

    expected = by_hand(logits, positives) + by_hand(logits.T, positives.T)
    found = multi_positive_loss(logits, positives)
    assert found.item() == pytest.approx(expected.item() / 2)


def test_rows_and_columns_without_positives_are_left_out():
    logits = leaf(torch.randn(4, 3, generator=rng(0)))
    positives = torch.zeros(4, 3, dtype=torch.bool)
    positives[0, 0] = positives[1, 1] = True
    loss = multi_positive_loss(logits, positives)
    (gradient,) = torch.autograd.grad(loss, logits)
    rows = F.cross_entropy(logits[:2], torch.tensor([0, 1]))
    columns = F.cross_entropy(logits.T[:2], torch.tensor([0, 1]))
    assert torch.allclose(loss, (rows + columns) / 2)
    # such a row still is a negative for the others, so it is not lost
    assert not gradient[2:, 2].any() and (gradient[2:, :2] > 0).all()


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


def test_unicl_with_labels_of_their_own_is_clip():
    model, output = tiny_clip()
    scale = model.logit_scale.exp()
    image, text = output.image_embeds, output.text_embeds
    for labels in (torch.arange(5), torch.full((5,), -1)):
        ours = unicl_loss(image, text, scale, labels)
        agree(ours, output.loss, (image, text))


def test_unicl_spreads_over_what_is_alike():
    image, text = unit(4, 8), unit(4, 8, seed=1)
    logits = 5 * image @ text.T
    everything = unicl_loss(image, text, 5, torch.zeros(4, dtype=torch.long))
    even = -(logits.log_softmax(1).mean() + logits.log_softmax(0).mean()) / 2
    assert torch.allclose(everything, even, atol=1e-6)


def test_unicl_at_the_edges():
    image = unit(3, 8).requires_grad_()
    labels = torch.tensor([0, 1, 1])
    assert unicl_loss(image[:1], image[:1], 9, labels[:1]).item() == 0
    for scale in (0.0, 1e4):
        finite(unicl_loss(image, unit(3, 8, seed=1), scale, labels), image)
    with pytest.raises(ValueError, match="at least one pair"):
        unicl_loss(image[:0], image[:0], 1, labels[:0])
    with pytest.raises(ValueError, match="one label"):
        unicl_loss(image, image, 1, labels[:2])


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


def test_filip_with_one_token_is_clip():
    model, output = tiny_clip()
    scale = model.logit_scale.exp()
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
