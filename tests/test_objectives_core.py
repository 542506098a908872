"""The contrastive and alignment losses: values, gradients, edge cases."""

import math

import pytest
import torch
import torch.nn.functional as F
from clip_folders import TINY
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel

from vlmtutor.objectives.alignment import (
    multi_positive_loss,
    naming_loss,
    phrase_scores,
)
from vlmtutor.objectives.contrastive import clip_loss, siglip_loss

quick = settings(max_examples=40, deadline=None)
EXTREMES = [1e-3, 1.0, 100.0, 1e4]


def unit(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=generator), dim=-1)


def leaf(tensor):
    return tensor.detach().clone().requires_grad_()


def theirs(kind, seed=0, n=5):
    """Output of a tiny random model of ``transformers``, with its loss."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if kind == "clip":
            model = CLIPModel(CLIPConfig(**TINY))
        else:
            tower = {
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
            }
            model = SiglipModel(
                SiglipConfig(
                    text_config={**tower, "vocab_size": 2000},
                    vision_config={**tower, "image_size": 32, "patch_size": 8},
                )
            )
            model.logit_bias.data.fill_(-3.0)
            model.logit_scale.data.fill_(math.log(10))
        output = model(
            input_ids=torch.randint(3, 1999, (n, 12)),
            pixel_values=torch.randn(n, 3, 32, 32),
            return_loss=True,
        )
    return model, output


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_values_and_gradients_are_those_of_transformers(kind, seed):
    model, output = theirs(kind, seed)
    leaves = [output.image_embeds, output.text_embeds, model.logit_scale]
    if kind == "siglip":
        leaves.append(model.logit_bias)
    expected = torch.autograd.grad(output.loss, leaves)

    images, texts, scale, *bias = map(leaf, leaves)
    loss = siglip_loss if kind == "siglip" else clip_loss
    ours = loss(images, texts, scale.exp(), *bias)
    found = torch.autograd.grad(ours, [images, texts, scale, *bias])
    assert torch.allclose(ours, output.loss, atol=1e-6, rtol=1e-6)
    for a, b in zip(found, expected, strict=True):
        assert b.abs().max() > 1e-5
        assert torch.allclose(a, b, atol=1e-6, rtol=1e-5)


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
    generator = torch.Generator().manual_seed(seed)
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
    generator = torch.Generator().manual_seed(seed)
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
    logits = leaf(torch.randn(4, 3, generator=torch.Generator().manual_seed(0)))
    positives = torch.zeros(4, 3, dtype=torch.bool)
    positives[0, 0] = positives[1, 1] = True
    loss = multi_positive_loss(logits, positives)
    (gradient,) = torch.autograd.grad(loss, logits)
    rows = F.cross_entropy(logits[:2], torch.tensor([0, 1]))
    columns = F.cross_entropy(logits.T[:2], torch.tensor([0, 1]))
    assert torch.allclose(loss, (rows + columns) / 2)
    # such a row still is a negative for the others, so it is not lost
    assert not gradient[2:, 2].any() and (gradient[2:, :2] > 0).all()


@quick
@given(st.integers(1, 20), st.floats(0.1, 50), st.integers(0, 1000))
def test_phrase_scores_lie_between_mean_and_maximum(patches, scale, seed):
    regions, phrases = unit(3, patches, 8, seed=seed), unit(4, 8, seed=-seed)
    scores = phrase_scores(regions, phrases, scale)
    each = scale * torch.einsum("pd,btd->pbt", phrases, regions)
    assert scores.shape == (4, 3)
    assert (scores <= each.amax(-1) + 1e-4).all()
    assert (scores >= each.mean(-1) - 1e-4).all()
    by_hand = each.double().exp().mean(-1).log()
    assert torch.allclose(scores.double(), by_hand, atol=1e-4)


def test_phrase_scores_of_one_patch_are_its_similarities():
    patches, phrases = unit(3, 1, 8), unit(4, 8, seed=1)
    scores = phrase_scores(patches, phrases, 7.0)
    assert torch.allclose(scores, 7 * phrases @ patches[:, 0].T, atol=1e-6)


def test_the_gradient_of_a_phrase_goes_to_the_patch_that_answers_it():
    phrases = torch.eye(8)[:1]
    patches = unit(1, 6, 8, seed=3) * 0.1
    patches[0, 4] = phrases[0]
    patches = leaf(patches)
    phrase_scores(patches, phrases, 30.0).sum().backward()
    pull = patches.grad[0, :, 0]
    assert pull[4] > 0.99 * pull.sum() > 0


FLOOR = -math.log(1e-6)


def region_case(n=12, p=5, r=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = 5 * torch.randn(n, p, generator=generator)
    regions = torch.randint(0, r, (n,), generator=generator)
    positives = torch.zeros(r, p, dtype=torch.bool)
    positives[torch.arange(r), torch.arange(r)] = True
    return logits, regions, positives


@quick
@given(st.integers(1, 30), st.integers(1, 5), st.integers(0, 1000))
def test_naming_loss_by_hand_and_within_its_bounds(n, r, seed):
    logits, regions, positives = region_case(n, 6, r, seed)
    shares = logits.double().softmax(-1)
    rows = []
    for region in range(r):
        inside = shares[regions == region]
        share = inside.mean(0) if len(inside) else torch.zeros(6)
        rows += (share[positives[region]] + 1e-6).log().tolist()
    found = naming_loss(logits, regions, positives).item()
    assert found == pytest.approx(-sum(rows) / len(rows), 1e-4, 1e-5)
    assert -1e-5 <= found <= FLOOR + 1e-3


def test_naming_loss_at_its_ends():
    positives = torch.eye(2, dtype=torch.bool)
    regions = torch.tensor([0, 0, 1, 1])
    right = 100 * torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1]])
    assert abs(naming_loss(right, regions, positives)) < 1e-5
    wrong = naming_loss(right.flip(1), regions, positives)
    assert wrong.item() == pytest.approx(FLOOR, rel=1e-4)
    # half of a region's patches for each of the two things that it holds
    both = torch.ones(2, 2, dtype=torch.bool)
    halves = right[[0, 2, 0, 2]]
    found = naming_loss(halves, regions, both).item()
    assert found == pytest.approx(math.log(2), rel=1e-4)
    clueless = naming_loss(torch.zeros(4, 2), regions, positives).item()
    assert clueless == pytest.approx(math.log(2), rel=1e-4)


def test_an_empty_region_costs_a_constant_and_pulls_at_nothing():
    logits = leaf(torch.randn(4, 3, generator=torch.Generator().manual_seed(0)))
    regions = torch.zeros(4, dtype=torch.long)
    full = torch.tensor([[True, False, False]])
    loss = naming_loss(logits, regions, full)
    (expected,) = torch.autograd.grad(loss, logits)
    more = torch.tensor([[True, False, False], [False, True, False]])
    with_empty = naming_loss(logits, regions, more)
    (gradient,) = torch.autograd.grad(with_empty, logits)
    assert with_empty.item() == pytest.approx((loss.item() + FLOOR) / 2)
    assert torch.allclose(gradient, expected / 2)


def test_a_name_settles_where_its_evidence_is():
    """The patch that leans to a phrase gets most of its pull."""
    logits = torch.zeros(6, 30)
    logits[2, 0] = 2.0  # region 0 holds phrase 0; patch 2 shows it a little
    logits = leaf(logits)
    regions = torch.tensor([0, 0, 0, 0, 1, 1])
    positives = torch.zeros(2, 30, dtype=torch.bool)
    positives[0, 0] = positives[1, 1] = True
    naming_loss(logits, regions, positives).backward()
    pull = -logits.grad[:4, 0]
    assert (pull > 0).all() and pull[2] > 0.5 * pull.sum()
    # the other region's patches lose that phrase, and gain their own
    assert (logits.grad[4:, 0] > 0).all() and (logits.grad[4:, 1] < 0).all()
    # patches compete: what one phrase gains, the others lose
    assert torch.allclose(logits.grad.sum(-1), torch.zeros(6), atol=1e-6)
