"""The bench for boxes: who sees what, rankings, references, gates."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from distill_tiny import box_bench, box_protocol
from transfer_tiny import clip

from vlmtutor.distill.bench import box_gates, box_masks, box_references
from vlmtutor.distill.bench.box_oracles import oracles
from vlmtutor.distill.bench.boxed import BoxBench
from vlmtutor.distill.bench.boxes import judge_boxes
from vlmtutor.distill.bench.gates import GateClosed
from vlmtutor.distill.bench.ranked import single
from vlmtutor.distill.parts.box_head import RegionDetector
from vlmtutor.distill.supervision import Boxed, BoxedCaptioned, Masked
from vlmtutor.metrics import average_precision


def names_in(scenes):
    return [{o.name for o in scene.objects} for scene in scenes]


def test_novel_things_stand_unlabelled_among_the_boxes():
    b = box_bench()
    scenes, data = b.scenes("boxes"), b.data(Boxed)
    assert len(scenes) == len(data) == 8
    assert all(names & {*b.base} for names in names_in(scenes))
    assert any(names & {*b.novel} for names in names_in(scenes))
    assert data.names == b.base
    box_gates.check_boxes(b)
    shown = sum(map(len, data.boxes))
    assert shown == sum(o.name in b.base for s in scenes for o in s.objects)


def test_in_the_ablation_they_stand_nowhere():
    alone = box_protocol(background=False).scenes("boxes", 32)
    assert not set.union(*names_in(alone)) & {*box_protocol().novel}
    usual = {s.seed for s in box_bench().scenes("boxes")}
    assert not usual & {s.seed for s in alone}


def test_no_part_shares_a_scene_with_another():
    parts = ("boxes", "masks", "captions", "test")
    for protocol in (box_protocol(), box_protocol().pseudo()):
        seeds = [s.seed for part in parts for s in protocol.scenes(part, 32)]
        assert len(set(seeds)) == len(seeds)


def test_the_test_scenes_are_those_of_the_masks():
    from distill_tiny import protocol

    own = [s.seed for s in box_protocol().scenes("test", 32)]
    assert own == [s.seed for s in protocol().scenes("test", 32)]


def test_sentences_are_those_of_the_boxed_pictures():
    b = box_bench()
    data = b.data(BoxedCaptioned)
    assert data.pictures is b.data(Boxed).pictures
    assert len(data.captions) == len(data.boxes) == 8
    assert b.data(Masked).names == b.base  # the other types are still there


def test_a_box_of_a_novel_thing_closes_the_gate():
    b = BoxBench(clip(), box_protocol())
    data = b.data(Boxed)
    data.boxes[0] = torch.cat([data.boxes[0], torch.tensor([[0.0, 0, 5, 5]])])
    with pytest.raises(GateClosed, match="box"):
        box_gates.check_boxes(b)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fixed(RegionDetector):
    """Says by its own rule the first name, by the common one the last."""

    def opinions(self, found, pictures, names, seen):
        own = torch.zeros(*found.quality.shape, len(names))
        own[..., 0] = 0.5
        return own, own.flip(-1)


def test_boxes_are_ranked_by_two_rules():
    b = box_bench()
    model = Fixed(clip=clip(), proposer=b.proposer()[0])
    own = model.detect(b.test_pictures, b.names)
    common = dataclasses.replace(model, ranking="common")
    common = common.detect(b.test_pictures, b.names)
    assert {0} == set(own[0]["labels"].tolist()) and (own[0]["scores"] == 0.5).all()
    assert {4} == set(common[0]["labels"].tolist())
    assert len(set(common[0]["scores"].tolist())) > 1  # by quality
    result = b.answer(model, seen=b.seen)
    wanted = average_precision(own, b.true_boxes(b.names), range(3))["AP50"]
    assert result.own.scores()["S"] == pytest.approx(wanted)
    assert result.scores() == result.own.scores()
    assert set(result.table()) == {"own", "common"}
    assert len(result) == 6


def test_novel_names_alone_are_judged_alone():
    b = box_bench()
    truths = b.true_boxes(b.novel)
    right = [{**t, "scores": [0.5] * len(t["labels"])} for t in truths]
    nothing = [{"boxes": [], "labels": [], "scores": []}] * len(right)
    scores = b.ranked(nothing, nothing, right, nothing).table()
    assert scores["own"]["U_alone"] == 1 and scores["own"]["U"] == 0
    assert scores["common"]["U_alone"] == 0


def test_a_place_keeps_its_surest_name():
    box = [[0.0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30]]
    found = {"boxes": box, "labels": [1, 2, 2], "scores": [0.3, 0.4, 0.1]}
    (kept,) = single([found])
    assert kept["labels"].tolist() == [2, 2]
    assert kept["scores"].tolist() == pytest.approx([0.4, 0.1])


def test_masks_are_the_regions_that_fit_a_box_or_the_box():
    mask = torch.zeros(1, 2, 32, 32, dtype=torch.bool)
    mask[0, 0, 4:12, 4:12] = True
    mask[0, 0, 4, 4] = False
    found = {"boxes": [[4.0, 4, 12, 10], [20, 20, 24, 30]], "labels": [0, 1]}
    (one,) = box_masks.with_masks([found], mask)
    wanted = mask[0, 0].clone()
    wanted[10:] = False  # cut to the box
    assert torch.equal(one["masks"][0], wanted)
    assert one["masks"][1].sum() == 40 and one["masks"][1][20:30, 20:24].all()


def test_true_masks_are_perfect_and_shifted_ones_are_not():
    b = box_bench()
    truths = b.true_boxes(b.names)
    assert all(m.any((1, 2)).all() for m in (t["masks"] for t in truths) if len(m))
    right = [{**t, "scores": [1.0] * len(t["labels"])} for t in truths]
    moved = [{**t, "masks": np.roll(t["masks"], 12, 1)} for t in right]
    scores = [
        judge_boxes(found, truths, 3, b.names, masks=True).scores()["all"]
        for found in (right, moved)
    ]
    assert scores[0] == 1 and scores[1] < 0.5
    assert judge_boxes(moved, truths, 3, b.names).scores()["all"] == 1  # of boxes


def test_oracles_mend_one_thing_each():
    truth = {"boxes": [[0.0, 0, 10, 10], [20, 20, 30, 30]], "labels": [0, 1]}

    def worth(boxes, labels, scores):
        found = {"boxes": boxes, "labels": labels, "scores": scores}
        mended = oracles([found], [truth], 1, ("a", "b"))
        return {name: round(own["h"], 6) for name, own in mended.items()}

    good = truth["boxes"]
    assert worth(good, [1, 0], [0.9, 0.8]) == {
        "true names": 1,
        "true boxes": 0,
        "true order": 0,
    }
    near = [[0.0, 0, 10, 4], [20, 20, 30, 24]]
    assert worth(near, [0, 1], [0.9, 0.8]) == {
        "true names": 0,
        "true boxes": 1,
        "true order": 0,
    }
    more = [*good, [50.0, 50, 60, 60], [50.0, 50, 60, 60]]
    assert worth(more, [0, 1, 0, 1], [0.1, 0.2, 0.9, 0.8]) == {
        "true names": 0.5,
        "true boxes": 0.5,
        "true order": 1,
    }


def test_knobs_are_judged_by_the_own_rule():
    b = box_bench()
    model = Fixed(clip=clip(), proposer=b.proposer()[0])
    assert b.judge_own(model).scores()["S"] == b.answer(model).scores()["S"]


def test_the_same_scenes_in_another_domain():
    b = box_bench()
    noisy = b.in_domain("noisy")
    assert noisy.images.shape == b.test_pictures.images.shape
    assert not torch.equal(noisy.images, b.test_pictures.images)
    assert b.in_domain("noisy") is noisy


def test_every_reference_gives_boxes(monkeypatch):
    monkeypatch.setattr(box_references, "STEPS", 2)
    b = box_bench()
    for one in box_references.BOX_REFERENCES:
        scores = one.result(b).table()
        assert all(0 <= v <= 1 for own in scores.values() for v in own.values())
    with pytest.raises(KeyError, match="chance"):
        box_references.find_box_reference("no such")


def test_true_boxes_would_be_perfect_with_true_names():
    b = box_bench()
    truths = b.true_boxes(b.names)
    found = b.true_regions()
    for own, sure, truth in zip(found.boxes, found.quality, truths, strict=True):
        assert own[sure > 0].tolist() == [list(map(float, x)) for x in truth["boxes"]]
    right = [{**t, "scores": [1.0] * len(t["labels"])} for t in truths]
    scores = box_references.same(b, right, right).scores()
    assert scores["S"] == scores["U"] == scores["S_single"] == 1


def test_the_oracle_has_boxes_that_methods_have_not():
    b = box_bench()
    more, usual = box_references.everything(b), b.data(Boxed)
    assert more.names == b.names
    assert sum(map(len, more.boxes)) > sum(map(len, usual.boxes))
    assert more.pictures is usual.pictures


def test_gates_are_measured_and_say_what_is_too_low(monkeypatch):
    monkeypatch.setattr(box_references, "STEPS", 2)
    figures = box_gates.measure_boxes(box_bench())
    assert set(figures) == {*box_gates.BOX_LIMITS, *box_gates.BOX_TOLD}
    good = {name: limit + 0.1 for name, limit in box_gates.BOX_LIMITS.items()}
    assert box_gates.closed_boxes(good) == []
    name = "recall of 10 boxes, novel (oln)"
    (low,) = box_gates.closed_boxes({**good, name: 0.5})
    assert low.startswith(f"{name} is 0.500, and should be 0.8")
    text = box_gates.gate_report({**good, name: 0.5})
    assert text.count("open") == 3 and text.count("CLOSED") == 1
