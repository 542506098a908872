"""The lesson on contrastive objectives: fair data, and scores that can fail."""

import pytest
import torch

from vlmtutor.lessons import contrastive as study
from vlmtutor.pairs import scene_pairs
from vlmtutor.training import evaluating
from vlmtutor.world.captions import bare_caption


@pytest.fixture(scope="module")
def data():
    return study.make_data(90, n_test=24)


def test_labels_tell_single_stickers_apart_from_scenes_without_a_class(data):
    for scene, label in zip(data.train.scenes, data.train.labels, strict=True):
        names = [thing.name for thing in scene.objects]
        wanted = study.NAMES.index(names[0]) if len(names) == 1 else -1
        assert label == wanted
    assert (data.labeled.labels >= 0).all() and len(data.labeled) == 45
    for part, count in ((data.ones, 1), (data.twos, 2)):
        assert {len(scene.objects) for scene in part.scenes} == {count}
    seeds = [
        {s.seed for s in part.scenes} for part in (data.train, data.ones, data.twos)
    ]
    assert not set.intersection(*seeds) and sum(map(len, seeds)) == 138
    # the words of the tests are words that training knows
    unknown = data.train.tokenizer.unk_token_id
    for part in (data.ones, data.twos):
        assert not (part.input_ids == unknown).any()


def test_another_seed_draws_other_scenes_and_words(data):
    other = study.make_data(90, n_test=24, seed=1)
    assert other.train.captions != data.train.captions
    mine, theirs = ({s.seed for s in d.train.scenes} for d in (data, other))
    assert not mine & theirs


@pytest.mark.parametrize("name", study.OBJECTIVES)
def test_each_objective_reaches_its_towers(data, name):
    model = study.new_model(name, data)
    loss = study.OBJECTIVES[name](model, data.train.batch(range(8)))
    loss.backward()
    assert loss > 0 and loss.isfinite()
    reached = {n for n, p in model.named_parameters() if p.grad is not None}
    assert any(n.startswith("image.") for n in reached)
    texts = any(n.startswith("text.") for n in reached)
    assert texts == (name != "SimCLR")  # pictures alone
    assert ("logit_bias" in reached) == (name == "SigLIP")


def test_labels_that_are_the_captions_make_unicl_and_clip_one(data):
    pairs = scene_pairs(
        24,
        stickers=1,
        categories=study.NAMES,
        repeats=0.0,
        caption=bare_caption,
        discs=0.0,
    )
    batch = pairs.batch(range(24))
    assert len(set(batch.labels.tolist())) < 24
    model = study.new_model("CLIP", data)
    assert torch.allclose(
        study.clip(model, batch), study.unicl(model, batch), atol=1e-5
    )
    batch.labels = batch.labels // 2  # two names, one label
    assert not torch.allclose(
        study.clip(model, batch), study.unicl(model, batch), atol=1e-3
    )


def test_a_probe_separates_what_lines_can_separate():
    generator = torch.Generator().manual_seed(0)
    centers = 3 * torch.randn(3, 8, generator=generator)
    labels = torch.arange(60) % 3
    x = centers[labels] + 0.3 * torch.randn(60, 8, generator=generator)
    scores = study.probe(x[:30], labels[:30], x[30:])
    assert (scores.argmax(1) == labels[30:]).all()
    assert torch.allclose(scores.sum(1), torch.ones(30), atol=1e-4)
    # a feature that never changes harms nothing
    still = torch.cat([x, torch.ones(60, 1)], 1)
    again = study.probe(still[:30], labels[:30], still[30:])
    assert torch.allclose(again, scores, atol=1e-4)


def test_centres_in_a_box():
    boxes = torch.tensor([[0, 0, 0.5, 0.5], [0.3, 0.3, 0.4, 0.4], [0, 0, 1, 1]])
    inside = study.centers_in(boxes, 2)
    assert inside.tolist() == [[True, False, False, False], [False] * 4, [True] * 4]


def test_the_pointing_game_counts_hits(data):
    labels = study.sticker_labels(data.twos)
    thing = data.twos.scenes[3].objects[1]
    assert study.NAMES[labels[3, 1]] == thing.name
    right = study.centers_in(data.twos.boxes, 4).float()
    hits, chance = study.pointing(right, data.twos)
    assert hits == 1 and 0.05 < chance < 0.3
    assert study.pointing(-right, data.twos)[0] == 0


def test_recall_takes_any_picture_of_the_same_stickers(data, monkeypatch):
    """Names as embeddings: perfect; shuffled ones: not."""
    twos = data.twos
    hot = torch.zeros(len(twos), len(study.NAMES))
    for i, scene in enumerate(twos.scenes):
        for thing in scene.objects:
            hot[i, study.NAMES.index(thing.name)] = 1
    wrong = hot.roll(1, 0)
    for texts, low, high in ((hot, 1, 1), (wrong, 0, 0.3)):
        scores = hot @ texts.T
        monkeypatch.setattr(study, "similarities", lambda *a, s=scores: (s, s))
        assert low <= study.caption_recall(None, twos, False) <= high


def test_similarities_of_tokens_see_both_directions(data):
    model = study.new_model("FILIP", data)
    pixels, ids = data.twos.pixel_values[:5], data.twos.input_ids[:7]
    with evaluating(model):
        one, other = study.similarities(model, pixels, ids, True)
        plain, same = study.similarities(model, pixels, ids, False)
    assert one.shape == other.shape == plain.shape == (5, 7)
    assert plain is same and not torch.allclose(one, other, atol=1e-3)
