"""Methods that change the detector are what they say: identity tests."""

from __future__ import annotations

import copy
import dataclasses
import functools
import json

import pytest
import torch
import torch.nn.functional as F
from distill_tiny import box_bench, check_detector
from transfer_tiny import clip, close, tiny_clip, unit

from vlmtutor.distill.detection import (
    condhead,
    fvlm,
    ov_detr,
    owl_vit,
    rkd,
    ro_vit,
    vild,
)
from vlmtutor.distill.parts import box_sets, locate, questions, token_head
from vlmtutor.distill.parts.box_regions import lesson_of, shared_regions
from vlmtutor.distill.parts.box_teacher import taught
from vlmtutor.distill.parts.boxes import giou
from vlmtutor.distill.pictures import once
from vlmtutor.distill.supervision import Boxed, Tagged
from vlmtutor.experiments import detection
from vlmtutor.experiments.predictions import BOX_PREDICTIONS
from vlmtutor.naming import TEMPLATES
from vlmtutor.pretrain.cli import parse_config

NAMES, BASE, SEEN = box_bench().names, box_bench().base, box_bench().seen
METHODS = {
    "OWL-ViT": (owl_vit, Boxed, {"steps": 2}),
    "OV-DETR": (ov_detr, Boxed, {"steps": 2}),
    "CondHead": (condhead, Boxed, {"steps": 2}),
    "RKD": (rkd, (Boxed, Tagged), {"steps": 2}),
    "RO-ViT": (ro_vit, Boxed, {"steps": 2}),
}
ENCODERS = {"whole": 1, "cropped": 2, "focal": 3}  # and the seeds of tiny ones


@pytest.fixture(autouse=True)
def encoders(monkeypatch):
    """Tiny encoders in place of those that a command trains."""
    monkeypatch.setattr(ro_vit, "open_encoder", tiny_encoder)


@functools.cache
def tiny_encoder(name):
    return tiny_clip(ENCODERS[name])


def data(name="CondHead"):
    return box_bench().data(METHODS[name][1])


@functools.cache
def fitted(name, **settings):
    module, _, own = METHODS[name]
    return module.fit(clip(), data(name), 0, **own | settings)


def lesson():
    return lesson_of(clip(), data())[1]


def regions():
    return shared_regions(box_bench().proposer()[0], box_bench().test_pictures)


@pytest.mark.parametrize("name", METHODS)
def test_clip_stays_and_boxes_have_any_names(name):
    check_detector(lambda: fitted(name), least=1)


@pytest.mark.parametrize("name", ["OWL-ViT", "OV-DETR", "CondHead"])
def test_no_novel_word_is_read_in_training(name, monkeypatch):
    spoken, tokenize = [], clip().tokenize
    monkeypatch.setattr(
        clip(), "tokenize", lambda texts: spoken.extend(texts) or tokenize(texts)
    )
    once(clip(), ("names", *TEMPLATES), dict).clear()  # what was read before
    module, _, own = METHODS[name]
    module.fit(clip(), data(name), 0, **own)
    assert any("lion" in text for text in spoken)
    assert not [t for t in spoken if {*box_bench().novel} & {*t.split()}]


@pytest.mark.parametrize("name", METHODS)
def test_rows_and_checks_are_those_that_were_foretold(name, monkeypatch):
    module = METHODS[name][0]
    monkeypatch.setattr(detection, "open_bench", lambda *args, **kw: box_bench())
    monkeypatch.setattr(module, "fit", functools.partial(module.fit, steps=2))
    monkeypatch.setattr(condhead, "FOUND", 0.0)  # whatever lies nearest
    found = detection.method(name, 0, "tiny", {})
    assert [c["name"] for c in found["checks"]] == [
        p["check"] for p in BOX_PREDICTIONS if p["method"] == name
    ]
    assert all(bool(c["budget"]) is (name == "RO-ViT") for c in found["checks"])
    for row, info in zip(found["rows"], module.ROWS, strict=True):
        assert (row["row"], row["table"]) == (info.name, info.table)
        assert (row["table"] == "list") is (name == "RKD" or bool(info.told))
        kinds = {"own", "common", "noisy", "oracles"}
        assert set(row["scores"]) - {"fates"} == kinds
        crops = name in ("OV-DETR", "CondHead", "RKD")
        assert ("teacher_s" in row) is crops
    json.dumps(found, allow_nan=False)


# Sets of boxes


def two_boxes():
    boxes = torch.tensor([[[0.0, 0, 8, 8], [8, 8, 24, 24], [1, 1, 9, 9]]])
    truth = box_sets.truth_of([boxes[0, [1]]], [torch.tensor([1])])
    return boxes, truth


def test_a_true_box_takes_the_one_that_fits_and_has_its_name():
    boxes, truth = two_boxes()
    logits = torch.zeros(1, 3, 2)
    prices = box_sets.Prices()
    pairs = box_sets.set_loss(logits, boxes, truth, 32, prices)[1]
    assert [int(x) for x in pairs] == [0, 1, 0]
    logits[0, 2, 1] = 90.0  # sure of the name, and far away
    prices = box_sets.Prices(name=100.0)
    assert int(box_sets.set_loss(logits, boxes, truth, 32, prices)[1][1]) == 2


def test_what_a_set_pays_by_hand():
    boxes, truth = two_boxes()
    logits = torch.tensor([[[0.3, -1.0], [0.2, 0.7], [-0.4, 0.0]]])
    prices = box_sets.Prices(name=2.0, near=3.0, fit=5.0, alpha=0.3)
    (paid,), _ = box_sets.set_loss(logits, boxes + 0.5, truth, 32, prices)
    p, wanted = logits.sigmoid(), torch.zeros(1, 3, 2)
    wanted[0, 1, 1] = 1
    right = torch.where(wanted > 0, p, 1 - p)
    side = torch.where(wanted > 0, 0.3, 0.7)
    named = (-side * (1 - right) ** 2 * right.log()).sum()
    away = 2 * 0.5 / 32  # both middles; the sides are right
    fit = 1 - giou(truth.boxes[0, 0], truth.boxes[0, 0] + 0.5)
    close(paid, 2 * named + 3 * away + 5 * fit)


def test_names_that_are_not_asked_cost_nothing():
    boxes, truth = two_boxes()
    logits = torch.randn(1, 3, 2, requires_grad=True)
    asked = torch.tensor([[False, True]])
    box_sets.set_loss(logits, boxes, truth, 32, box_sets.Prices(), asked)[
        0
    ].sum().backward()
    assert logits.grad[..., 0].abs().sum() == 0 < logits.grad[..., 1].abs().sum()


def test_a_mirrored_truth_is_that_of_mirrored_pictures():
    truth = box_sets.truth_of([torch.tensor([[2.0, 1, 10, 5]])], [torch.tensor([0])])
    close(truth.mirrored(32).boxes, torch.tensor([[[22.0, 1, 30, 5]]]))
    close(truth.mirrored(32).mirrored(32).boxes, truth.boxes)


def test_the_first_of_each_novel_kind_is_the_example():
    labels = torch.tensor([0, 4, 3, 4, 1, 3, 4])
    first, rows, own = box_sets.examples(labels, 3)
    assert first.tolist() == [2, 1] and rows.tolist() == [3, 5, 6]
    assert own.tolist() == [1, 0, 1]


# OWL-ViT


def test_without_its_place_a_token_draws_the_box_of_its_twin():
    x = torch.randn(1, 16, clip().model.config.vision_config.hidden_size)
    x[0, 9] = x[0, 2]
    with_bias, without = (token_head.TokenHead(clip(), bias=b) for b in (True, False))
    same, apart = without.boxes(x)[0], with_bias.boxes(x)[0]
    close(same[9], same[2])
    assert (apart[9] - apart[2]).abs().max() > 4
    assert not torch.allclose(same[9], same[3], atol=1e-3)


def test_a_box_begins_where_its_token_lies():
    head = token_head.TokenHead(clip())
    for p in head.box[-1].parameters():
        torch.nn.init.zeros_(p)
    found = head.boxes(torch.randn(1, 16, head.norm.weight.numel()))[0]
    close(found[0], torch.tensor([0.0, 0, 8, 8]), atol=1e-3)
    close(found[7], torch.tensor([24.0, 8, 32, 16]), atol=1e-3)


def test_the_text_encoder_learns_a_25th_as_fast():
    def moved(model, modules):
        (own, old) = (owl_vit.tower_parts(m)[modules] for m in (model.clip, clip()))
        pairs = [
            (a - b).abs().flatten().detach()
            for x, y in zip(own, old, strict=True)
            for a, b in zip(x.parameters(), y.parameters(), strict=True)
        ]
        return float(torch.cat(pairs).quantile(0.9))

    model = fitted("OWL-ViT")
    assert 0 < moved(model, 1) < moved(model, 0) / 15
    assert moved(model, 1) > moved(model, 0) / 40
    fast = fitted("OWL-ViT", slow=1.0)
    assert moved(fast, 1) > moved(fast, 0) / 3
    still = fitted("OWL-ViT", slow=0.0)
    assert moved(still, 1) == 0 < moved(still, 0)


def test_another_query_leaves_the_others_logits():
    model, pictures = fitted("OWL-ViT"), box_bench().test_pictures
    said, texts = model.said(pictures), unit(4, clip().embed_dim)
    few, many = (owl_vit.name_logits(said, t) for t in (texts[:3], texts))
    close(few, many[..., :3])


def test_vectors_start_as_clips_own_or_from_chance():
    pictures = box_bench().test_pictures
    own = pictures.patch_tokens
    for near, same in ((True, True), (False, False)):
        head = token_head.TokenHead(clip(), near=near)
        with torch.no_grad():
            vectors = owl_vit.look(clip(), head, pictures)[1]
        assert torch.allclose(vectors, own, atol=1e-2) is same  # states are fp16


def test_a_picture_is_asked_for_what_it_has_and_for_some_it_has_not():
    present = torch.zeros(5, 12, dtype=torch.bool)
    present[:, [2, 7]] = True
    rng = torch.Generator().manual_seed(0)
    asked = owl_vit.asked_names(present, rng, most=6)
    assert (asked.sum(1) == 6).all() and asked[:, [2, 7]].all()
    assert len({tuple(row) for row in asked.tolist()}) > 1
    assert owl_vit.asked_names(present, rng, most=1)[:, [2, 7]].all()


def test_owl_tells_an_example_from_chance():
    right, luck = owl_vit.shown_by_example(box_bench(), fitted("OWL-ViT"))
    assert len(right) == len(luck) > 0 and set(right.tolist()) <= {0.0, 1.0}
    assert set(luck.tolist()) == {0.5}  # two novel names


# OV-DETR


def replies(asked):
    """Of an untrained net to questions [R, width] about two test pictures."""
    net, pictures, found = ov_net(), box_bench().test_pictures[:2], regions()
    with torch.no_grad():
        return net(pictures, found.boxes[:2], found.bins[:2], asked.expand(2, -1, -1))


@functools.cache
def ov_net():
    net = ov_detr.Asked(clip(), regions().bins.shape[-1], width=32)
    torch.nn.init.normal_(net.shift.weight)
    return net


def test_a_copy_answers_its_own_question_alone():
    asked = torch.randn(3, 32)
    other = asked.clone()
    other[1] = torch.randn(32)
    a, b = replies(asked), replies(other)
    for x, y in zip(vars(a).values(), vars(b).values(), strict=True):
        close(x[:, [0, 2]], y[:, [0, 2]])
        assert not torch.allclose(x[:, 1], y[:, 1], atol=1e-3)


def test_copies_are_one_sequence_with_a_mask_of_blocks():
    net, found = ov_net(), regions()
    pictures, asked = box_bench().test_pictures[:1], torch.randn(1, 3, 32)
    boxes, bins = found.boxes[:1], found.bins[:1]
    with torch.no_grad():
        memory = net.memory(pictures)
        own = net.states(memory, boxes, bins, asked)
        K = boxes.shape[1]
        blocks = torch.block_diag(*[torch.ones(K, K)] * 3) == 0

        def one_sequence(mask):
            x = (net.bins(bins.float())[:, None] + asked[:, :, None]).flatten(1, 2)
            places = net.place(ov_detr_waves(boxes)).repeat(1, 3, 1)
            for decoder in net.decoders:
                a, b, c = decoder.norms
                x = x + decoder.look(a(x) + places, memory, memory)[0]
                y = b(x) + places
                x = x + decoder.talk(y, y, b(x), attn_mask=mask)[0]
                x = x + decoder.think(c(x))
            return net.norm(x).unflatten(1, (3, K))

        close(own, one_sequence(blocks))
        assert not torch.allclose(own, one_sequence(None), atol=1e-3)


def ov_detr_waves(boxes):
    from vlmtutor.distill.parts.queries import waves

    return waves(boxes, clip().image_size)


@functools.cache
def asking(listed=False):
    embeds = taught(clip(), data().pictures, lesson())[0]
    texts = unit(len(NAMES) if listed else len(BASE), clip().embed_dim)
    return questions.questions_of(lesson(), embeds, texts, len(BASE), listed)


def test_what_is_absent_has_no_true_box():
    some, d = asking(), data()
    rng = torch.Generator().manual_seed(0)
    for k in range(len(d)):
        present = {*d.labels[k].tolist()}
        seen = set()
        for name, rows in some.chosen(k, 12, rng):
            seen.add(name)
            if name == questions.UNNAMED:
                assert len(rows) == 1 and lesson().overlap[rows] < questions.APART
            elif name in present:
                assert (lesson().labels[rows] == name).all() and len(rows)
            else:
                assert not len(rows)
        assert present <= seen
    asked = some.ask(torch.arange(4), 6, rng)
    logits = torch.randn(24, 5, 1, requires_grad=True)
    boxes = torch.rand(24, 5, 4)
    paid, pairs = box_sets.set_loss(
        logits, boxes, asked.truth, 32, box_sets.Prices(near=0, fit=0)
    )
    absent = ~asked.truth.there.any(1)
    assert absent.any() and not absent[pairs[0]].any()
    paid[absent].sum().backward()
    assert (logits.grad[absent] > 0).all()  # all of them are to say no


def test_boxes_without_a_name_are_asked_for_by_their_crop_alone():
    some, rng = asking(), torch.Generator().manual_seed(0)
    rows = questions.unnamed_rows(lesson())
    assert len(rows) and not lesson().true[rows].any()
    for row in rows[:8]:
        for _ in range(4):
            vector, crop = some.said(questions.UNNAMED, row[None], rng)
            assert crop and torch.equal(vector, some.embeds[row])
    kinds = {some.said(0, torch.zeros(0), rng)[1] for _ in range(30)}
    assert kinds == {True, False}  # a name is asked for in both ways


def test_as_released_boxes_are_filed_under_novel_names():
    plain, listed = asking(), asking(listed=True)
    named = {name for own in listed.groups for name, _ in own}
    assert questions.UNNAMED in {n for own in plain.groups for n, _ in own}
    assert questions.UNNAMED not in named and named - {*range(len(BASE))}
    for own in listed.groups:
        for name, rows in own:
            if name >= len(BASE):
                called = (listed.embeds[rows] @ listed.texts.T).argmax(1)
                assert (called == name).all() and not lesson().true[rows].any()
    assert ov_detr.LISTED.table == "list" and ov_detr.INFO.table == "boxes"
    assert fitted("OV-DETR", names=tuple(NAMES)).trained == fitted("OV-DETR").trained


def test_a_matched_query_says_again_what_it_was_asked():
    vectors, asked = unit(2, 3, 16), unit(2, 16, seed=1)
    pairs = torch.tensor([0, 1]), torch.tensor([2, 0]), torch.tensor([0, 0])
    ours = vectors[[0, 1], [2, 0]]
    close(ov_detr.again_loss(5 * vectors, asked, pairs), (ours - asked).square().sum())
    vectors[0, 2], vectors[1, 0] = asked
    assert ov_detr.again_loss(vectors, asked, pairs) < 1e-10


def test_a_closed_decoder_is_asked_nothing():
    model, pictures = fitted("OV-DETR", closed=True), box_bench().test_pictures
    assert torch.equal(
        model.questions(unit(3, 16)), model.questions(unit(3, 16, seed=1))
    )
    for one in model.detect(pictures, NAMES, SEEN):
        assert len(one["scores"])
    open_ = fitted("OV-DETR")
    assert not torch.equal(*(open_.questions(unit(3, 16, seed=k)) for k in (0, 1)))


def test_questions_tell_an_example_from_chance():
    right, luck = ov_detr.shown_by_example(box_bench(), fitted("OV-DETR"))
    assert len(right) == len(luck) > 0 and set(luck.tolist()) == {0.5}


# CondHead


def named_shifts(experts=4, share=0.6, **more):
    net = condhead.NamedShifts(12, 16, experts, share, **more)
    for p in (net.last, net.middle, net.end, net.write.weight):
        torch.nn.init.normal_(p)
    net.mix.weight.data.normal_()
    return net.requires_grad_(False)


def test_another_name_moves_the_box_of_the_same_region():
    states, texts = torch.randn(5, 12), unit(3, 16)
    found = named_shifts()(states, texts)
    assert found.shape == (5, 3, 4)
    assert (found[:, 0] - found[:, 1]).abs().min() > 1e-5
    same = named_shifts(experts=1, share=1.0)(states, texts)
    close(same, same[:, :1].expand_as(same))
    written = named_shifts(experts=1, share=0.6)(states, texts)
    assert not torch.allclose(written[:, 0], written[:, 1], atol=1e-5)


def test_weights_are_mixed_and_not_what_they_say():
    net, states, texts = named_shifts(share=1.0), torch.randn(5, 12), unit(2, 16)
    shares, own = net.shares(texts), net(states, texts)
    mixed = torch.einsum("ch,hfk->cfk", shares, net.first)
    inner = F.gelu(states @ mixed[0] + shares[0] @ net.middle)
    last = torch.einsum("h,hkj->kj", shares[0], net.last)
    close(own[:, 0], inner @ last + shares[0] @ net.end)
    each = [
        F.gelu(states @ net.first[h] + net.middle[h]) @ net.last[h] + net.end[h]
        for h in range(4)
    ]
    outputs = torch.einsum("h,hrj->rj", shares[0], torch.stack(each))
    assert not torch.allclose(own[:, 0], outputs, atol=1e-3)


def test_shares_are_even_while_it_is_hot():
    net, texts = named_shifts(), unit(3, 16)
    spread = {}
    for heat in (condhead.HOT, condhead.COLD):
        net.heat = heat
        close(net.shares(texts).sum(1), torch.ones(3))
        spread[heat] = float(net.shares(texts).std(1).mean())
    assert spread[condhead.COLD] > 5 * spread[condhead.HOT]
    assert fitted("CondHead").shifts.heat == condhead.COLD


def test_the_nearest_names_head_is_asked_alone():
    known = unit(3, 16)
    net = named_shifts(share=1.0, known=known)
    texts = F.normalize(known[[2, 0]] + 0.1 * unit(2, 16, seed=1), dim=-1)
    assert net.shares(texts).argmax(1).tolist() == [2, 0]
    states = torch.randn(5, 12)
    close(net(states, texts), net(states, known)[:, [2, 0]])
    with pytest.raises(ValueError, match="nearest"):
        condhead.fit(clip(), data(), 0, heads="farthest")


def test_scores_are_the_hosts():
    model, found = fitted("CondHead"), regions()
    host = vild.fit(clip(), data(), 0, weight=1.0, steps=2)
    pictures = box_bench().test_pictures
    for a, b in zip(
        model.opinions(found, pictures, NAMES, SEEN),
        host.opinions(found, pictures, NAMES, SEEN),
        strict=True,
    ):
        close(a, b)
    other = fitted("CondHead", experts=1, share=1.0)
    boxes = model.places_for(found, NAMES)
    assert boxes.shape == (*found.quality.shape, len(NAMES), 4)
    assert not torch.allclose(boxes, other.places_for(found, NAMES), atol=1e-3)


def test_before_training_no_name_moves_a_box():
    found = regions()
    for settings in ({}, {"experts": 1, "share": 1.0}, {"heads": "nearest"}):
        boxes = fitted("CondHead", steps=0, **settings).places_for(found, NAMES)
        close(boxes, found.boxes[:, :, None].expand_as(boxes), atol=1e-4)


def test_overlaps_are_of_the_same_things_for_all_heads():
    bench, found = box_bench(), regions()
    own = condhead.overlaps(bench, fitted("CondHead"))
    other = condhead.overlaps(bench, fitted("CondHead"), wrong=1)
    assert own.shape == other.shape and (own >= 0).all() and (own <= 1).all()
    assert found.boxes.shape[0] == len(bench.test_pictures)


# RKD


def test_weights_are_written_from_weights():
    net, states = rkd.Written(12, 16).requires_grad_(False), torch.randn(5, 12)
    weight = torch.randn(16, 12)
    assert not torch.allclose(net(weight, states), net(weight + 1, states), atol=1e-3)
    model = fitted("RKD")
    found = regions()
    before = model.vectors(found.bins)[0]
    other = dataclasses.replace(model, head=copy.deepcopy(model.head))
    other.head.vector.weight.data += 1
    assert not torch.allclose(before, other.vectors(found.bins)[0], atol=1e-4)
    plain = fitted("RKD", transfer=False)
    assert plain.written is None
    assert torch.equal(*plain.vectors(found.bins))  # one projection for both


def test_the_first_projection_stays_and_goes_on_teaching_the_trunk():
    first = fitted("RKD", labels=False, transfer=False)
    model, boxed = fitted("RKD"), data("RKD")[0]
    key = "first stage", 0, "oln", True, 2
    start = once(boxed.pictures, key, lambda: pytest.fail("no first stage"))
    assert torch.equal(model.head.vector.weight, start.head.vector.weight)
    assert not torch.equal(first.head.vector.weight, start.head.vector.weight)
    body = model.head.body[0].weight
    assert not torch.equal(body, start.head.body[0].weight)
    head = model.head.body.requires_grad_(True)
    _, taught_by = model.vectors(lesson().bins[:6])
    rkd.distil(taught_by, unit(6, 16)).backward()
    assert head[0].weight.grad.abs().sum() > 0
    assert model.head.vector.weight.grad is None
    head.requires_grad_(False)


def test_relations_are_distilled_beside_the_points():
    theirs = unit(6, 16)
    turn = torch.linalg.qr(torch.randn(16, 16))[0]
    assert rkd.relation_loss(theirs @ turn, theirs) < 1e-9  # turned together
    assert rkd.distil(theirs @ turn, theirs) > 1
    other = theirs.clone()
    other[0] = -other[0]
    assert rkd.relation_loss(other, theirs) > 1e-3
    rows = (theirs @ theirs.T).abs().sum(1)
    gram = theirs @ theirs.T / rows[:, None]
    flipped = other @ other.T / (other @ other.T).abs().sum(1)[:, None]
    close(rkd.relation_loss(other, theirs), (gram - flipped).square().sum())


def test_a_larger_box_does_not_take_a_label():
    cam = torch.zeros(1, 16)
    cam[0, 5] = 1.0
    small, large = [8.0, 8, 16, 16], [0.0, 0, 32, 32]
    far = [16.0, 16, 24, 24]
    boxes = torch.tensor([[far, small, far]])
    there = torch.ones(1, 3)
    assert locate.located(cam, boxes, there, 32).tolist() == [1]
    boxes = torch.tensor([[far, small, large]])
    assert locate.located(cam, boxes, there, 32).tolist() == [1]
    there[0, 1] = 0  # a repetition
    assert locate.located(cam, boxes, there, 32).tolist() == [2]


def test_labels_have_a_box_each_and_its_words():
    found, seconds = locate.labelled(clip(), data("RKD")[1], box_bench().proposer()[0])
    bins, labels = found
    assert seconds >= 0
    tags = data("RKD")[1].tags
    assert len(bins) == len(labels) == int(tags.sum())
    assert labels.tolist() == tags.nonzero()[:, 1].tolist()


# RO-ViT


def test_an_encoder_of_its_own_looks_into_the_shared_boxes():
    model, found = fitted("RO-ViT"), regions()
    own = model.regions(box_bench().test_pictures)
    assert torch.equal(own.boxes, found.boxes)
    assert torch.equal(own.quality, found.quality)
    assert not torch.allclose(own.bins.float(), found.bins.float(), atol=1e-2)
    again = ro_vit.lesson_by(clip(), data().pictures, lesson())
    close(again.bins.float(), lesson().bins.float(), atol=1e-2)
    close(again.pooled, lesson().pooled, atol=1e-4)
    other = ro_vit.lesson_by(tiny_encoder("focal"), data().pictures, lesson())
    assert not torch.allclose(other.pooled, lesson().pooled, atol=1e-2)
    assert torch.equal(other.labels, lesson().labels)


def test_another_encoder_has_another_opinion():
    pictures = box_bench().test_pictures
    said = []
    for name in ENCODERS:
        model = dataclasses.replace(fitted("RO-ViT", encoder=name), rule="clip")
        found = model.regions(pictures)
        said.append(model.opinions(found, pictures, NAMES, SEEN)[0])
        assert model.clip is tiny_encoder(name)
    assert not torch.allclose(said[0], said[1], atol=1e-4)
    assert not torch.allclose(said[1], said[2], atol=1e-4)


def test_a_power_of_the_quality_multiplies_fvlms_scores():
    model, pictures = fitted("RO-ViT"), box_bench().test_pictures
    found, own = model.regions(pictures), ro_vit.seen_by(model.clip, pictures)
    fields = {f.name: getattr(model, f.name) for f in dataclasses.fields(fvlm.FVLM)}
    plain = fvlm.FVLM(**fields).opinions(found, own, NAMES, SEEN)[0]
    for power in (0.0, 0.5):
        other = dataclasses.replace(model, power=power)
        scores, belief = other.opinions(found, pictures, NAMES, SEEN)
        close(scores, plain * found.quality[..., None] ** power)
    close(belief.sum(-1), torch.ones(found.quality.shape))


def test_a_missing_encoder_tells_its_command(monkeypatch, tmp_path):
    monkeypatch.undo()
    monkeypatch.setattr(ro_vit, "FOLDER", tmp_path)
    for name, knobs in ro_vit.KNOBS.items():
        with pytest.raises(FileNotFoundError, match="--warm-start") as error:
            ro_vit.open_encoder(name)
        assert all(f"--set {knob}" in str(error.value) for knob in knobs)
        config = parse_config([*ro_vit.SHARED, *knobs], "phraseclip")
        assert config.steps * config.batch_size == 10_240
        assert (config.positions, config.focus > 0) == (
            ("whole", False) if name == "whole" else ("cropped", name == "focal")
        )
    assert "10,240" in ro_vit.BUDGET


def test_encoders_are_compared_thing_by_thing():
    bench, encoder = box_bench(), tiny_encoder("whole")
    right = ro_vit.named_regions(bench, encoder)
    assert len(right) == int((bench.true_labels() >= len(BASE)).sum())
    found = ro_vit.found_pictures(bench, encoder)
    assert len(found) == len(bench.test_pictures)
    assert set(right.tolist()) | set(found.tolist()) <= {0.0, 1.0}
