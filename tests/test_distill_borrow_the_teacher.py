"""Methods that borrow the teacher are what they say: identity tests."""

from __future__ import annotations

import dataclasses
import functools

import pytest
import torch
import torch.nn.functional as F
from distill_tiny import box_bench, check_detector
from transfer_tiny import clip, close, unit

from vlmtutor.distill.detection import (
    baron,
    detpro,
    fvlm,
    hierkd,
    oadp,
    vild,
    zsd_yolo,
)
from vlmtutor.distill.parts import bags, box_teacher, pseudo_words
from vlmtutor.distill.parts.box_proposer import Cells
from vlmtutor.distill.parts.box_regions import lesson_of, look_into, shared_regions
from vlmtutor.distill.parts.one_stage import Targets
from vlmtutor.distill.pictures import DensePictures, once, taps
from vlmtutor.distill.supervision import Boxed, BoxedCaptioned
from vlmtutor.naming import TEMPLATES

NAMES, BASE, SEEN = box_bench().names, box_bench().base, box_bench().seen
METHODS = {
    "F-VLM": (fvlm, Boxed, {"steps": 2}),
    "ViLD": (vild, Boxed, {"steps": 2}),
    "DetPro": (detpro, Boxed, {"steps": 2, "prompt_steps": 2}),
    "OADP": (oadp, Boxed, {"steps": 2}),
    "BARON": (baron, Boxed, {"steps": 2}),
    "HierKD": (hierkd, BoxedCaptioned, {"steps": 2}),
    "ZSD-YOLO": (zsd_yolo, Boxed, {"steps": 2}),
}


def data(name="ViLD"):
    return box_bench().data(METHODS[name][1])


@functools.cache
def fitted(name, **settings):
    module, _, own = METHODS[name]
    return module.fit(clip(), data(name), 0, **own | settings)


@pytest.mark.parametrize("name", METHODS)
def test_clip_stays_and_boxes_have_any_names(name):
    check_detector(lambda: fitted(name))


@pytest.mark.parametrize("name", sorted(METHODS.keys() - {"HierKD"}))
def test_no_novel_word_is_read_in_training(name, monkeypatch):
    spoken, tokenize = [], clip().tokenize
    monkeypatch.setattr(
        clip(), "tokenize", lambda texts: spoken.extend(texts) or tokenize(texts)
    )
    for key in (("names", *TEMPLATES), "states of names"):
        once(clip(), key, dict).clear()  # what was read before
    module, _, own = METHODS[name]
    module.fit(clip(), data(name), 1, **own)
    assert any("lion" in text for text in spoken)
    assert not [t for t in spoken if {*box_bench().novel} & {*t.split()}]


# ViLD


def vild_gradients(targets=None, texts=None, weight=1.0, heads=1):
    """Gradients of ViLD's loss on the whole lesson, head by head."""
    model = fitted("ViLD", heads=heads)
    _, lesson = lesson_of(clip(), data())
    if targets is None:
        targets = unit(len(lesson), clip().embed_dim)
    texts = model.words(BASE) if texts is None else texts
    modules = [m for m in (model.head, model.image) if m is not None]
    for module in modules:
        module.requires_grad_(True).zero_grad()
    vild.losses(model, lesson, targets, texts, weight).backward()
    found = [m.vector.weight.grad for m in modules]
    for module in modules:
        module.requires_grad_(False)
    return [None if g is None else g.clone() for g in found]


def test_vild_learns_from_crops_that_overlap_no_box():
    _, lesson = lesson_of(clip(), data())
    away = (lesson.overlap == 0).nonzero()[:1, 0]
    assert len(away)
    targets = unit(len(lesson), clip().embed_dim)
    other = targets.clone()
    other[away] = -other[away]
    (a,), (b,) = vild_gradients(targets), vild_gradients(other)
    assert not torch.allclose(a, b, atol=1e-8)
    (a,), (b,) = (vild_gradients(t, weight=0) for t in (targets, other))
    assert torch.equal(a, b)


def test_the_image_head_of_the_ensemble_never_sees_a_text():
    texts = fitted("ViLD").words(BASE)
    a, b = vild_gradients(heads=2), vild_gradients(texts=-texts, heads=2)
    assert not torch.allclose(a[0], b[0], atol=1e-8)
    assert torch.equal(a[1], b[1])
    assert vild_gradients(weight=0, heads=2)[1] is None


def test_one_head_takes_both_losses():
    assert fitted("ViLD").image is None
    (text,), (both,) = vild_gradients(weight=0), vild_gradients()
    assert not torch.allclose(text, both, atol=1e-8)


def test_the_ensemble_has_one_background_and_swaps_shares():
    model, pictures = fitted("ViLD", heads=2), box_bench().test_pictures
    found = shared_regions(model.proposer, pictures)
    own, _ = model.opinions(found, pictures, NAMES, SEEN)
    scale, texts = clip().logit_scale, model.words(NAMES)
    p, q = (
        F.normalize(h(found.bins, found.pooled)[0], dim=-1)
        for h in (model.head, model.image)
    )
    p = (scale * p @ model.nothing(texts).T).softmax(-1)[..., :-1]
    q = (scale * q @ texts.T).softmax(-1)
    close(own[..., 0], p[..., 0] ** (2 / 3) * q[..., 0] ** (1 / 3))
    close(own[..., -1], p[..., -1] ** (1 / 3) * q[..., -1] ** (2 / 3))


def test_the_background_may_be_left_to_the_quality():
    model, pictures = fitted("ViLD"), box_bench().test_pictures
    found = shared_regions(model.proposer, pictures)
    own, belief = model.opinions(found, pictures, NAMES, SEEN)
    assert (own.sum(-1) < 1).all()
    close(belief.sum(-1), torch.ones(found.quality.shape))
    other = dataclasses.replace(model, background="quality")
    close(
        other.opinions(found, pictures, NAMES, SEEN)[0],
        belief * found.quality[..., None],
    )


# F-VLM


def test_fvlm_asks_the_tokens_inside_the_proposal(monkeypatch):
    pictures = box_bench().test_pictures[:1]
    model = dataclasses.replace(fitted("F-VLM"), rule="clip")
    box = torch.tensor([[[0.0, 0.0, 16.0, 16.0]]])
    found = look_into(pictures, box, torch.ones(1, 1))
    last = taps(clip())[-1]

    def asked(cells):
        hidden = pictures.hidden(last).clone()
        hidden[:, 1:][:, cells] += torch.randn(len(cells), hidden.shape[-1])
        with monkeypatch.context() as patch:
            patch.setattr(DensePictures, "hidden", lambda self, layer: hidden)
            return model.opinions(found, pictures[:], NAMES, SEEN)[0]

    before = model.opinions(found, pictures, NAMES, SEEN)[0]
    close(before, asked([2, 3, 6, 7, *range(8, 16)]), atol=1e-6)  # outside
    assert not torch.allclose(before, asked([0, 1, 4, 5]), atol=1e-4)


def test_boxes_of_equal_sum_are_other_boxes():
    pictures, model = box_bench().test_pictures[:1], fitted("F-VLM")
    boxes = torch.tensor([[[0.0, 0.0, 16.0, 16.0]], [[0.0, 8.0, 8.0, 16.0]]])
    a, b = (look_into(pictures, own[None], torch.ones(1, 1)) for own in boxes)
    assert a.boxes.sum() == b.boxes.sum()
    asked = model.asked(a, pictures), model.asked(b, pictures)
    assert not torch.allclose(*asked, atol=1e-3)
    assert model.asked(a, pictures) is asked[0]  # and the same boxes are asked once


def test_clip_looks_at_the_proposal_not_at_the_corrected_box():
    model, pictures = fitted("F-VLM"), box_bench().test_pictures
    other = dataclasses.replace(model, head=fvlm.fit(clip(), data(), 5, steps=2).head)
    found = shared_regions(model.proposer, pictures)
    assert not torch.allclose(model.places(found), other.places(found))
    a, b = (
        dataclasses.replace(m, rule="clip").opinions(found, pictures, NAMES, SEEN)[0]
        for m in (model, other)
    )
    assert torch.equal(a, b)


def test_training_asks_clip_nothing(monkeypatch):
    def never(*args):
        raise AssertionError("CLIP was asked")

    monkeypatch.setattr(fvlm, "asked_regions", never)
    fvlm.fit(clip(), data(), 3, steps=2)


def test_exponents_and_the_background_by_hand():
    p = torch.tensor([[0.2, 0.1, 0.7]])
    z = torch.tensor([[0.5, 0.4, 0.1]])
    seen = torch.tensor([True, False])
    model = dataclasses.replace(fitted("F-VLM"), alpha=0.35, beta=0.65)
    both = torch.tensor([0.2**0.65 * 0.5**0.35, 0.1**0.35 * 0.4**0.65])
    close(model.fused(p, z, seen)[0], both / (both.sum() + 0.7))
    swapped = z[:, [0, 1, 2]].clone()
    swapped[:, 2] = 0.9  # CLIP's background is thrown away
    close(model.fused(p, z, seen), model.fused(p, swapped, seen))
    with pytest.raises(ValueError, match="geometric"):
        dataclasses.replace(model, rule="harmonic").fused(p, z, seen)


# DetPro


def crops():
    """The lesson, and made-up views of it."""
    _, lesson = lesson_of(clip(), data())
    return lesson, unit(len(lesson), clip().embed_dim)


def prompt_gradient(lesson, embeds, background):
    contexts = detpro.Contexts(clip())
    rows = detpro.tier_of(lesson, (0.85, 1.01), len(BASE), background)
    labels = lesson.labels[rows]
    logits = 9 * embeds[rows] @ contexts.of_tier(BASE, 2).T
    loss = detpro.prompt_loss(logits, labels, detpro.rarity(labels, len(BASE)))
    return torch.autograd.grad(loss, contexts.vectors)[0]


def test_detpro_learns_from_a_crop_of_background_only_where_it_is_soft():
    lesson, embeds = crops()
    negative = ((lesson.overlap >= 0.1) & (lesson.overlap < 0.5)).nonzero()[:1, 0]
    assert len(negative)
    other = embeds.clone()
    other[negative] = -other[negative]
    for background, same in (("soft", False), ("none", True)):
        a, b = (prompt_gradient(lesson, E, background) for E in (embeds, other))
        assert torch.equal(a, b) is same


def test_background_is_drawn_to_equal_shares():
    logits = torch.tensor([[2.0, 0.0, 0.0], [0.0, 3.0, 0.0]], requires_grad=True)
    labels, weight = torch.tensor([3, 1]), torch.tensor([1.0, 2.0, 1.0, 4.0])
    loss = detpro.prompt_loss(logits, labels, weight)
    log_p = logits.detach().log_softmax(-1)
    close(loss.detach(), -(4 * log_p[0].mean() + 2 * log_p[1, 1]) / 6)
    even = torch.zeros(1, 3, requires_grad=True)
    detpro.prompt_loss(even, torch.tensor([3]), weight).backward()
    close(even.grad, torch.zeros(1, 3))


def test_rare_classes_and_half_of_the_background_weigh_more():
    labels = torch.tensor([0, 1, 1, 2, 2, 2, 2, 2])
    close(detpro.rarity(labels, 2), torch.tensor([8.0, 4.0, 0.8]))


def test_a_context_is_shared_by_all_names():
    contexts = detpro.Contexts(clip())
    a, b = contexts(["cat", "owl", "fox"]), contexts(["fox", "cat", "owl"])
    close(a[[2, 0, 1]], b, atol=1e-5)


def test_the_mean_of_texts_is_not_the_text_of_the_mean():
    contexts = detpro.Contexts(clip())
    with torch.no_grad():
        contexts.vectors += torch.randn(contexts.vectors.shape)
        mean = F.normalize(
            torch.stack([contexts.of_tier(["cat"], k) for k in range(3)]).mean(0),
            dim=-1,
        )
        close(contexts(["cat"]), mean)
        contexts.vectors[:] = contexts.vectors.mean(0)
        assert not torch.allclose(contexts(["cat"]), mean, atol=1e-4)


def test_the_detector_of_detpro_is_vild_with_other_words(monkeypatch):
    asked, fit = [], vild.fit

    def spy(*args, **settings):
        asked.append(settings)
        return fit(*args, **settings)

    monkeypatch.setattr(detpro.vild, "fit", spy)
    model = detpro.fit(clip(), data(), 0, prompt_steps=0, steps=2)
    (settings,) = asked
    assert set(settings) == {"weight", "kind", "words", "background", "steps"}
    hand = clip().encode_texts([f"a picture of a {n}" for n in NAMES])
    close(model.words(NAMES), hand, atol=1e-5)
    learned = fitted("DetPro").words(NAMES)
    assert not torch.allclose(learned, hand, atol=1e-5)


# OADP


def test_the_object_token_sees_its_box_and_nobody_sees_it():
    pixels = box_bench().test_pictures.pixel_values[:1]
    inside = torch.zeros(1, 16, dtype=torch.bool)
    inside[0, [5, 6]] = True
    states = box_teacher.object_states(clip(), pixels, inside)
    model = clip().model.vision_model
    own = model(pixels, output_hidden_states=True).last_hidden_state
    close(states[:, 1:], own, atol=1e-4)  # the others do not know of it
    moved = inside.clone()
    moved[0, 9] = True
    other = box_teacher.object_states(clip(), pixels, moved)
    close(states[:, 1:], other[:, 1:], atol=1e-6)
    assert not torch.allclose(states[:, 0], other[:, 0], atol=1e-4)


def test_a_patch_inside_the_box_moves_the_object():
    size, box = 32, torch.tensor([[12.0, 12.0, 20.0, 20.0]])
    square = box_teacher.roomy_squares(box, size)
    assert float((square[0, 2:] - square[0, :2]).prod()) == pytest.approx(512, rel=1e-4)
    pixels = box_bench().test_pictures.pixel_values[:1]
    row = torch.zeros(1, dtype=torch.long)
    before = box_teacher.object_embeds(clip(), pixels, row, box)
    changed = pixels.clone()
    changed[..., 13:19, 13:19] += 2.0
    after = box_teacher.object_embeds(clip(), changed, row, box)
    assert not torch.allclose(before, after, atol=1e-3)


def test_squares_stay_in_the_picture():
    corner = torch.tensor([[0.0, 0.0, 6.0, 3.0], [0.0, 0.0, 30.0, 30.0]])
    squares = box_teacher.roomy_squares(corner, 32)
    assert squares.min() >= 0 and squares.max() <= 32
    close(squares[0], torch.tensor([0.0, 0.0, 12.0, 12.0]))
    close(squares[1], torch.tensor([0.0, 0.0, 32.0, 32.0]))


def test_blocks_and_the_whole_teach_and_are_not_asked():
    model, pictures = fitted("OADP"), box_bench().test_pictures
    _, lesson = lesson_of(clip(), data())
    told = oadp.views(clip(), data(), lesson)
    whole = data().pictures.image_embeds
    close(told.blocks[:, 0], whole, atol=1e-4)
    texts = unit(len(BASE), clip().embed_dim)
    head = model.head.requires_grad_(True)
    loss = oadp.pyramid_loss(head, told.bins, told.blocks, told.present, texts)
    body, text = head.body[0].weight, head.vector.weight
    shared, other = torch.autograd.grad(loss, (body, text), allow_unused=True)
    head.requires_grad_(False)
    assert shared.abs().sum() > 0 and other is None
    before = model.detect(pictures, NAMES, SEEN)
    kept = {n: model.head.views[n].weight.clone() for n in ("block", "whole")}
    for view in kept:
        model.head.views[view].weight.data.normal_()
    after = model.detect(pictures, NAMES, SEEN)
    for view, weight in kept.items():
        model.head.views[view].weight.data.copy_(weight)
    for a, b in zip(before, after, strict=True):
        assert torch.equal(a["scores"], b["scores"])


def test_what_is_surely_absent_costs_nothing():
    logits = torch.tensor([-6.0, 0.0, 6.0])
    absent = [float(oadp.names_loss(x, torch.tensor(0.0))) for x in logits]
    assert absent[0] == 0 < absent[1] < absent[2]
    present = [float(oadp.names_loss(x, torch.tensor(1.0))) for x in logits]
    assert present[0] > present[1] > present[2] > 0


def test_present_are_the_base_names_in_a_block():
    _, lesson = lesson_of(clip(), data())
    told, d = oadp.views(clip(), data(), lesson), data()
    for k, names in enumerate(d.labels):
        assert told.present[k, 0].nonzero()[:, 0].tolist() == sorted(
            set(names.tolist())
        )
    assert (told.present[:, 1:].amax(1) <= told.present[:, 0]).all()


# BARON


def sentence(bins, places):
    speaker = fitted("BARON").head
    words = speaker.sentence(bins, places)
    spoken = torch.ones(words.shape[:2], dtype=torch.bool)
    with torch.no_grad():
        return pseudo_words.read(clip(), words, spoken)[0]


def test_a_bag_is_a_sentence_and_no_mean():
    _, lesson = lesson_of(clip(), data())
    bins, speaker = lesson.bins[:2][None], fitted("BARON").head
    places = torch.tensor([[[0.0, 0, 0.5, 1], [0.5, 0, 1, 1]]])
    said = sentence(bins, places)
    alone = torch.cat(
        [sentence(bins[:, k : k + 1], places[:, k : k + 1]) for k in (0, 1)]
    )
    mean = F.normalize(alone.mean(0, keepdim=True), dim=-1)
    assert not torch.allclose(said, mean, atol=1e-3)
    assert not torch.allclose(said, sentence(bins, places.flip(1)), atol=1e-5)
    assert speaker.words(bins).shape == (1, 2, baron.WORDS, 24)


def test_words_that_are_words_read_as_words():
    table = clip().model.text_model.embeddings.token_embedding.weight.detach()
    ids = clip().tokenize(["red dog"])["input_ids"][0, 1:-1]
    words = table[ids][None]
    texts, state = pseudo_words.read(clip(), words, torch.ones(1, 2).bool())
    close(texts, clip().encode_texts(["red dog"]))
    norm, project = (
        clip().model.text_model.final_layer_norm,
        clip().model.text_projection,
    )
    with pseudo_words.before_last_norm(clip()) as seen:
        clip().encode_texts(["red dog"])
    raw = seen[0][0, -1]
    close(F.normalize(raw, dim=0), state[0])
    close(F.normalize(project(norm(raw)), dim=0).detach(), texts[0], atol=1e-5)
    silent = pseudo_words.read(clip(), words, torch.tensor([[True, False]]))[0]
    assert not torch.allclose(silent, texts, atol=1e-3)


def test_names_are_read_as_regions_are():
    states = pseudo_words.name_states(clip(), ["cat", "red dog"])
    assert states.shape == (2, 24)
    close(states.norm(dim=-1), torch.ones(2))
    again = pseudo_words.name_states(clip(), ["red dog"])
    assert torch.equal(states[1:], again)


def test_the_teacher_of_a_bag_sees_what_is_between_its_boxes():
    pictures = box_bench().test_pictures
    around = torch.tensor([[0.0, 0.0, 30.0, 10.0]])  # of boxes at its two ends
    row = torch.zeros(1, dtype=torch.long)
    changed = pictures.pixel_values.clone()
    changed[0, :, 2:8, 12:18] += 3.0
    a, b = (
        bags.crop_embeds(clip(), pixels, row, around, margins=(1.0,))
        for pixels in (pictures.pixel_values, changed)
    )
    assert not torch.allclose(a, b, atol=1e-3)


def test_neighbours_lie_in_the_picture_beside_their_box():
    box, rng = torch.tensor([10.0, 10.0, 18.0, 18.0]), torch.Generator().manual_seed(0)
    sizes = set()
    for _ in range(40):
        found = bags.neighbors(box, 32, rng, 4)
        sizes.add(len(found))
        assert torch.equal(found[0], box) and len(found) <= 4
        assert found.min() >= 0 and found.max() <= 32
        for near in found[1:]:
            step = ((near - box)[:2] / 8).abs()
            assert float(step.max()) == pytest.approx(bags.APART)
    assert len(sizes) > 2
    slim = torch.tensor([14.0, 2.0, 18.0, 30.0])
    beside = [bags.neighbors(slim, 32, rng, 4) for _ in range(40)]
    assert not any((b[1:, 1] != 2).any() for b in beside)  # none above or below
    assert bags.neighbors(box, 32, rng, 1).shape == (1, 4)


def test_bags_enclose_their_boxes():
    _, lesson = lesson_of(clip(), data())
    made, seconds = bags.make_bags(clip(), data().pictures, lesson, 4, 0)
    assert seconds >= 0 and len(made) >= int(lesson.true.sum())
    places = made.places[made.there]
    assert places.min() >= -1e-5 and places.max() <= 1 + 1e-5
    assert bags.make_bags(clip(), data().pictures, lesson, 4, 0)[0] is made


def test_other_bags_of_the_picture_do_not_count():
    ours, queue = unit(1, 6), unit(3, 6, seed=1)
    own, same = torch.tensor([0]), torch.tensor([[True, True, False]])
    other = queue.clone()
    other[1] = -other[1]
    a, b = (baron.contrast(ours, q, own, same, 5.0) for q in (queue, other))
    assert torch.equal(a, b)
    other[2] = -other[2]
    assert baron.contrast(ours, other, own, same, 5.0) != a


# HierKD


def cells_of(name="HierKD"):
    """Vectors of two pictures that want a gradient, their cells and targets."""
    net, d = fitted(name).net, data(name)
    with torch.no_grad():
        cells, vectors = net(d.pictures[:2])
    targets = hierkd.true_targets(net, d)[torch.arange(2)]
    there = targets.middle >= 0
    goals = targets.boxes.gather(
        1, targets.middle.clamp(min=0)[..., None].expand(-1, -1, 4)
    )
    boxes = torch.where(there[..., None], goals, cells.boxes)  # they all fit
    cells = Cells(boxes, cells.quality, cells.states)
    return vectors.requires_grad_(True), cells, targets, there


def test_what_is_gathered_depends_on_the_sentence():
    vectors = torch.randn(2, 64, 16)
    a, b = unit(2, 16), unit(2, 16, seed=1)
    both = torch.stack([a[0], b[1]])
    first, second = hierkd.gathered(vectors, a), hierkd.gathered(vectors, both)
    assert first.shape == (2, 2, 16)
    assert torch.equal(first[:, 0], second[:, 0])
    assert not torch.allclose(first[:, 1], second[:, 1], atol=1e-4)
    places = F.adaptive_max_pool2d(vectors.transpose(1, 2).unflatten(2, (8, 8)), 4)
    places = F.normalize(places.flatten(2).transpose(1, 2), dim=-1)
    weights = (places[0] @ a[0]).softmax(0)
    close(first[0, 0], F.normalize(weights @ places[0], dim=0))


def test_sentences_reach_what_nobody_boxed():
    vectors, cells, targets, there = cells_of()
    hierkd.global_loss(vectors, unit(2, 16)).backward()
    assert vectors.grad[~there].abs().sum() > 0
    vectors.grad = None
    teacher = unit(sum(map(len, data("HierKD").boxes)), 16)
    hierkd.instance_loss(cells, vectors, targets, teacher).backward()
    assert vectors.grad[there].abs().sum() > 0
    assert vectors.grad[~there].abs().sum() == 0


def test_instances_do_not_know_of_the_background():
    vectors, cells, targets, there = cells_of()
    teacher = unit(sum(map(len, data("HierKD").boxes)), 16)
    before = hierkd.instance_loss(cells, vectors, targets, teacher)
    changed = torch.where(there[..., None], vectors, torch.randn(vectors.shape))
    assert torch.equal(before, hierkd.instance_loss(cells, changed, targets, teacher))
    away = Cells(cells.boxes + 999, cells.quality, cells.states)
    assert hierkd.instance_loss(away, vectors, targets, teacher) == 0  # none fits


def test_quality_multiplies_hierkds_probability():
    model, vectors = fitted("HierKD"), torch.randn(1, 3, 16)
    half, full = (
        model.opinions(vectors, torch.full((1, 3), q), NAMES, SEEN)[0]
        for q in (0.5, 1.0)
    )
    close(2 * half, full)


# ZSD-YOLO


def test_self_labels_overlap_no_truth_and_are_the_surer_ones():
    _, lesson = lesson_of(clip(), data())
    rows = zsd_yolo.self_labels(lesson)
    assert len(rows) and (lesson.overlap[rows] < 0.2).all()
    assert not lesson.true[rows].any()
    every = zsd_yolo.self_labels(lesson, least=1.0)
    assert {*rows.tolist()} < {*every.tolist()}


def test_a_box_without_a_name_changes_the_image_loss_alone():
    vectors = torch.randn(1, 3, 16)
    teacher, texts = unit(2, 16), unit(3, 16, seed=1)

    def targets(middle):
        number = torch.tensor([middle])
        boxes, labels = torch.zeros(1, 2, 4), torch.tensor([[1, 0]])
        return Targets(boxes, labels, number, number, torch.tensor([[0, 1]]))

    true, more = targets([0, -1, -1]), targets([0, 1, -1])
    a, b = (zsd_yolo.image_loss(vectors, t, teacher) for t in (true, more))
    assert a != b
    text = zsd_yolo.text_loss(vectors, true, texts, 5.0)
    logits = 5 * F.normalize(vectors[0, 0], dim=0) @ texts.T
    close(text, F.cross_entropy(logits[None], torch.tensor([1])))


def test_raw_vectors_are_taught_their_length():
    vectors = unit(1, 1, 16)
    teacher = vectors[0]
    one = torch.zeros(1, 1, dtype=torch.long)
    target = Targets(torch.zeros(1, 1, 4), one, one, one, one)
    assert zsd_yolo.image_loss(vectors, target, teacher) == 0
    assert zsd_yolo.image_loss(2 * vectors, target, teacher) > 0.5
    texts = unit(3, 16, seed=1)
    a, b = (zsd_yolo.text_loss(k * vectors, target, texts, 5.0) for k in (1, 2))
    close(a, b)


def test_objectness_gates_and_does_not_rank():
    passing = torch.tensor([0.1, 0.3, 0.7])
    model = dataclasses.replace(fitted("ZSD-YOLO"), gate=0.0, passing=passing)
    similarity = torch.tensor([[[0.9, 0.1], [0.5, 0.2], [0.7, 0.6]]])
    quality = torch.tensor([[0.2, 0.8, 0.4]])
    a, b = (model.ranked(similarity, q) for q in (quality, 2 * quality))
    assert torch.equal(a, b)  # below the gate's reach
    product = dataclasses.replace(model, rank="product").ranked(similarity, quality)
    assert product.amax(-1).argmax() != a.amax(-1).argmax()
    strict = dataclasses.replace(model, gate=0.5).ranked(similarity, quality)
    assert (strict.amax(-1) > 0).tolist() == [[False, True, True]]
    with pytest.raises(ValueError, match="similarity"):
        dataclasses.replace(model, rank="no").ranked(similarity, quality)
