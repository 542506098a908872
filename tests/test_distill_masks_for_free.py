"""ReCo and CLIMS are what they say: identity tests on a tiny CLIP."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from distill_tiny import bench
from transfer_tiny import clip, close, unit

from vlmtutor.distill.data import Tagged, Unlabelled
from vlmtutor.distill.info import predict
from vlmtutor.distill.segmentation import clims, reco

NAMES = bench().names


# ReCo


def test_the_seed_is_the_patch_that_every_picture_has():
    n, T, d = 4, 5, 8
    features = unit(n, T, d)
    common = unit(1, d)[0]
    places = [3, 0, 2, 4]
    for m, at in enumerate(places):
        features[m, at] = common
    reference, seeds = reco.coseg_reference(features)
    assert seeds.tolist() == places
    close(reference, common)


def test_a_seed_needs_a_like_in_each_picture_not_many_in_one():
    common, crowd = torch.eye(6)[0], torch.eye(6)[1]
    others = torch.eye(6)[2:5]
    features = torch.stack([
        torch.stack([common, crowd, crowd]),
        torch.stack([common, others[0], others[1]]),
        torch.stack([common, others[2], others[0]]),
    ])  # fmt: skip
    _, seeds = reco.coseg_reference(features)
    assert seeds.tolist() == [0, 0, 0]


def test_weights_count_against_columns_of_their_own_picture():
    a, b = torch.eye(4)[0], torch.eye(4)[1]
    features = torch.stack([torch.stack([a, b]), torch.stack([a, b])])
    weights = torch.tensor([[0.1, 1.0], [0.1, 1.0]])  # b is the likely thing
    reference, seeds = reco.coseg_reference(features, weights)
    assert seeds.tolist() == [1, 1]
    close(reference, b)


def made(**settings):
    data = bench().data(Unlabelled)
    settings = {"n": 3, "layer": 1, "student": False} | settings
    return reco.fit(clip(), data, 0, names=NAMES, **settings)


def test_recos_references_come_from_pictures_fetched_by_name():
    archive = bench().data(Unlabelled).pictures
    W = reco.text_classifier(clip(), NAMES)
    model = made(context=False)
    rows = (archive.image_embeds @ W[0]).topk(3).indices
    looks = reco.features(archive, 1, model.mean)
    weights = (reco.SHARP * archive.dense[rows] @ W[0]).sigmoid()
    close(model.references[0], reco.coseg_reference(looks[rows], weights)[0])
    assert not torch.allclose(made().references, model.references)


def test_recos_map_is_likeness_times_the_text_map():
    pictures = bench().test_pictures
    both, text, visual = (
        made(use=use).scores(pictures, NAMES)
        for use in ("both", "text", "visual")
    )
    side = pictures.images.shape[1]
    model = made()
    W = reco.text_classifier(clip(), NAMES)
    likeness = (model.features(pictures) @ model.references.T).sigmoid()
    words = (reco.SHARP * pictures.dense @ W.T).sigmoid()
    for got, want in ((both, likeness * words), (text, words),
                      (visual, likeness)):  # fmt: skip
        close(got[:, :-1], reco.upsample(reco.as_map(want), side))


def test_reco_looks_in_other_features_than_those_of_the_text():
    pictures = bench().test_pictures
    assert made().features(pictures).shape[-1] != clip().embed_dim


def test_reco_plus_trains_a_student_on_it():
    student = made(student=True, steps=2)
    assert student.trained > 0
    labels = predict(student, bench().test_pictures, NAMES)
    assert int(labels.max()) <= len(NAMES)


# CLIMS


def trained(**settings):
    data = bench().data(Tagged)
    settings = {"steps": 2, "student_steps": 2} | settings
    return clims.fit(clip(), data, 0, names=NAMES, **settings)


def test_gradients_reach_the_mask_through_clip():
    look = clims.Through(clip())
    pixels = bench().test_pictures.pixel_values[:2]
    mask = torch.full((2, *pixels.shape[2:]), 0.5, requires_grad=True)
    look(pixels, mask).sum().backward()
    assert mask.grad.abs().sum() > 0


def test_a_full_mask_shows_the_picture_and_an_empty_one_nothing():
    look = clims.Through(clip())
    pictures = bench().test_pictures
    pixels = pictures.pixel_values
    ones = torch.ones(len(pixels), *pixels.shape[2:])
    close(look(pixels, ones), pictures.image_embeds, atol=1e-4)
    dark = look(pixels, 0 * ones)
    close(dark, dark[:1].expand_as(dark))


def test_the_curve_turns_cosines_into_chances():
    cosines = torch.tensor([[0.1, 0.2, 0.6, 0.7]])
    curve = clims.fit_curve(cosines, cosines > 0.4)
    assert curve.slope > 0
    assert abs(curve.middle - 0.4) < 0.05
    close(curve.log(cosines).exp() + curve.log_not(cosines).exp(),
          torch.ones_like(cosines))  # fmt: skip


@functools.cache
def layers():
    """The mask layer after each choice of losses."""
    choices = {
        "none": {"steps": 0}, "all": {}, "no mismatch": {"mismatch": False},
        "no places": {"places": False}, "no area": {"area": False},
    }  # fmt: skip
    return {
        name: trained(student=False, **choice).layer.linear.weight
        for name, choice in choices.items()
    }


def test_losses_change_the_masks():
    found = layers()
    for name in ("none", "no mismatch", "no area"):
        assert not torch.equal(found["all"], found[name]), name


def test_clims_starts_as_a_classifier_of_its_tags():
    data = bench().data(Tagged)
    layer = clims.MaskLayer(clip(), len(data.names))
    before = F.binary_cross_entropy_with_logits(
        layer.linear(layer.inputs(data.pictures).mean(1)), data.tags.float()
    )
    clims.start_as_classifier(layer, data)
    after = F.binary_cross_entropy_with_logits(
        layer.linear(layer.inputs(data.pictures).mean(1)), data.tags.float()
    )
    assert after < 0.5 * before


def test_only_tagged_names_get_a_mask():
    masks = trained(student=False)
    pictures = bench().test_pictures
    tags = torch.zeros(len(pictures), len(NAMES), dtype=torch.bool)
    assert (masks.labels(pictures, tags) == len(NAMES)).all()
    tags[:, 1] = True
    assert set(masks.labels(pictures, tags).unique().tolist()) <= {
        1, len(NAMES),
    }  # fmt: skip


def test_clip_stays_as_it_was():
    before = [p.clone() for p in clip().model.parameters()]
    assert trained().trained > 0
    after = clip().model.parameters()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_recall_precision_and_area_by_hand():
    from vlmtutor.distill.evaluate import judge

    truth = torch.tensor([[[0, 0], [2, 2]]])
    labels = torch.tensor([[[0, 1], [0, 2]]])
    found = clims.per_picture(judge(labels, truth, 1, ["a", "b"]))
    assert found["recall"].item() == 0.5
    assert abs(found["precision"].item() - 1 / 3) < 1e-9
    assert found["area"].item() == 0.75
