"""Phrases and patches, matching, regions and words: by hand and at the edges."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from objective_tiny import agree, finite, leaf, rng, unit
from transformers.loss.loss_for_object_detection import sigmoid_focal_loss

from vlmtutor.objectives.alignment import (
    focal_loss,
    grounding_loss,
    hard_negatives,
    match_in_batch,
    matching_loss,
    naming_loss,
    phrase_scores,
    pool_regions,
    random_negatives,
    region_concept_loss,
    region_word_logits,
    same_captions,
)

quick = settings(max_examples=40, deadline=None)
FLOOR = -math.log(1e-6)


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


def region_case(n=12, p=5, r=3, seed=0):
    generator = rng(seed)
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
    logits = leaf(torch.randn(4, 3, generator=rng(0)))
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


def test_matching_loss_is_a_two_way_cross_entropy():
    yes = torch.randn(4, generator=rng(0)).requires_grad_()
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
    extreme = hard_negatives(1e6 * logits, rng(0))
    assert (extreme[[0, 1]] == 2).all() and extreme[2] != 2


def test_what_is_the_same_is_no_negative():
    ids = torch.tensor([[2, 7, 3], [2, 8, 3], [2, 7, 3]])
    same = same_captions(ids)
    assert same.tolist() == [[1, 0, 1], [0, 1, 0], [1, 0, 1]]
    for seed in range(20):
        drawn = random_negatives(3, rng(seed), same)
        assert drawn[0] == drawn[2] == 1 and drawn[1] in (0, 2)
    nothing = torch.ones(3, 3, dtype=torch.bool)
    assert random_negatives(3, rng(0), nothing).tolist() == [-1] * 3
    assert hard_negatives(torch.zeros(1, 1), rng(0)).tolist() == [-1]
    assert hard_negatives(torch.zeros(0, 0), rng(0)).tolist() == []


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
        loss = match_in_batch(model, tokens, tokens, ids, rng(0), logits)
        assert model.asked == [True] * 4 + [False] * 8
        assert loss.item() < 1e-6
    all_alike = torch.ones(4, 4, dtype=torch.bool)
    match_in_batch(model, tokens, tokens, ids, rng(0), same=all_alike)
    assert model.asked == [True] * 4
    alone = match_in_batch(model, tokens[:1], tokens[:1], ids[:1], rng(0))
    assert model.asked == [True] and alone.item() < 1e-6


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
    logits = (3 * torch.randn(4, 6, generator=rng(0))).requires_grad_()
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
    logits = torch.randn(2, 3, 5, generator=rng(0))
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
