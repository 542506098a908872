"""Grids by embeddings and by matching: values, cost, preferences."""

import pytest
import torch

from vlmtutor.lessons import ranking
from vlmtutor.models.config import FrameworkConfig
from vlmtutor.models.frameworks import OneTower, TwoLeg, TwoTower

SIZES = FrameworkConfig(
    20,
    text_length=6,
    image_size=16,
    patch_size=8,
    width=16,
    heads=2,
    image_layers=2,
    text_layers=1,
    fusion_layers=1,
    embed_dim=12,
)
IDS = torch.tensor([[2, 7, 8, 3], [2, 9, 3, 0], [2, 5, 6, 3]])
ALL = (TwoTower, TwoLeg, OneTower)


def pictures(n=2):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, 3, 16, 16, generator=generator)


@pytest.mark.parametrize("kind", ALL)
def test_a_grid_holds_what_the_model_says_of_each_pair(kind):
    model, x = kind(SIZES), pictures()
    similar = ranking.by_embeddings(model, x, IDS, batch_size=1)
    matched = ranking.by_matching(model, x, IDS, batch_size=4)
    assert similar.shape == matched.shape == (2, 3)
    with torch.no_grad():
        image, text = model.image_tokens(x), model.text_tokens(IDS)
        pair = model.match_logits(image[1:], text[2:], IDS[2:])
        product = model.encode_images(x)[1] @ model.encode_texts(IDS)[2]
    assert torch.allclose(matched[1, 2], pair[0], atol=1e-5)
    assert torch.allclose(similar[1, 2], product, atol=1e-5)


def test_two_towers_rank_alike_either_way():
    model, x = TwoTower(SIZES), pictures()
    similar = ranking.by_embeddings(model, x, IDS) * model.scale()
    assert torch.allclose(similar, ranking.by_matching(model, x, IDS), atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "embeddings", "matching"),
    [
        # blocks read: 2 an image, 1 a text
        (TwoTower, 2 * 2 + 3, 2 * 2 + 3),
        (TwoLeg, 2 * 2 + 3, 2 * 2 + 3 + 2 * 3),  # and 1 for each pair
        (OneTower, 2 * (2 + 3), 2 * 2 * 3),  # all is done for each pair
    ],
)
def test_the_cost_is_a_sum_or_a_product(kind, embeddings, matching):
    model = kind(SIZES)
    with ranking.counting(model) as counter:
        ranking.by_embeddings(model, pictures(), IDS)
    assert counter.runs == embeddings
    with ranking.counting(model) as counter:
        ranking.by_matching(model, pictures(), IDS)
    assert counter.runs == matching
    model.encode_texts(IDS)
    assert counter.runs == matching  # outside nothing is counted


def test_a_second_look_at_the_best_few():
    model, x = TwoLeg(SIZES), pictures()
    similar = torch.tensor([[0.3, 0.1, 0.2], [0.0, 0.5, 0.4]])
    second = ranking.rerank(model, similar, x, IDS, k=2)
    full = ranking.by_matching(model, x, IDS)
    kept = torch.tensor([[True, False, True], [False, True, True]])
    assert torch.allclose(second[kept], full[kept], atol=1e-5)
    assert (second[~kept] == float("-inf")).all()
    everything = ranking.rerank(model, similar, x, IDS, k=9)
    assert torch.allclose(everything, full, atol=1e-5)


@pytest.mark.parametrize("matching", [False, True])
@pytest.mark.parametrize("kind", ALL)
def test_preferences_follow_the_scores(kind, matching):
    model, x = kind(SIZES), pictures(3)
    wrong = IDS.roll(1, 0)
    fill = ranking.by_matching if matching else ranking.by_embeddings
    grid = fill(model, x, IDS)
    better = grid.diag() > grid.gather(1, torch.tensor([[2], [0], [1]]))[:, 0]
    found = ranking.prefers(model, x, IDS, wrong, matching, batch_size=2)
    assert found == pytest.approx(float(better.float().mean()))
    assert ranking.prefers(model, x, IDS, IDS, matching) == 0  # ties


def test_no_gradients_and_the_mode_comes_back():
    model = TwoLeg(SIZES).train()
    grid = ranking.by_matching(model, pictures(), IDS)
    assert not grid.requires_grad and model.training
