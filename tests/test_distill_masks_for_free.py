"""Masks for free: methods are what they say; identity tests, tiny CLIP."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from distill_tiny import bench
from transfer_tiny import clip, close, unit

from vlmtutor.distill.bench.answers import predict
from vlmtutor.distill.parts import explain, self_supervised
from vlmtutor.distill.pictures import DensePictures
from vlmtutor.distill.segmentation import clims, clip_es, reco, ssiw
from vlmtutor.distill.supervision import IGNORE, Tagged, Unlabeled
from vlmtutor.models import inside

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
    features = torch.stack(
        [
            torch.stack([common, crowd, crowd]),
            torch.stack([common, others[0], others[1]]),
            torch.stack([common, others[2], others[0]]),
        ]
    )
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
    data = bench().data(Unlabeled)
    settings = {"n": 3, "encoder_steps": 2, "student": False} | settings
    return reco.fit(clip(), data, 0, names=NAMES, **settings)


def test_recos_references_come_from_pictures_fetched_by_name():
    archive = bench().data(Unlabeled).pictures
    W = reco.text_classifier(clip(), NAMES)
    model = made(context=False)
    rows = (archive.image_embeds @ W[0]).topk(3).indices
    looks = model.features(archive)
    weights = reco.likely(archive.dense[rows] @ W[0], reco.MIDDLE)
    close(model.references[0], reco.coseg_reference(looks[rows], weights)[0])
    assert not torch.allclose(made().references, model.references)


def test_recos_map_is_likeness_times_the_text_map():
    pictures = bench().test_pictures
    both, text, visual = (
        made(use=use).scores(pictures, NAMES) for use in ("both", "text", "visual")
    )
    side = pictures.images.shape[1]
    model = made()
    W = reco.text_classifier(clip(), NAMES)
    likeness = (model.features(pictures) @ model.references.T).sigmoid()
    words = reco.likely(pictures.dense @ W.T, reco.MIDDLE)
    for got, want in ((both, likeness * words), (text, words), (visual, likeness)):
        close(got[:, :-1], reco.upsample(reco.as_map(want), side))


def test_a_cosine_in_the_middle_may_be_either():
    half = reco.likely(torch.tensor([0.2, 0.3, 0.9]), 0.3)
    assert half[0] < half[1] < half[2] and half[1] == 0.5
    close(reco.likely(torch.tensor([0.1]), 0.0), torch.tensor([1.0]).sigmoid())


def test_recos_second_encoder_has_never_met_clip():
    archive = bench().data(Unlabeled).pictures
    model = made()
    other = DensePictures(clip(), archive.images)
    close(model.features(other), model.features(archive), atol=1e-5)
    assert other.made == {"pixel_values"}  # no pass through CLIP
    assert model.trained > 0  # on the archive, with no word
    twice = made(encoder="clip")
    assert twice.trained == 0
    assert not torch.allclose(twice.references[:, :8], model.references[:, :8])


def test_the_archives_encoder_learns_that_two_views_show_one_place():
    archive = bench().data(Unlabeled).pictures.prepare("pixel_values")
    pixels = archive.pixel_values
    nets = [self_supervised.train_encoder(archive, 0, steps=n) for n in (0, 40)]
    with torch.no_grad():
        before, after = (
            self_supervised.agreement(net, pixels, torch.Generator().manual_seed(1))
            for net in nets
        )
    assert after < before - 0.2


def test_common_places_of_two_views_are_the_same_places():
    where = torch.arange(16.0).view(1, 1, 4, 4)  # a number a patch
    pixels = where.repeat_interleave(8, 2).repeat_interleave(8, 3).expand(2, 3, -1, -1)
    for seed in range(5):
        rng = torch.Generator().manual_seed(seed)
        a, b, first, second = self_supervised.two_views(100 * pixels, 8, rng)
        side = a.shape[-1] // 8
        a, b = (
            F.adaptive_avg_pool2d(v, side).flatten(2)[..., rows].argsort(-1)
            for v, rows in ((a, first), (b, second))
        )
        assert torch.equal(a, b) and side == 3


def test_reco_plus_trains_a_student_on_it():
    student = made(student=True, steps=2)
    assert student.trained > 0
    labels = predict(student, bench().test_pictures, NAMES)
    assert int(labels.max()) <= len(NAMES)


# CLIMS


def trained(**settings):
    data = bench().data(Tagged)
    settings = {"steps": 2, "student_steps": 2} | settings
    return clims.fit(clip(), data, 0, **settings)


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
    blank = look(pixels, 0 * ones)
    mean = clip().image_features(torch.zeros_like(pixels[:1]))  # no pixel of black
    close(blank, mean.expand_as(blank), atol=1e-5)


def test_the_weight_of_the_area_is_chosen_without_masks():
    """By what CLIP still names inside: tags are all that it may use."""
    data = bench().data(Tagged)
    weights = (0.1, 1e6)
    chosen = clims.choose_area(clip(), data, 0, weights, steps=2)
    assert chosen in weights
    assert not hasattr(data, "labels")


def test_the_curve_turns_cosines_into_chances():
    cosines = torch.tensor([[0.1, 0.2, 0.6, 0.7]])
    curve = clims.fit_curve(cosines, cosines > 0.4)
    assert curve.slope > 0
    assert abs(curve.middle - 0.4) < 0.05
    close(
        curve.log(cosines).exp() + curve.log_not(cosines).exp(),
        torch.ones_like(cosines),
    )


@functools.cache
def layers():
    """The mask layer after each choice of losses."""
    choices = {
        "none": {"steps": 0},
        "all": {"area": 20.0},
        "no mismatch": {"mismatch": False, "area": 20.0},
        "no area": {"area": 0.0},
    }
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
    assert set(masks.labels(pictures, tags).unique().tolist()) <= {1, len(NAMES)}


def test_clip_stays_as_it_was():
    before = [p.clone() for p in clip().model.parameters()]
    assert trained().trained > 0
    after = clip().model.parameters()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_recall_precision_and_area_by_hand():
    from vlmtutor.distill.bench.score import judge

    truth = torch.tensor([[[0, 0], [2, 2]]])
    labels = torch.tensor([[[0, 1], [0, 2]]])
    found = clims.per_picture(judge(labels, truth, 1, ["a", "b"]))
    assert found["recall"].item() == 0.5
    assert abs(found["precision"].item() - 1 / 3) < 1e-9
    assert found["area"].item() == 0.75


# SSIW


def ssiw_model(**settings):
    data = bench().data(Unlabeled)
    return ssiw.fit(clip(), data, 0, **settings)


def test_ssiw_trains_nothing_and_answers_the_same_each_time():
    model, pictures = ssiw_model(), bench().test_pictures
    assert model.trained == 0
    a, b = (model.scores(pictures, NAMES) for _ in range(2))
    assert torch.equal(a, b)
    assert a.shape[1] == len(NAMES) + 1


def test_a_pictures_clicks_do_not_depend_on_those_beside_it():
    model, pictures = ssiw_model(clicks=2), bench().test_pictures
    together = model.scores(pictures, NAMES)
    for k in range(len(pictures)):
        close(model.scores(pictures[k : k + 1], NAMES)[0], together[k], atol=1e-3)


def test_ssiw_is_told_no_number_of_stickers():
    """A name counts by its cosine beside the best one's; there is no maximum."""
    pictures = bench().test_pictures
    cosine = pictures.image_embeds @ ssiw.text_classifier(clip(), NAMES).T
    best = cosine.amax(1, keepdim=True)
    here = ssiw_model(share=-1e6).present(pictures, NAMES)
    some = best[:, 0] > 0
    assert some.any() and here[some].all()
    alone = ssiw_model(share=2.0).present(pictures, NAMES)[some]
    assert (alone.sum(1) == 1).all() and (cosine[some][alone] == best[some, 0]).all()
    here = ssiw_model(share=0.9).present(pictures, NAMES)
    assert torch.equal(here, (cosine >= 0.9 * best) | (cosine == best))


def test_only_present_names_get_pixels():
    model, pictures = ssiw_model(), bench().test_pictures
    labels = predict(model, pictures, NAMES)
    present = model.present(pictures, NAMES)
    assert present.any(1).all()
    for row, here in zip(labels, present, strict=True):
        named = {int(k) for k in row.unique() if k < len(NAMES)}
        assert named <= set(here.nonzero()[:, 0].tolist())


def test_oracle_labels_are_read_from_pictures_that_have_them():
    from vlmtutor.distill.bench.trial import Trial

    model, tags = ssiw_model(oracle=True), bench().oracle_tags
    pictures = bench().test_pictures.with_tags(tags)
    assert torch.equal(model.present(pictures, NAMES), tags)
    assert torch.equal(model.present(pictures[1:3], NAMES), tags[1:3])
    trial = Trial(bench(), ssiw.fit)
    told = trial.result(ssiw.ORACLE)
    assert len(told) == len(pictures)
    assert bench().test_pictures.tags is None


def test_views_are_averaged_relevance_of_each_name():
    model, pictures = ssiw_model(views=("as is",)), bench().test_pictures
    asked = torch.zeros(len(pictures), 1, dtype=torch.long)
    one = model.maps(pictures, NAMES, asked)
    t = ssiw.text_classifier(clip(), NAMES)[0]
    states = inside.hidden_states(clip(), pictures.pixel_values)[2].detach()
    heat = inside.relevance(clip(), states, lambda z: z @ t, start=2)
    heat = explain.min_max(heat).view(-1, 1, 4, 4)
    close(one, ssiw.upsample(heat, pictures.images.shape[1]), atol=1e-4)
    more = ssiw_model().maps(pictures, NAMES, asked)
    assert not torch.allclose(one, more, atol=1e-3)
    nothing = model.maps(pictures, NAMES, asked - 1)
    assert not nothing.any()


def test_clicks_teach_a_classifier_of_this_picture_alone():
    image = torch.zeros(8, 8, 3, dtype=torch.uint8)
    image[:, 4:] = 255  # the map is sure of half of the white side only
    maps = torch.zeros(1, 8, 8)
    maps[0, :, 4:] = 0.4
    maps[0, :4, 4:] = 1.0
    answers = ssiw_model(clicks=8).by_clicks(image, maps)
    close(answers.sum(0), torch.ones(8, 8))
    assert (answers[0, :, 4:] > 0.5).float().mean() > 0.7
    assert (answers[1, :4, :4] > 0.5).all()


# CLIP-ES


def es(**settings):
    return clip_es.fit(
        clip(),
        bench().data(Tagged),
        0,
        student=False,
        refine=False,
        **settings,
    )


def es_maps(tags=None, **settings):
    pictures = bench().test_pictures
    tags = bench().oracle_tags if tags is None else tags
    W = clip_es.text_classifier(clip(), NAMES)
    return es(**settings).maps(pictures, W, tags)


def test_a_rival_changes_the_map_of_a_name_only_in_a_softmax():
    tags = torch.zeros_like(bench().oracle_tags)
    tags[:, 1] = True  # the name that the tiny vocabulary has
    rival = tags.clone()
    rival[:, 0] = True
    plain = {"affinity": False, "rivals": False}
    a, b = (es_maps(t, softmax=False, **plain)[:, 1] for t in (tags, rival))
    close(a, b)
    a, b = (es_maps(t, **plain)[:, 1] for t in (tags, rival))
    assert not torch.allclose(a, b, atol=1e-3)


def test_maps_are_for_tagged_names_and_from_0_to_1():
    maps = es_maps()
    assert maps.min() >= 0 and maps.max() <= 1
    assert not maps[~bench().oracle_tags].any()
    assert not torch.equal(maps, es_maps(affinity=False))
    assert not torch.equal(maps, es_maps(rivals=False))


def test_the_score_is_a_probability_in_which_each_place_is_a_rival():
    texts, z = unit(1, 2, clip().embed_dim), unit(1, clip().embed_dim)
    there = torch.ones(1, 2, dtype=torch.bool)
    got = clip_es.Masks(clip(), scale=5.0).score(texts, there, 0)(z)
    places = 5 * clip_es.background_classifier(clip()) @ z[0]
    votes = torch.cat([5 * texts[0] @ z[0], places])
    close(got[0], votes.softmax(0)[0])


def test_affinity_is_of_the_last_two_thirds_of_the_blocks():
    model = clip_es.Masks(clip())
    n = len(inside.vision_blocks(clip()))
    assert model.layers_used == -(-2 * n // 3) < n


def test_clip_es_has_a_row_as_published_and_one_without_affinity():
    assert clip_es.INFO.settings.get("affinity", True)
    assert [r.settings.get("affinity", True) for r in clip_es.ROWS] == [True, False]


def test_unsure_pixels_are_left_out():
    pictures, tags = bench().test_pictures, bench().oracle_tags
    labels = es().labels(pictures, NAMES, tags, unsure=0.25)
    share = (labels == IGNORE).float().flatten(1).mean(1)
    # none where all pixels are as sure, in a picture without a map
    assert 0.15 < share.mean() < 0.35 and share.max() < 0.4
    assert not (es().labels(pictures, NAMES, tags) == IGNORE).any()


def test_clip_es_ends_in_a_student_that_needs_no_labels():
    student = clip_es.fit(clip(), bench().data(Tagged), 0, steps=2)
    assert student.trained > 0
    labels = predict(student, bench().test_pictures, NAMES)
    assert int(labels.max()) <= len(NAMES)
