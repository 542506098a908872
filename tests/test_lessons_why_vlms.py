"""The lesson of notebook 01: its task, and what is pre-trained how."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from vlmtutor.lessons import why_vlms as study

C = len(study.CLASSES)


def test_a_sample_is_balanced_and_fewer_are_among_the_more():
    data = study.sample("train", 3, seed=5)
    assert data.images.shape == (3 * C, 3, 48, 48)
    assert data.labels.bincount().tolist() == [3] * C
    one, two = data.first(1), data.first(2)
    assert torch.equal(one.images, two.images[::2])
    assert one.labels.tolist() == list(range(C))
    assert torch.equal(study.sample("train", 1, seed=5).images, one.images)
    assert data.pixel_values.abs().max() <= 1
    assert np.array_equal(np.asarray(data.pictures[4]), data.images[4].permute(1, 2, 0))


def test_no_picture_is_in_two_parts():
    parts = [
        study.sample("train", 2, 0),
        study.sample("train", 2, 1),
        study.sample("val", 2),
        study.sample("test", 2),
    ]
    images = [x for part in parts for x in part.images]
    images += list(study.unlabeled(9)) + list(study.unlabeled(9, 1))
    assert len({x.numpy().tobytes() for x in images}) == len(images)


def test_hog_is_blind_to_inverted_colours():
    images = study.sample("val", 1).images[:2]
    features = study.hog_features(images)
    assert features.shape == (2, 5 * 5 * 4 * 9)
    assert np.allclose(features, study.hog_features(255 - images), atol=1e-3)
    assert not np.allclose(features[0], features[1], atol=0.1)


def test_the_svm_names_what_it_has_seen():
    train = study.sample("val", 2)
    assert study.hog_svm(train, train) == 1


def test_training_uses_labels_and_its_seed_alone():
    train = study.sample("val", 1)
    start = study.Classifier(seed=3)
    same = [copy.deepcopy(start) for _ in range(2)]
    first, second = (
        study.supervised(m, train, 12, test=train, every=6, progress=False)
        for m in same
    )
    assert first.loss == second.loss
    assert [s for s, _ in first.evaluations] == [0, 6, 12]
    assert first.loss[-1] < first.loss[0]
    assert torch.equal(study.predict(same[0], train), study.predict(same[1], train))


@pytest.mark.parametrize("pretrain", [study.predict_rotation, study.simclr])
def test_pre_training_changes_the_encoder_only(pretrain):
    model = study.Classifier(seed=1)
    before = copy.deepcopy(model.state_dict())
    history = pretrain(model.encoder, study.unlabeled(16), 3, progress=False)
    assert history.steps == 3 and np.isfinite(history.loss).all()
    changed = {
        name.split(".")[0]
        for name, value in model.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert changed == {"encoder"}


def test_turns_can_be_learned():
    """Pictures that are bright at the top tell how they were turned."""
    slope = torch.linspace(255, 0, 48).to(torch.uint8)
    images = slope[:, None].expand(64, 3, 48, 48).contiguous()
    history = study.predict_rotation(
        study.Classifier().encoder, images, 25, progress=False
    )
    assert history.loss[0] > 1 and history.loss[-1] < 0.5


def test_reading_curves():
    assert study.labels_to({1: 0.2, 4: 0.5, 8: 0.7}, 0.5) == 4
    assert study.labels_to({1: 0.2}, 0.5) is None
