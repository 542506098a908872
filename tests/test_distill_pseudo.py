"""The pool, and boxes that nobody drew: who sees what, and what they are worth."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from distill_tiny import box_bench, box_protocol

from vlmtutor.distill.bench.names import NOVEL
from vlmtutor.distill.box_supervision import (
    CaptionedPool,
    Outlined,
    Pool,
    TaggedPool,
)
from vlmtutor.distill.parts.box_regions import lesson_of, make_lesson
from vlmtutor.distill.parts.pseudo import Pseudo, size_of
from vlmtutor.distill.supervision import Boxed


def shown(protocol):
    return [[o.name for o in s.objects] for s in protocol.scenes("pool", 32)]


def test_the_pool_shows_each_novel_name_a_few_times_and_mostly_others():
    protocol = dataclasses.replace(box_protocol(), pool=200)
    names = [first for first, *_ in map(sorted, shown(protocol))]
    everything = [name for own in shown(protocol) for name in own]
    for name in protocol.novel:
        assert everything.count(name) == 6  # 3 % of 200
    assert len({*names}) > 60
    assert sum(len(own) == 2 for own in shown(protocol)) == 30
    assert all(len({*own}) == len(own) for own in shown(protocol))


def test_a_share_of_the_pool_is_noisy():
    for noise, count in ((0.0, 0), (0.25, 5), (1.0, 20)):
        scenes = box_protocol(noise=noise).scenes("pool", 32)
        assert sum(scene.domain == "noisy" for scene in scenes) == count
    usual, clean = (box_protocol(noise=n).scenes("pool", 32) for n in (0.5, 0.0))
    assert [s.layout for s in usual] == [s.layout for s in clean]  # the same things


def test_while_knobs_are_chosen_the_pool_shows_no_novel_name_of_the_tables():
    pseudo = dataclasses.replace(box_protocol().pseudo(), pool=200)
    names = {name for own in shown(pseudo) for name in own}
    assert not names & {*NOVEL}
    assert {*pseudo.novel} <= names


def test_the_pools_scenes_are_nobody_elses():
    for protocol in (box_protocol(), box_protocol().pseudo()):
        parts = ("boxes", "masks", "archive", "captions", "test", "pool")
        seeds = [s.seed for part in parts for s in protocol.scenes(part, 32)]
        alone = dataclasses.replace(protocol, background=False).scenes("boxes", 32)
        seeds += [s.seed for s in alone]
        assert len(set(seeds)) == len(seeds)


def test_three_kinds_of_pools_have_what_they_say():
    b = box_bench()
    plain, tagged, captioned = map(b.data, (Pool, TaggedPool, CaptionedPool))
    assert plain.pictures is tagged.pictures is captioned.pictures
    assert {*vars(plain)} == {"pictures"}
    assert tagged.names == b.names
    for tags, names in zip(tagged.tags, shown(b.protocol), strict=True):
        assert {n for n, t in zip(b.names, tags, strict=True) if t} == (
            {*names} & {*b.names}
        )
    assert len(captioned.captions) == len(plain) == 20
    assert all(captioned.phrases())


def test_outlines_are_those_of_the_boxes():
    data = box_bench().data(Outlined)
    assert data.names == box_bench().base
    for boxes, masks in zip(data.boxes, data.masks, strict=True):
        for (x0, y0, x1, y1), mask in zip(boxes.int().tolist(), masks, strict=True):
            assert mask.sum() == mask[y0:y1, x0:x1].sum() > 0


def by_hand(boxes, labels, scores, names=("a", "b"), size=32):
    pictures = box_bench().test_pictures[:2]
    return Pseudo(
        pictures,
        list(names),
        torch.zeros(len(boxes), dtype=torch.long),
        torch.tensor(boxes, dtype=torch.float).reshape(-1, 4),
        torch.tensor(labels, dtype=torch.long),
        torch.tensor(scores, dtype=torch.float),
    )


THING, FAR = [0.0, 0, 8, 8], [20.0, 20, 30, 30]
TRUTH = [
    {"boxes": [THING, FAR], "labels": [0, 1]},
    {"boxes": [], "labels": []},
]


def test_quality_by_hand():
    labels = by_hand([THING, [0, 0, 8, 6], FAR], [0, 0, 0], [0.5, 0.9, 0.8])
    scores = labels.quality(TRUTH).scores()
    # the surer of two has the thing; the far one has another name
    assert scores["precision"] == pytest.approx(1 / 3)
    assert scores["recall"] == 0.5
    assert scores["iou"] == pytest.approx(48 / 64)
    assert scores["recall small"] == 1 and scores["recall middling"] == 0
    named = dataclasses.replace(labels, labels=torch.tensor([1, 1, 1]))
    assert named.quality(TRUTH).scores()["iou"] == 1  # FAR alone
    nothing = labels[torch.zeros(0, dtype=torch.long)].quality(TRUTH).scores()
    assert nothing["precision"] == nothing["recall"] == 0


def test_only_names_that_are_asked_for_count():
    labels = by_hand([THING, FAR], [0, 0], [0.5, 0.9])
    for names, precision, recall in ((["a"], 0.5, 1.0), (["b"], 0.0, 0.0)):
        scores = labels.quality(TRUTH, names).scores()
        assert (scores["precision"], scores["recall"]) == (precision, recall)


def test_quality_of_drawn_pictures():
    labels = by_hand([THING, FAR], [0, 0], [0.5, 0.9])
    quality = labels.quality(TRUTH)
    twice = quality.scores(np.array([[2.0, 0], [0, 2]]))
    assert twice["precision"].tolist() == [0.5, 0]
    assert quality.scores(np.ones((1, 2)))["iou"][0] == quality.scores()["iou"]
    assert len(quality) == 2


def test_sizes_are_those_of_the_sentences():
    boxes = torch.tensor([[0.0, 0, 29, 5], [0, 0, 5, 31], [0, 0, 47, 5.0]])
    assert size_of(boxes, 100).tolist() == [0, 1, 2]


def test_labels_join_the_truth_with_their_scores_as_weights():
    b = box_bench()
    data = b.data(Boxed)
    rows = torch.tensor([0, 3])
    own = Pseudo(
        data.pictures,
        list(b.novel),
        rows,
        torch.tensor([THING, FAR]),
        torch.tensor([1, 0]),
        torch.tensor([0.25, 0.5]),
    )
    both, weights = own.beside(data)
    assert both.names == [*b.base, *b.novel]
    assert [len(x) for x in both.boxes] == [
        len(x) + (k in (0, 3)) for k, x in enumerate(data.boxes)
    ]
    assert both.labels[0][-1] == len(b.base) + 1
    proposer, lesson = lesson_of(b.clip, data)
    more = make_lesson(proposer, both)
    assert torch.equal(weights[more.owner[more.true]], weights)
    assert torch.equal(torch.cat(both.boxes)[more.owner], more.goals)
    assert torch.equal(torch.cat(data.boxes)[lesson.owner], lesson.goals)
    alone, weights = own.beside()
    assert weights.tolist() == [0.25, 0.5] and alone.names == list(b.novel)
    assert {*make_lesson(proposer, alone).picture.tolist()} == {0, 3}


def test_the_truth_of_a_part_is_perfect_and_shifted_is_not():
    b = box_bench()
    things = b.things("archive", b.names)
    n = torch.tensor([len(t["labels"]) for t in things])
    true = Pseudo(
        b.pictures("archive"),
        list(b.names),
        torch.arange(len(n)).repeat_interleave(n),
        torch.tensor([box for t in things for box in t["boxes"]]).float(),
        torch.tensor([k for t in things for k in t["labels"]]),
        torch.ones(int(n.sum())),
    )
    scores = b.quality(true, "archive").scores()
    assert scores["precision"] == scores["recall"] == scores["iou"] == 1
    assert b.judge_labels(true, "archive").scores()["U"] == 1
    away = dataclasses.replace(true, boxes=true.boxes + 30)
    assert b.quality(away, "archive").scores()["precision"] == 0
