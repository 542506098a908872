"""Captions that lie near every picture, and what takes them back."""

import pytest
import torch
from fake_clip import ColourClip, plain
from torch.nn.functional import normalize

from vlmtutor.memes import EmbeddingCache, hubs, match, match_embeddings
from vlmtutor.memes.hubs import CORRECTIONS

HUB = 3  # the index of the caption that lies near every picture


def unit(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return normalize(torch.randn(*shape, generator=generator), dim=-1)


@pytest.fixture
def crowd():
    """Pictures [20, 8] that share a direction, each with a caption near it.

    Caption 3 is the shared direction itself.
    """
    common = unit(8)
    pictures = normalize(0.9 * common + 0.5 * unit(20, 8, seed=1), dim=-1)
    captions = normalize(pictures + 0.9 * unit(20, 8, seed=2), dim=-1)
    captions[HUB] = common
    return pictures, captions


def found(pictures, captions, correction):
    names = [str(j) for j in range(len(captions))]
    return match_embeddings(pictures, captions, names, correction=correction)


def by_hand(cosines, correction, scale=100.0):
    """As the papers write it, over the whole table."""
    if correction == "csls":
        near = cosines.topk(10, dim=0).values.mean(dim=0)
        mine = cosines.topk(10, dim=1).values.mean(dim=1)
        return 2 * cosines - mine[:, None] - near
    if correction == "dual_softmax":
        return cosines * (scale * cosines).softmax(dim=0)
    return cosines


@pytest.mark.parametrize("correction", CORRECTIONS)
@pytest.mark.parametrize("cells", [30, 10**6])
def test_choices_are_those_of_the_papers_formulas(
    crowd, correction, cells, monkeypatch
):
    monkeypatch.setattr(hubs, "_CELLS", cells)  # a row at a time, or all
    matches = found(*crowd, correction)
    expected = by_hand(matches.scores.double(), correction)
    assert matches.chosen == tuple(expected.argmax(dim=1).tolist())
    if correction == "csls":
        torch.testing.assert_close(
            matches.corrected.double(), expected, atol=1e-5, rtol=0
        )
    if correction == "dual_softmax":
        # shares of a row, at the model's own temperature
        shares = expected.clamp_min(0) / expected.clamp_min(0).sum(1, keepdim=True)
        torch.testing.assert_close(
            matches.probabilities.double(), shares, atol=1e-4, rtol=0
        )


def test_a_hub_wins_many_pictures_and_few_once_corrected(crowd):
    wins = {c: found(*crowd, c).chosen.count(HUB) for c in CORRECTIONS}
    assert wins[None] >= 5
    assert wins["csls"] <= 2 and wins["dual_softmax"] <= 2
    own = {
        c: sum(i == j for i, j in enumerate(found(*crowd, c).chosen))
        for c in CORRECTIONS
    }
    assert own["csls"] > own[None] and own["dual_softmax"] > own[None]


@pytest.mark.parametrize("correction", CORRECTIONS)
def test_a_picture_alone_gets_what_it_gets_without(crowd, correction):
    pictures, captions = crowd
    for row in pictures:
        alone = found(row[None], captions, correction)
        assert alone.chosen[0] == int((captions @ row).argmax())


@pytest.mark.parametrize("correction", CORRECTIONS)
def test_cosines_below_zero_are_ranked_too(correction):
    away = -unit(1, 8)
    captions = normalize(-away + unit(5, 8, seed=1), dim=-1)
    matches = found(away, captions, correction)
    assert matches.scores.max() < 0
    assert matches.chosen[0] == int(matches.scores[0].argmax())
    order = [choice.index for choice in matches.best_of(0, 5)]
    assert order == matches.scores[0].argsort(descending=True).tolist()


def test_order_of_alternatives_follows_the_corrected_scores(crowd):
    matches = found(*crowd, "dual_softmax")
    for i in range(3):
        best = matches.best_of(i, 20)
        assert best[0] == matches.choice(i)
        assert [c.index for c in best[1:5]] == [
            c.index for c in matches.alternatives_of(i, 4)
        ]
        shares = [c.probability for c in best]
        assert shares == sorted(shares, reverse=True)
        assert best[2].score == matches.scores[i, best[2].index].item()


def test_match_takes_a_correction():
    pictures = [plain("red"), plain("blue")]
    tables = [
        match(
            pictures,
            ["red", "blue", "red blue"],
            ColourClip(),
            correction=correction,
            cache=EmbeddingCache(),
        )
        for correction in CORRECTIONS
    ]
    assert {t.chosen for t in tables} == {(0, 1)}
    assert all(torch.equal(t.scores, tables[0].scores) for t in tables)
    assert not torch.equal(tables[0].corrected, tables[1].corrected)
