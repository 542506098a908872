"""The lesson of notebook 02: its pairs, its traps, its losses."""

from __future__ import annotations

import pytest
import torch

from vlmtutor.lessons import frameworks as study
from vlmtutor.models.blocks import count_parameters
from vlmtutor.models.frameworks import OneTower, TwoLeg, TwoTower

ALL = (TwoTower, TwoLeg, OneTower)


@pytest.fixture(scope="module")
def train():
    return study.training_pairs(24)


@pytest.fixture(scope="module")
def asked():
    return study.test_pairs(12, study.vocabulary())


def test_training_begins_with_single_stickers_too(train):
    counts = {len(scene.objects) for scene in train.scenes}
    assert counts == {1, 2}
    for thing in (o for s in train.scenes for o in s.objects):
        assert thing.name in study.CATEGORIES
        assert thing.color in study.COLORS
    other = study.training_pairs(24, seed=1)
    assert not torch.equal(train.images, other.images)


def test_captions_tell_all_and_the_tokenizer_knows_their_words(train):
    unknown = train.tokenizer.unk_token_id
    assert not (train.input_ids == unknown).any()
    for scene, told in zip(train.scenes, train.described, strict=True):
        assert len(told.spans) == len(scene.objects)
        for k, thing in enumerate(scene.objects):
            assert thing.name in told.phrase(k)
            assert f"a {thing.color} disc" in told.phrase(k)


def test_the_relation_is_what_the_boxes_show(asked):
    for scene, text in zip(asked.scenes, asked.captions, strict=True):
        (x0, y0, x1, y1), (u0, v0, u1, v1) = (o.box for o in scene.objects)
        true = {
            "to the left of": x0 + x1 < u0 + u1,
            "to the right of": x0 + x1 > u0 + u1,
            "above": y0 + y1 < v0 + v1,
            "below": y0 + y1 > v0 + v1,
        }
        said = [words for words in true if f" {words} " in text]
        assert len(said) == 1 and true[said[0]], text


def test_test_scenes_can_be_told_apart_by_their_captions(asked):
    assert len(asked) == 12 == len(set(asked.captions))
    for scene in asked.scenes:
        first, second = scene.objects
        assert first.color != second.color and first.name != second.name


@pytest.mark.parametrize("what", ["colours", "stickers"])
def test_swapped_captions_keep_their_words_or_turn_the_relation(asked, what):
    wrong = study.swapped_ids(asked, what)
    right = asked.input_ids
    assert wrong.shape == right.shape
    assert (wrong != right).any(dim=1).all()
    for a, b in zip(right.tolist(), wrong.tolist(), strict=True):
        if what == "colours":
            assert sorted(a) == sorted(b)
        else:  # one word is another: left or right, above or below
            assert sum(x != y for x, y in zip(a, b, strict=True)) == 1


def test_a_swap_has_a_name(asked):
    with pytest.raises(ValueError, match="colours"):
        study.swapped_ids(asked, "names")


def test_the_three_are_about_equally_large(train):
    made = [study.make(kind, train.tokenizer) for kind in ALL]
    for encoder in ("vit", "cnn"):
        made.append(study.make(TwoTower, train.tokenizer, image_encoder=encoder))
    sizes = [count_parameters(model) for model in made]
    assert max(sizes) < 1.15 * min(sizes)


@pytest.mark.parametrize("kind", ALL)
def test_every_weight_of_a_framework_learns(kind, train):
    model = study.make(kind, train.tokenizer, width=16, heads=2, embed_dim=8)
    terms = study.loss_for(model)(model, train.batch(range(6)))
    assert set(terms) == ({"contrast"} if kind is TwoTower else {"contrast", "match"})
    sum(terms.values()).backward()
    still = {n for n, p in model.named_parameters() if p.grad is None}
    assert still <= {"heads.word_bias"}  # no word is hidden in this lesson


@pytest.mark.parametrize("kind", ALL)
def test_an_untrained_model_knows_no_binding(kind, asked):
    model = study.make(kind, asked.tokenizer, width=16, heads=2, embed_dim=8)
    found = study.measure(model, asked, grid=6)
    ways = {"embeddings"} if kind is TwoTower else {"embeddings", "matching"}
    assert set(found) == ways
    for figures in found.values():
        assert tuple(figures) == study.FIGURES
        assert all(0 <= value <= 1 for value in figures.values())
