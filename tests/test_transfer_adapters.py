"""Identities of methods that adapt features, classifiers or weights."""

from __future__ import annotations

import warnings

import pytest
import torch
from transfer_tiny import (
    CLASSES,
    NOVEL,
    D,
    clip,
    close,
    colors,
    tiny_clip,
    unit,
    zero_shot_logits,
)

from vlmtutor.transfer import (
    calip,
    clip_adapter,
    linear_probe,
    taskres,
    tip_adapter,
    wise_ft,
)
from vlmtutor.transfer.calip import attended_logits

IMAGES, LABELS = colors(3)
TEST, TEST_LABELS = colors(2, seed=5)


def fitted(module, **settings):
    return module.fit(clip(), IMAGES, LABELS, CLASSES, **settings)


def test_linear_probe_is_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    embeds = clip().encode_images(IMAGES)
    model = LogisticRegression(C=3.0, max_iter=1000)
    model.fit(embeds.numpy(), LABELS.numpy())
    found = fitted(linear_probe, C=3.0).probabilities(TEST)
    expected = model.predict_proba(clip().encode_images(TEST).numpy())
    close(found, torch.tensor(expected, dtype=torch.float32))


def test_linear_probe_of_two_classes_and_of_an_empty_one():
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # one shot a class is no reason
        two = linear_probe.fit(clip(), IMAGES[::6], LABELS[::6].clamp(max=1), CLASSES)
    probabilities = two.probabilities(TEST)
    close(probabilities.sum(1), torch.ones(len(TEST)))
    assert (probabilities[:, 2] == 0).all()
    with pytest.raises(ValueError):
        linear_probe.fit(clip(), IMAGES[:3], LABELS[:3], CLASSES)


@pytest.mark.parametrize(
    "module, settings",
    [
        (clip_adapter, {"ratio": 0.0, "steps": 2}),
        (tip_adapter, {"alpha": 0.0}),
        (taskres, {"steps": 0}),
        (taskres, {"alpha": 0.0, "steps": 3, "lr": 0.1}),
        (calip, {"beta2": 0.0, "beta3": 0.0}),
    ],
)
def test_a_method_without_its_part_is_zero_shot(module, settings):
    predictor = fitted(module, **settings)
    close(predictor(TEST), zero_shot_logits(clip(), TEST), atol=1e-4)


def test_an_adapter_that_says_nothing_is_zero_shot():
    predictor = fitted(clip_adapter, ratio=0.2, steps=0)
    with torch.no_grad():
        predictor.adapter[2].weight.zero_()
    close(predictor(TEST), zero_shot_logits(clip(), TEST), atol=1e-4)


def test_clip_adapter_mixes_what_a_relu_lets_through():
    predictor = fitted(clip_adapter, ratio=0.3, steps=4)
    embeds = clip().encode_images(TEST)
    with torch.no_grad():
        adapted = predictor.adapter(embeds)
        assert (adapted >= 0).all() and (adapted > 0).any()
        mixed = 0.3 * adapted + 0.7 * embeds
        mixed = mixed / mixed.norm(dim=1, keepdim=True)
        expected = clip().logit_scale * mixed @ predictor.weights.T
    close(predictor(TEST), expected, atol=1e-4)


def test_tip_adapter_adds_alpha_to_the_class_of_a_picture_it_knows():
    alpha = 3.0
    added = fitted(tip_adapter, alpha=alpha, beta=2e4)(IMAGES)
    added = added - zero_shot_logits(clip(), IMAGES)
    close(added, alpha * torch.eye(3)[LABELS], atol=0.01 * alpha)


def test_tip_adapter_kernel_is_a_gaussian():
    a, b = unit(4, D), unit(6, D, seed=1)
    kernel = torch.exp(-5.5 / 2 * torch.cdist(a, b).square())
    close(tip_adapter.affinity(a, b, 5.5), kernel)


def test_tip_adapter_f_starts_at_tip_adapter():
    start = tip_adapter.fit_tuned(clip(), IMAGES, LABELS, CLASSES, steps=1, lr=0.0)
    close(start(TEST), fitted(tip_adapter)(TEST))
    assert start.parameters_trained == len(IMAGES) * D


def test_wise_ft_ends_at_zero_shot_and_at_the_fine_tuned_weights():
    model = tiny_clip()
    predictor = wise_ft.fit(model, IMAGES, LABELS, CLASSES, steps=5, lr=1e-2)
    zero_shot = zero_shot_logits(model, TEST)
    close(predictor.at(0.0)(TEST), zero_shot, atol=1e-4)
    tuned = wise_ft.fit(model, IMAGES, LABELS, CLASSES, steps=5, lr=1e-2, alpha=1.0)
    close(predictor.at(1.0)(TEST), tuned(TEST))
    assert not torch.allclose(tuned(TEST), zero_shot, atol=0.1)
    close(predictor.at(0.5)(TEST), predictor(TEST))


def test_wise_ft_of_a_head_alone_mixes_logits():
    predictor = fitted(wise_ft, blocks=0, steps=5, lr=1e-2)
    start, end = predictor.at(0.0)(TEST), predictor.at(1.0)(TEST)
    close(predictor.at(0.3)(TEST), torch.lerp(start, end, 0.3), atol=1e-4)
    assert predictor.parameters_trained == 3 * D


def test_wise_ft_with_other_names_is_no_mixture_any_more():
    predictor = fitted(wise_ft, steps=2)
    start = predictor.at(0.0).with_classes(NOVEL)
    close(start(TEST), zero_shot_logits(clip(), TEST, NOVEL), atol=1e-4)
    with pytest.raises(ValueError, match="mix first"):
        start.at(0.5)
    with pytest.raises(ValueError, match="from 0 to 4"):
        fitted(wise_ft, blocks=5)


def test_calip_by_hand():
    # One patch: attention has nothing to choose, so text sees that patch.
    image, patch = unit(2, D), unit(2, 1, D, seed=1)
    weights = unit(4, D, seed=2)
    by_texts, by_patches = attended_logits(image, patch, weights)
    cosine = (image * patch[:, 0]).sum(1, keepdim=True)
    close(by_texts, cosine.expand(-1, 4))
    mixed = (2 * patch[:, 0] @ weights.T).softmax(1) @ weights
    close(by_patches, 2 * mixed @ weights.T)  # the mean and the maximum
    # The order of patches does not matter.
    many = unit(2, 9, D)
    there = attended_logits(image, many, weights)
    back = attended_logits(image, many.flip(1), weights)
    for a, b in zip(there, back, strict=True):
        close(a, b)
