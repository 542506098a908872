"""Methods that label for themselves are what they say: identity tests."""

from __future__ import annotations

import copy
import dataclasses
import functools

import pytest
import torch
import torch.nn.functional as F
from distill_tiny import box_bench, check_detector
from transfer_tiny import clip, close, unit

from vlmtutor.distill.bench import box_masks
from vlmtutor.distill.box_supervision import Outlined, Pool
from vlmtutor.distill.detection import (
    detic,
    p3ovd,
    pb_ovd,
    promptdet,
    vl_plm,
    vldet,
    xpm,
)
from vlmtutor.distill.methods import get_method
from vlmtutor.distill.parts import asked_patches, described, outlines, yes_no
from vlmtutor.distill.parts.box_head import RegionHead
from vlmtutor.distill.parts.box_regions import BoxRegions, lesson_of, shared_regions
from vlmtutor.distill.parts.boxes import pairwise_iou
from vlmtutor.distill.parts.nouns import noun, spoken_nouns
from vlmtutor.distill.supervision import Boxed, Captioned, Tagged

BENCH, NAMES, SEEN = box_bench(), box_bench().names, box_bench().seen
FEW = {
    "Detic": {"steps": 2},
    "VLDet": {"steps": 2},
    "PB-OVD": {"steps": 2},
    "XPM": {"steps": 2},
    "PromptDet": {"steps": 2, "prompt_steps": 2, "kept": 3},
    "VL-PLM": {"steps": 2, "repeats": 2},
    "P3OVD": {"steps": 2, "adapt_steps": 3, "kept": 1.0},
}


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setattr(xpm, "STEPS", 2)  # of the teacher


@functools.cache
def fitted(row, **settings):
    """A row's model, by the row's name."""
    name = row.split(",")[0]
    module = get_method(name)
    (info,) = (info for info in module.ROWS if info.name == row)
    told = {key: list(getattr(BENCH, key)) for key in info.told}
    own = {**info.settings, **FEW[name], **settings}
    return module.fit(clip(), BENCH.data(info.needs), 0, **told, **own)


ALL_ROWS = [info.name for name in FEW for info in get_method(name).ROWS]


@pytest.mark.parametrize("row", ALL_ROWS)
def test_clip_stays_and_boxes_have_any_names(row):
    check_detector(lambda: fitted(row), least=1)


@pytest.mark.parametrize("row", ALL_ROWS)
def test_labels_are_of_the_part_that_is_told(row):
    module, labels = get_method(row.split(",")[0]), fitted(row).labels
    part = module.PARTS[row]
    assert labels.pictures is BENCH.pictures(part)
    assert len(labels) and labels.boxes.shape == (len(labels), 4)
    scores = BENCH.quality(labels, part).scores()
    assert all(0 <= value <= 1 for value in scores.values())


@pytest.mark.parametrize("row", ALL_ROWS)
def test_seeds_repeat(row):
    model = fitted.__wrapped__(row)
    a, b = (m.detect(BENCH.test_pictures, NAMES, SEEN) for m in (model, fitted(row)))
    for one, other in zip(a, b, strict=True):
        assert all(torch.equal(one[key], other[key]) for key in one)


def regions(n=2, k=3, seed=0):
    """Made-up regions of n pictures, k each, the first ones the largest."""
    _, lesson = lesson_of(clip(), BENCH.data(Boxed))
    rng = torch.Generator().manual_seed(seed)
    sides = torch.arange(k, 0, -1).float()[:, None].repeat(n, 1, 2) * 4
    boxes = torch.cat([torch.zeros(n, k, 2), sides], -1)
    shape = n, k, lesson.bins.shape[1]
    bins = torch.randn(shape, generator=rng).half()
    return BoxRegions(boxes, torch.ones(n, k) / 2, bins, unit(n, k, clip().embed_dim))


def fresh_head(seed=0):
    features = regions().bins.shape[-1]
    return RegionHead(features, clip().embed_dim, seed=seed)


def gradient(head, loss):
    """Gradients of a loss, by the names of parameters; None where none flows."""
    head.zero_grad()
    loss.backward()
    return {name: p.grad for name, p in head.named_parameters()}


# nouns


def test_phrases_have_one_noun_each():
    assert noun("two big lions") == noun("a small lion") == noun("lion") == "lion"
    assert noun("an umbrella") == "umbrella" and noun("three butterflies") == (
        "butterfly"
    )
    assert noun("a small bunch of grapes") == noun("two bunches of grapes") == "grapes"
    assert noun("the big king of beasts") == "king of beasts"


def test_nouns_of_a_sentence_are_names_of_its_scene_or_synonyms():
    data = BENCH.data(Captioned)
    for words, scene in zip(spoken_nouns(data), BENCH.scenes("captions"), strict=True):
        assert len({*words}) == len(words)
        known = {o.name for o in scene.objects}
        known |= {s for o in scene.objects for s in o.category.synonyms}
        assert {*words} <= known


# yes or no


def test_yes_or_no_by_hand():
    logits = torch.tensor([[2.0, -1.0], [0.5, 0.0]])
    loss = yes_no.yes_no(logits, torch.tensor([0, 2]))
    one = F.softplus(torch.tensor([-2.0, -1.0])).sum()
    none = F.softplus(torch.tensor([0.5, 0.0])).sum()
    close(loss, torch.stack([one, none]))


def test_the_start_is_shared_and_stays():
    detic.prepare(clip(), BENCH.data((Boxed, Tagged)), None)
    head, seconds = yes_no.shared_start(clip(), BENCH.data(Boxed))
    before = copy.deepcopy(head.state_dict())
    fitted.__wrapped__("Detic")
    assert yes_no.shared_start(clip(), BENCH.data(Boxed))[0] is head
    assert all(torch.equal(v, before[k]) for k, v in head.state_dict().items())


# Detic


def test_detic_picks_the_largest_box_whatever_its_score():
    found = regions()
    told = detic.Told.of(torch.tensor([[True, True], [False, True]]))
    assert told.picture.tolist() == [0, 0, 1] and told.label.tolist() == [0, 1, 1]
    scores = torch.rand(2, 3, 2)
    scores[:, 2] = 2.0
    assert detic.picked(found, told, "largest", scores).tolist() == [0, 0, 0]
    assert detic.picked(found, told, "surest", scores).tolist() == [2, 2, 2]
    found.boxes[1, 1] = torch.tensor([0.0, 0, 30, 30])
    assert detic.picked(found, told, "largest", -scores).tolist() == [0, 0, 1]
    found.quality[1, 1] = 0  # a repetition is no box
    assert detic.picked(found, told, "largest", scores).tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="largest"):
        detic.picked(found, told, "smallest", scores)


def test_labels_of_pictures_teach_no_box():
    found, head = regions(), fresh_head()
    told = detic.Told.of(torch.tensor([[True, False], [False, True]]))
    texts = unit(2, clip().embed_dim)
    loss = detic.label_loss(head, found, told, texts, 5.0, "largest")
    grads = gradient(head, loss)
    assert grads["shift.weight"] is None and grads["shift.bias"] is None
    assert grads["vector.weight"].abs().sum() > 0


def test_each_label_of_a_picture_is_told_to_the_one_box_and_they_share_it():
    found, head, texts = regions(), fresh_head(), unit(2, clip().embed_dim)
    both, first, second = (
        detic.label_loss(
            head, found[:1], detic.Told.of(torch.tensor([tags])), texts, 5.0, "largest"
        )
        for tags in ([True, True], [True, False], [False, True])
    )
    close(both, (first + second) / 2)
    other = BoxRegions(*(value.clone() for value in vars(found[:1]).values()))
    other.bins[0, 1:] += 1  # of the smaller boxes
    told = detic.Told.of(torch.tensor([[True, True]]))
    close(both, detic.label_loss(head, other, told, texts, 5.0, "largest"))
    other.bins[0, 0] += 1
    moved = detic.label_loss(head, other, told, texts, 5.0, "largest")
    assert not torch.allclose(both, moved, atol=1e-5)


def test_without_weight_detic_sees_no_label(monkeypatch):
    def never(*args):
        raise AssertionError("a label was read")

    monkeypatch.setattr(detic, "label_loss", never)
    fitted.__wrapped__("Detic", weight=0.0)
    with pytest.raises(AssertionError, match="read"):
        fitted.__wrapped__("Detic")


def test_labels_are_given_to_the_largest_proposals():
    labels, data = fitted("Detic").labels, BENCH.data(Tagged)
    found = shared_regions(fitted("Detic").proposer, data.pictures)
    assert len(labels) == data.tags.sum()
    for k in labels.picture.unique():
        own = labels[labels.picture == k]
        there = found.boxes[k][found.quality[k] > 0]
        areas = (there[:, 2:] - there[:, :2]).prod(-1)
        assert (own.boxes == there[areas.argmax()]).all()


# VLDet


def spoken_by_hand():
    """Two sentences: nouns 0 and 1, then 1 and 2."""
    return vldet.Spoken.of([[0, 1], [1, 2]])


def test_one_region_for_each_noun_of_a_picture():
    found, spoken = regions(), spoken_by_hand()
    scores = torch.zeros(2, 3, 4)
    scores[0, 1, :2] = torch.tensor([5.0, 4.0])  # both like region 1
    scores[0, 2, :2] = torch.tensor([0.0, 3.0])
    best, own, large = (
        vldet.paired(scores, found, spoken, matching)
        for matching in ("best", "one to one", "largest")
    )
    assert best[:2].tolist() == [1, 1]
    assert own[:2].tolist() == [1, 2]
    assert large.tolist() == [0, 0, 0, 0]
    assert len({*own[2:].tolist()}) == 2
    found.quality[0, 2] = 0  # a repetition: region 0 is left
    assert vldet.paired(scores, found, spoken)[:2].tolist() == [1, 0]
    with pytest.raises(ValueError, match="one to one"):
        vldet.paired(scores, found, spoken, "first")


def test_the_order_of_nouns_does_not_matter():
    found, scores = regions(), torch.rand(2, 3, 4)
    turned = vldet.Spoken.of([[1, 0], [2, 1]])
    order = torch.tensor([1, 0, 3, 2])
    a = vldet.paired(scores, found, spoken_by_hand())
    b = vldet.paired(scores[..., order], found, turned)
    assert torch.equal(a[order], b)
    losses = [
        vldet.noun_loss(s, region, spoken)
        for s, region, spoken in (
            (scores, a, spoken_by_hand()),
            (scores[..., order], b, turned),
        )
    ]
    close(*losses)


def test_nouns_of_other_sentences_are_denied_unless_the_own_has_them():
    spoken = spoken_by_hand()
    assert spoken.others().tolist() == [
        [False, False, False, True],
        [False, False, False, True],
        [True, False, False, False],
        [True, False, False, False],
    ]
    logits, region = torch.zeros(2, 3, 4), torch.tensor([0, 1, 0, 1])
    plain = vldet.noun_loss(logits, region, spoken)
    close(plain, torch.tensor(8 * 0.6931 / 2), atol=1e-3)  # 4 yes, 4 no, 2 pictures
    shared, other = logits.clone(), logits.clone()
    shared[0, :, 2] += 3  # noun 1 of the other sentence, which this one has
    other[0, :, 3] += 3  # noun 2, which it lacks
    assert torch.equal(plain, vldet.noun_loss(shared, region, spoken))
    assert vldet.noun_loss(other, region, spoken) > plain
    repeats = vldet.Spoken.of([[0], [2, 2]])
    assert repeats.others()[0].tolist() == [False, True, True]  # each counts


def test_the_whole_picture_is_no_region_to_be_paired():
    data = BENCH.data(Captioned)
    whole = vldet.whole_regions(data.pictures)
    size = data.pictures.images.shape[1]
    assert (whole.boxes == torch.tensor([0.0, 0, size, size])).all()
    labels = fitted("VLDet").labels
    found = shared_regions(fitted("VLDet").proposer, data.pictures)
    for picture, box in zip(labels.picture, labels.boxes, strict=True):
        assert (found.boxes[picture] == box).all(1).any()
    vectors, sentences = unit(3, 8), unit(3, 8, seed=1)
    a = vldet.whole_loss(vectors, sentences, 5.0)
    logits = 5 * vectors @ sentences.T
    close(a, (F.softplus(logits).sum() - logits.diagonal().sum()) / 3)


def test_sentences_teach_no_box():
    found, spoken, head = regions(), spoken_by_hand(), fresh_head()
    logits = head(found.bins, found.pooled)[0] @ unit(4, clip().embed_dim).T
    grads = gradient(
        head, vldet.noun_loss(logits, vldet.paired(logits, found, spoken), spoken)
    )
    assert grads["shift.weight"] is None
    assert grads["vector.weight"].abs().sum() > 0


# PB-OVD


def test_two_names_of_a_sentence_have_maps_of_their_own():
    data = BENCH.data(Captioned)
    last = pb_ovd.taps(clip())[-1]
    hidden = data.pictures.hidden(last)[:1].repeat(2, 1, 1)
    texts = unit(2, clip().embed_dim)
    a, b = pb_ovd.maps_of(clip(), hidden, texts)
    assert not torch.allclose(a, b, atol=1e-3)
    for own in (a, b):
        assert own.max() == 1 and ((own == 0) | (own >= 0.5)).all()
    swapped = pb_ovd.maps_of(clip(), hidden, texts.flip(0))
    close(swapped, torch.stack([b, a]))  # each has its own text alone


def test_twice_the_area_costs_the_root_of_two():
    maps = torch.zeros(1, 16)
    maps[0, 0] = 1.0  # all of it in the first patch, of 8 px
    boxes = torch.tensor([[[0.0, 0, 8, 8], [0, 0, 16, 8], [0, 0, 16, 16]]])
    (root,), (total,), (mean,) = (
        pb_ovd.worth(maps, boxes, 32, power) for power in (0.5, 0.0, 1.0)
    )
    close(root / root[0], torch.tensor([1.0, 2**-0.5, 0.5]))
    close(total / total[0], torch.ones(3))
    close(mean / mean[0], torch.tensor([1.0, 0.5, 0.25]))


def test_only_names_of_the_list_get_a_box():
    labels, said = fitted("PB-OVD").labels, spoken_nouns(BENCH.data(Captioned))
    wanted = [(k, w) for k, own in enumerate(said) for w in own if w in NAMES]
    got = zip(labels.picture.tolist(), labels.labels.tolist(), strict=True)
    assert [(k, NAMES[name]) for k, name in got] == wanted


def test_the_way_to_the_joint_space_stands_still_on_base_boxes(monkeypatch):
    kept, fit = [], pb_ovd.fit_regions

    def spy(parameters, lesson, loss, **settings):
        parameters = list(parameters)
        fit(parameters, lesson, loss, **settings)
        kept.append((settings["lr"], [p.detach().clone() for p in parameters]))

    monkeypatch.setattr(pb_ovd, "fit_regions", spy)
    model = fitted.__wrapped__("PB-OVD", slower=40.0)
    (fast, before), (slow, after) = kept
    assert slow == pytest.approx(fast / 40) and len(after) == len(before) - 2
    weights = [p for p in before if p.shape == model.head.vector.weight.shape]
    assert any(torch.equal(p, model.head.vector.weight) for p in weights)
    assert not any(torch.equal(p, model.head.body[0].weight) for p in before)


# PromptDet


def test_a_description_changes_a_names_vector(monkeypatch):
    words = promptdet.Described(clip())
    monkeypatch.setattr(described, "look", lambda name: "red")
    a = words(["cat", "dog"])
    monkeypatch.setattr(described, "look", lambda name: "blue bird")
    b = words(["cat", "dog"])
    assert not torch.allclose(a, b, atol=1e-4)
    with torch.no_grad():
        words.vectors[1] += torch.randn(words.vectors.shape[1])
    assert not torch.allclose(b, words(["cat", "dog"]), atol=1e-4)


def test_at_first_words_are_those_that_stand_there():
    words, names = promptdet.Described(clip()), ["cat", "red dog"]
    said = [f"a {name} a {described.look(name)}" for name in names]
    close(words(names), clip().encode_texts(said), atol=1e-5)


def test_the_pool_is_searched_by_its_names():
    pictures = BENCH.data(Pool).pictures
    texts = pictures.image_embeds[[4, 7]]
    found = promptdet.sourced(pictures, texts, 3)
    assert found.shape == (2, 3) and found[:, 0].tolist() == [4, 7]
    labels = fitted("PromptDet").labels
    assert len(labels) == 3 * len(BENCH.novel)
    assert {*labels.labels.tolist()} == {3, 4}  # novel names alone


def pool_case():
    """A batch of two pictures: their logits [2, 3, 4], shifts, regions."""
    found = regions()
    found.boxes[:, 2] = torch.tensor([20.0, 20, 30, 30])  # away from the others
    logits = torch.zeros(2, 3, 4, requires_grad=True)
    shifts = torch.zeros(2, 3, 4, requires_grad=True)
    with torch.no_grad():
        logits[:, 0, 3] = 2.0
    return found, logits, shifts


def test_swapped_pictures_change_what_is_learned():
    found, logits, shifts = pool_case()
    found.bins[:] = 0
    grads = []
    for name in ([3, 2], [2, 3]):
        logits.grad = None
        promptdet.pool_loss(logits, shifts, found, torch.tensor(name), 32).backward()
        grads.append(logits.grad.clone())
    assert not torch.equal(*grads)


def test_nothing_in_the_pool_is_a_negative():
    found, logits, shifts = pool_case()
    name = torch.tensor([3, 3])
    promptdet.pool_loss(logits, shifts, found, name, 32).backward()
    near = logits.grad.abs().sum(-1) > 0
    assert near[:, 0].all() and not near[:, 2].any()  # away from what was taken
    assert (logits.grad[:, 2] == 0).all() and (shifts.grad[:, 2] == 0).all()


def test_the_truth_is_the_best_proposal_where_the_head_would_have_it():
    found, logits, shifts = pool_case()
    moved = torch.zeros(2, 3, 4)
    moved[..., 0] = 0.5
    place, boxes = promptdet.taken(logits[..., 3], moved, found, 32)
    assert place.tolist() == [0, 0]
    close(boxes[0], torch.tensor([6.0, 0, 18, 12]))  # half a side of 12 further
    found.quality[0, 0] = 0
    assert promptdet.taken(logits[..., 3], moved, found, 32)[0][0] != 0


def test_without_weight_no_picture_of_the_pool_is_read(monkeypatch):
    def never(*args):
        raise AssertionError("the pool was read")

    monkeypatch.setattr(promptdet, "pool_loss", never)
    fitted.__wrapped__("PromptDet", weight=0.0)
    with pytest.raises(AssertionError, match="read"):
        fitted.__wrapped__("PromptDet")


# VL-PLM


def test_applying_the_box_head_again_moves_boxes():
    pictures = BENCH.data(Boxed).pictures[:2]
    boxes = regions().boxes
    head = fresh_head()
    torch.nn.init.constant_(head.shift.bias, 0.1)
    none, once, twice = (vl_plm.refined(head, pictures, boxes, n) for n in (0, 1, 2))
    assert torch.equal(none, boxes)
    assert not torch.allclose(once, boxes) and not torch.allclose(once, twice)
    close(vl_plm.refined(head, pictures, once, 1), twice)


def test_confidence_scales_what_is_learned_and_negatives_keep_theirs():
    _, lesson = lesson_of(clip(), BENCH.data(Boxed))
    head, texts = fresh_head(), unit(len(BENCH.base), clip().embed_dim)
    things = lesson[lesson.labels < len(texts)]
    ground = lesson[lesson.labels == len(texts)]
    assert len(things) and len(ground)
    for part, linear in ((things, True), (ground, False)):
        grads = []
        for weight in (1.0, 0.5):
            own = torch.full((len(part),), weight)
            loss = vl_plm.weighted_loss(head, part, texts, own)
            grads.append(gradient(head, loss)["vector.weight"].clone())
        close(grads[1], grads[0] * (0.5 if linear else 1.0), atol=1e-6)


def test_truth_weighs_one_and_labels_their_confidence(monkeypatch):
    seen, fit = [], vl_plm.weighted_loss

    def spy(head, part, texts, weights):
        seen.append((part, weights))
        return fit(head, part, texts, weights)

    monkeypatch.setattr(vl_plm, "weighted_loss", spy)
    labels = fitted.__wrapped__("VL-PLM", kept=0.5).labels
    part = seen[0][0]
    weights = seen[0][1]
    base = part.labels < len(BENCH.base)
    assert base.any() and (weights[base] == 1).all()
    own = part.true & (part.labels >= len(BENCH.base))
    own &= part.labels < len(NAMES)
    assert own.any()
    assert all((labels.scores == w).any() for w in weights[own])


def test_vl_plm_asks_for_novel_names_alone_and_keeps_a_share():
    data, novel = BENCH.data(Boxed), BENCH.novel
    proposer = fitted("VL-PLM").proposer
    seen = vl_plm.views(clip(), data, proposer, 0, 2)[0]
    every = vl_plm.label(clip(), data, seen, novel, kept=1.0)
    some = vl_plm.label(clip(), data, seen, novel, kept=0.3)
    assert every.names == novel and 0 < len(some) < len(every)
    assert some.scores.min() >= every.scores.median()
    for share, own in ((1.0, seen.quality), (0.0, None)):
        got = vl_plm.label(clip(), data, seen, novel, share=share, kept=1.0)
        if own is not None:
            assert all((own == score).any() for score in got.scores)
        else:
            assert got.scores.min() >= 1 / len(novel) - 1e-6


def test_labels_may_be_kept_apart_from_base_boxes():
    data, novel = BENCH.data(Boxed), BENCH.novel
    proposer = fitted("VL-PLM").proposer
    seen = vl_plm.views(clip(), data, proposer, 0, 2)[0]
    true = dataclasses.replace(
        seen,
        picture=torch.arange(len(data)),
        boxes=torch.stack([boxes[0] for boxes in data.boxes]),
        quality=torch.ones(len(data)),
        embeds=unit(len(data), clip().embed_dim),
    )
    assert len(vl_plm.label(clip(), data, true, novel, kept=1.0)) == len(data)
    assert not len(vl_plm.label(clip(), data, true, novel, kept=1.0, apart=True))
    apart = vl_plm.label(clip(), data, seen, novel, kept=1.0, apart=True)
    for k, box in zip(apart.picture.tolist(), apart.boxes, strict=True):
        assert pairwise_iou(box[None], data.boxes[k]).max() < vl_plm.OVER


def test_names_are_inner_products_beside_nothing():
    model, pictures = fitted("VL-PLM"), BENCH.test_pictures
    found = shared_regions(model.proposer, pictures)
    own, belief = model.opinions(found, pictures, NAMES, SEEN)
    vectors = model.head(found.bins, found.pooled)[0]
    texts = vl_plm.text_classifier(clip(), NAMES)
    logits = torch.cat([vectors @ texts.T, torch.zeros(*vectors.shape[:2], 1)], -1)
    close(own, logits.softmax(-1)[..., :-1])
    close(belief.sum(-1), torch.ones(found.quality.shape))


# P3OVD


def test_patches_change_with_the_names_that_are_asked_for():
    dense = BENCH.data(Boxed).pictures.dense[:2]
    few, many = ["cat", "bee"], ["cat", "bee", "tiger"]
    both = p3ovd.Adapted(clip(), "both")
    (a, texts), (b, more) = both(dense, few), both(dense, many)
    assert not torch.allclose(a, b, atol=1e-5)
    close(texts, more[:2])
    for adapt in ("none", "text"):
        (a, _), (b, _) = (p3ovd.Adapted(clip(), adapt)(dense, n) for n in (few, many))
        assert torch.equal(a, dense) and torch.equal(b, dense)
    with pytest.raises(ValueError, match="both"):
        p3ovd.Adapted(clip(), "picture")


def test_what_is_in_no_base_box_teaches_the_prompts_nothing():
    data = BENCH.data(Boxed)
    labels = p3ovd.patch_labels(data, 4)
    named = labels != asked_patches.IGNORE
    assert named.any() and not named.all()
    for k, (boxes, names) in enumerate(zip(data.boxes, data.labels, strict=True)):
        assert {*labels[k][named[k]].tolist()} <= {*names.tolist()}
        assert not named[k].all() or len(boxes)
    adapted, dense = p3ovd.Adapted(clip()), data.pictures.dense
    grads = []
    for change in (~named, named):
        other = torch.where(change[..., None], -dense, dense)
        grads.append(
            torch.autograd.grad(
                p3ovd.patch_loss(adapted, other, labels, BENCH.base), adapted.context
            )[0]
        )
    loss = p3ovd.patch_loss(adapted, dense, labels, BENCH.base)
    (usual,) = torch.autograd.grad(loss, adapted.context)
    assert torch.equal(grads[0], usual)
    assert not torch.allclose(grads[1], usual, atol=1e-7)


def test_base_names_compete_and_only_novel_ones_are_labels(monkeypatch):
    data, novel = BENCH.data(Boxed), BENCH.novel
    texts = unit(len(NAMES), clip().embed_dim)  # the tiny CLIP knows few words
    monkeypatch.setattr(
        asked_patches,
        "text_classifier",
        lambda clip, names: texts[[*map(NAMES.index, names)]],
    )
    adapted = p3ovd.Adapted(clip(), "none")
    proposer = fitted("P3OVD").proposer
    labels = p3ovd.label(adapted, data, proposer, novel, kept=1.0)
    found = shared_regions(proposer, data.pictures)
    best = (found.pooled @ texts.T).argmax(-1)
    assert 0 < len(labels) <= ((best >= 3) & (found.quality > 0)).sum()
    for k, box, name in zip(labels.picture, labels.boxes, labels.labels, strict=True):
        assert (best[k][(found.boxes[k] == box).all(1)] == name + 3).any()


def test_what_adapts_clip_is_trained_and_nothing_else():
    before = p3ovd.Adapted(clip(), "both")
    after = p3ovd.adapt_clip(clip(), BENCH.data(Boxed), "both", 3, 0)
    for name, value in after.named_parameters():
        assert not torch.equal(value, before.get_parameter(name)), name
    text = p3ovd.adapt_clip(clip(), BENCH.data(Boxed), "text", 3, 0)
    assert torch.equal(text.gate, before.gate)
    assert not torch.equal(text.context, before.context)


# XPM


def test_noise_teaches_its_own_layer_and_no_shared_state():
    bins = regions().bins[0]
    masks = xpm.MaskHead(bins.shape[-1])
    sigma = (masks.spread(bins) / 2).exp()
    sigma.sum().backward()
    assert masks.doubt.weight.grad.abs().sum() > 0
    assert masks.body[0].weight.grad is None
    rng = torch.Generator().manual_seed(0)
    logits, sigma = xpm.noisy_logits(masks, bins, rng)
    targets = torch.ones_like(logits)
    masks.zero_grad()
    xpm.mask_loss(logits, targets).backward()
    assert masks.doubt.weight.grad.abs().sum() > 0
    torch.nn.init.constant_(masks.doubt.bias, -60.0)  # no noise is expected
    logits, sigma = xpm.noisy_logits(masks, bins, rng)
    close(logits, masks(bins))


def test_where_much_noise_is_expected_names_and_boxes_count_less():
    little, much = torch.full((2, 14, 14), 0.5), torch.full((2, 14, 14), 2.0)
    assert xpm.trust(little, 0.01) == pytest.approx(0.02)
    assert xpm.trust(much, 0.01) == pytest.approx(0.005)
    assert xpm.trust(None, 0.01) == 0.01


def test_masks_of_base_things_do_not_know_of_noise():
    data = BENCH.data(Outlined)
    _, lesson = lesson_of(clip(), data)
    things, targets = xpm.outlined(lesson, torch.cat(data.masks), len(data.names))
    masks = xpm.MaskHead(lesson.bins.shape[1])
    before = xpm.mask_loss(masks(things.bins), targets)
    torch.nn.init.constant_(masks.doubt.bias, 5.0)
    assert torch.equal(before, xpm.mask_loss(masks(things.bins), targets))


def test_two_nouns_may_take_the_same_region_and_length_counts(monkeypatch):
    data = BENCH.data(Captioned)
    teacher = xpm.shared_teacher(clip(), BENCH.data(Outlined))[0]
    found = shared_regions(teacher.model.proposer, data.pictures)
    longest = torch.zeros(found.quality.shape)
    there = (found.quality > 0).float()
    place = there.argmax(1)
    longest[torch.arange(len(place)), place] = 1.0

    class Long(torch.nn.Module):
        def forward(self, bins, pooled):
            vectors = torch.ones(*longest.shape, clip().embed_dim)
            return vectors * (1 + 9 * longest)[..., None], None

    texts = torch.ones(len(NAMES), clip().embed_dim)
    monkeypatch.setattr(xpm, "text_classifier", lambda clip, names: texts)
    model = dataclasses.replace(teacher.model, head=Long())
    other = dataclasses.replace(teacher, model=model)
    labels = xpm.label(clip(), other, data, list(NAMES))
    assert len(labels)
    for k, box in zip(labels.picture, labels.boxes, strict=True):
        assert torch.equal(box, found.boxes[k, place[k]])


def test_masks_go_into_boxes_and_back():
    mask = torch.zeros(1, 32, 32, dtype=torch.bool)
    mask[0, 4:18, 10:24] = True
    box = torch.tensor([[10.0, 4, 24, 18]])
    small = outlines.cut(mask, box)
    assert small.shape == (1, 14, 14) and small.all()
    assert torch.equal(xpm.pasted(2 * small - 1, box, 32), mask)
    half = outlines.cut(mask, torch.tensor([[10.0, 4, 38, 18]]))
    assert half[0, :, :7].all() and not half[0, :, 7:].any()


def test_xpm_draws_its_own_masks_and_they_are_kept():
    model = fitted("XPM")
    found = model.detect(BENCH.test_pictures, NAMES, SEEN)
    for one in found:
        assert one["masks"].shape == (len(one["boxes"]), 32, 32)
        for mask, (x0, y0, x1, y1) in zip(one["masks"], one["boxes"], strict=True):
            rows, columns = mask.nonzero(as_tuple=True)
            if len(rows):
                assert columns.min() >= x0 - 1 and columns.max() <= x1 + 1
                assert rows.min() >= y0 - 1 and rows.max() <= y1 + 1
    kept = box_masks.with_masks(
        found, box_masks.region_masks(BENCH, BENCH.test_pictures)
    )
    assert all(a is b for a, b in zip(kept, found, strict=True))


def test_without_steps_xpm_is_its_teacher():
    model = fitted("XPM", steps=0)
    teacher = xpm.shared_teacher(clip(), BENCH.data(Outlined))[0]
    for own, true in (
        (model.head, teacher.model.head),
        (model.masks, teacher.masks),
    ):
        for a, b in zip(own.parameters(), true.parameters(), strict=True):
            assert torch.equal(a, b)


def test_doubts_are_those_of_the_labels():
    sure, wrong = xpm.doubts(BENCH, fitted("XPM"))
    assert len(sure) == len(wrong) == len(fitted("XPM").labels)
    assert (sure > 0).all() and (wrong >= 0).all() and (wrong <= 1).all()
