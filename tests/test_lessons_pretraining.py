"""The lesson on pre-training: its data, its filter, its objectives."""

from __future__ import annotations

import pytest
import torch

from vlmtutor.lessons import pretraining as study
from vlmtutor.world import find_category


def name_of(category):
    return find_category(category).one


@pytest.fixture(scope="module")
def data():
    return study.make_data(120, 40)


def test_training_and_test_scenes_are_different_ones(data):
    drawn = [scene.seed for scene in data.train.scenes]
    tests = [s.seed for s in (*data.ones.scenes, *data.twos.scenes)]
    assert not set(drawn) & set(tests)
    assert len(set(tests)) == len(tests)
    other = study.make_data(20, 20, seed=1)
    assert not set(tests) & {s.seed for s in other.ones.scenes}


def test_prompts_are_the_names_and_nothing_else(data):
    words = data.train.tokenizer.batch_decode(data.prompts, skip_special_tokens=True)
    assert words[0] == "a lion" and len(words) == 30
    told = set(" ".join(data.train.captions).split())
    for ids, name in zip(data.prompts, study.NAMES, strict=True):
        # a small collection may lack a name: then its word is unknown
        assert (1 in ids) == (not told.issuperset(name_of(name).split()))
    assert [len(s.objects) for s in data.train.scenes[:4]] == [1, 2, 1, 2]


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_shuffled_captions_are_the_same_captions(data, share):
    dirty, wrong = study.shuffled(data.train, share)
    assert sorted(dirty.captions) == sorted(data.train.captions)
    changed = [a != b for a, b in zip(dirty.captions, data.train.captions, strict=True)]
    assert wrong.tolist() == changed
    assert share - 0.1 <= wrong.float().mean() <= share
    # the pairs that were handed over are as before
    assert torch.equal(data.train.input_ids, study.make_data(120, 40).train.input_ids)


def test_best_keeps_the_highest_in_their_order():
    scores = torch.tensor([0.2, 0.9, 0.1, 0.8])
    assert study.best(scores, 0.5).tolist() == [1, 3]
    assert study.best(scores, 1).tolist() == [0, 1, 2, 3]


def test_a_part_gives_the_rows_it_was_told(data):
    part = study.Part(data.train, torch.tensor([5, 7, 2]))
    assert len(part) == 3
    assert part.batch([0, 2]).index.tolist() == [5, 2]


def test_pair_scores_are_cosines_of_the_pairs(data):
    model, _ = study.train(data, steps=1, batch_size=8)
    scores = study.pair_scores(model, data.train)
    with torch.no_grad():
        batch = data.train.batch([3])
        own = (
            model.encode_images(batch.pixel_values)
            @ model.encode_texts(batch.input_ids).T
        )
    assert scores.shape == (120,)
    assert scores[3] == pytest.approx(own.item(), abs=1e-5)


@pytest.mark.parametrize(
    "second", [None, "views", "captions", "masked words", "matching"]
)
def test_every_objective_trains_all_that_it_uses(data, second):
    model, history = study.train(data, steps=3, batch_size=8, second=second)
    assert set(history.terms) == {"contrast", second} if second else {"loss"}
    fresh, _ = study.train(data, steps=0, batch_size=8, second=second)
    before = dict(fresh.named_parameters())
    still = {
        name.split(".")[0]
        for name, p in model.named_parameters()
        if torch.equal(p, before[name])
    }
    assert not {"image", "image_head", "text_head"} & still
    if second in ("captions", "masked words", "matching"):
        moved = [
            not torch.equal(p, before[name])
            for name, p in model.named_parameters()
            if name.startswith("fusion.")
        ]
        assert any(moved)


def test_what_it_learns_is_worth_more_than_chance(data):
    model, _ = study.train(data, steps=60, batch_size=32)
    # seen scenes: enough for a test of the loop, too few for unseen ones
    seen = study.Data(
        data.train, data.train.subset(range(0, 120, 2)), data.twos, data.prompts
    )
    seen.ones.labels = torch.tensor(
        [study.NAMES.index(s.objects[0].name) for s in seen.ones.scenes]
    )
    assert study.score(model, seen)["names"] > 0.2  # chance: 0.03
