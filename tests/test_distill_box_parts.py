"""What methods that draw boxes share: boxes, proposals, regions, the teacher."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from distill_tiny import box_bench
from transfer_tiny import clip, close

from vlmtutor.distill.parts import box_head, box_proposer, box_teacher, boxes
from vlmtutor.distill.parts.box_regions import (
    lesson_of,
    look_into,
    region_bins,
    shared_regions,
)
from vlmtutor.distill.pictures import DensePictures, taps
from vlmtutor.distill.supervision import Boxed

A = torch.tensor([0.0, 0.0, 4.0, 4.0])
B = torch.tensor([2.0, 0.0, 6.0, 4.0])
FAR = torch.tensor([8.0, 0.0, 12.0, 4.0])


def random_boxes(*shape, size=32.0, seed=0):
    g = torch.Generator().manual_seed(seed)
    low = 0.6 * size * torch.rand(*shape, 2, generator=g)
    return torch.cat(
        [low, low + 2 + 0.3 * size * torch.rand(*shape, 2, generator=g)], -1
    )


def test_overlaps_by_hand():
    assert boxes.iou(A, B) == pytest.approx(8 / 24)
    assert boxes.iou(A, FAR) == 0
    assert boxes.giou(A, B) == pytest.approx(8 / 24)  # their hull is covered
    assert boxes.giou(A, FAR) == pytest.approx(-1 / 3)  # 16 of 48 are not
    table = boxes.pairwise_iou(torch.stack([A, B]), torch.stack([A, B, FAR]))
    close(table, torch.tensor([[1, 1 / 3, 0], [1 / 3, 1, 0]]))


def test_shifts_lead_back():
    a, b = random_boxes(7), random_boxes(7, seed=1)
    close(boxes.shifted(a, boxes.shift_to(a, b), 99), b, atol=1e-3)
    close(boxes.shifted(a, torch.zeros(7, 4), 99), a)


def test_suppression_by_hand():
    some = torch.stack([A, A + torch.tensor([1.0, 0, 1, 0]), FAR, A + 0.1])
    scores = torch.tensor([0.5, 0.9, 0.1, 0.0])
    kept = boxes.without_repeats(scores, boxes.pairwise_iou(some, some), 0.5)
    close(kept, torch.tensor([0.0, 0.9, 0.1, 0.0]))


def test_what_is_suppressed_suppresses_nobody():
    chain = torch.stack([A, A + torch.tensor([1.3, 0, 1.3, 0]), B])
    overlaps = boxes.pairwise_iou(chain, chain)
    scores = torch.tensor([[0.9, 0.8, 0.7], [0.7, 0.8, 0.9], [0.2, 0.9, 0.3]])
    kept = boxes.without_repeats(scores, overlaps, 0.4) > 0
    assert kept.tolist() == [[1, 0, 1], [1, 0, 1], [0, 1, 0]]


def test_smaller_boxes_have_the_cells_that_both_cover():
    centers = torch.tensor([[2.0, 2.0], [5.0, 5.0], [9.0, 9.0], [20.0, 20.0]])
    truth = torch.tensor([[[0.0, 0, 10, 10], [0, 0, 4, 4]]])
    whole, middle = box_proposer.owners(centers, truth, torch.ones(1, 2).bool())
    assert whole.tolist() == [[1, 0, 0, -1]]
    assert middle.tolist() == [[1, 0, -1, -1]]
    whole, _ = box_proposer.owners(centers, truth, torch.tensor([[True, False]]))
    assert whole.tolist() == [[0, 0, 0, -1]]


def test_only_a_network_that_rejects_learns_from_what_is_no_box():
    truth = torch.tensor([[[4.0, 4.0, 20.0, 20.0]]])
    centers = box_proposer.BoxProposer(clip()).centers()
    lesson = (truth, *box_proposer.owners(centers, truth, torch.ones(1, 1).bool()))
    outside, moved = lesson[1][0] < 0, {}
    for kind in box_proposer.KINDS:
        quality = torch.zeros(1, len(centers), requires_grad=True)
        cells = box_proposer.Cells(random_boxes(1, len(centers)), quality, None)
        box_proposer.box_losses(cells, *lesson, kind).backward()
        moved[kind] = quality.grad[0].abs()
    assert outside.any() and moved["neg"][outside].min() > 0
    assert moved["oln"][outside].max() == 0 < moved["oln"][~outside].min()


def test_a_kind_that_is_none_is_refused():
    with pytest.raises(ValueError, match="oln"):
        box_proposer.train_boxes(clip(), box_bench().data(Boxed), "rpn")


def test_proposals_are_the_likeliest_and_no_repetitions():
    b = box_bench()
    found = box_proposer.propose_boxes(b.proposer()[0], b.test_pictures, 5)
    assert found.boxes.shape == (6, 5, 4) and found.quality.shape == (6, 5)
    assert (found.quality.diff(dim=1) <= 0).all()
    for own, sure in zip(found.boxes, found.quality, strict=True):
        own = own[sure > 0]
        overlaps = boxes.pairwise_iou(own, own) - torch.eye(len(own))
        assert overlaps.max() <= box_proposer.REPEATED
    assert b.proposer()[0] is b.proposer()[0]
    assert b.proposer()[0] is not b.proposer("neg")[0]


def test_bins_of_the_whole_picture_are_means_of_its_patches():
    pictures = box_bench().test_pictures[:2]
    size = pictures.images.shape[1]
    whole = torch.tensor([[[0.0, 0, size, size]]]).expand(2, 1, 4)
    bins = region_bins(pictures, whole)
    assert bins.shape[:2] == (2, 1)
    states = pictures.hidden(taps(clip())[0])[:, 1:]
    states = F.layer_norm(states, states.shape[-1:])
    side, width = 4, states.shape[-1]
    middle = states.unflatten(1, (side, side))[:, 1:3, 1:3].mean((1, 2))
    got = bins[:, 0].float().unflatten(-1, (-1, 3, 3))[:, :width, 1, 1]
    close(got, middle, atol=2e-3)


def test_bins_see_what_is_inside_and_little_else(monkeypatch):
    pictures = box_bench().test_pictures[:1]
    left, right = (torch.tensor([[[x, 0.0, x + 8, 32.0]]]) for x in (0, 24))
    plain = pictures.hidden(taps(clip())[0])
    with monkeypatch.context() as patch:
        patch.setattr(DensePictures, "hidden", lambda self, layer: plain)
        before = [region_bins(pictures, b) for b in (left, right)]
    changed = pictures.hidden(taps(clip())[0]).clone()
    changed[:, 1:].unflatten(1, (4, 4))[:, :, 3] += torch.randn(32)
    monkeypatch.setattr(DensePictures, "hidden", lambda self, layer: changed)
    after = [region_bins(pictures, b) for b in (left, right)]
    assert torch.equal(before[0], after[0])
    assert not torch.equal(before[1], after[1])


def test_a_lesson_has_proposals_and_truth():
    data = box_bench().data(Boxed)
    proposer, lesson = lesson_of(clip(), data)
    assert lesson_of(clip(), data)[1] is lesson
    true = lesson[lesson.true]
    assert torch.equal(true.boxes, torch.cat(data.boxes))
    assert torch.equal(true.labels, torch.cat(data.labels))
    assert (true.overlap == 1).all() and torch.equal(true.goals, true.boxes)
    things = lesson.labels < len(data.names)
    assert torch.equal(things, lesson.overlap >= 0.5)
    found = shared_regions(proposer, data.pictures)
    assert (~lesson.true).sum() == (found.quality > 0).sum()


def test_layers_of_a_near_head_start_as_clips_patches():
    bins, pooled = torch.randn(3, 12), torch.randn(3, 5)
    vectors, shifts = box_head.RegionHead(12, 5, near=True)(bins, pooled)
    close(vectors, pooled)
    close(shifts, torch.zeros(3, 4))
    far = box_head.RegionHead(12, 5)(bins, pooled)[0]
    close(far, box_head.RegionHead(12, 5)(bins, -pooled)[0])


def test_boxes_are_laid_out_by_name():
    some = torch.stack([A, A + 0.1, FAR])[None]
    scores = torch.tensor([[[0.9, 0.0], [0.8, 0.3], [0.1, 0.2]]])
    (found,) = box_head.lay_out(some, scores)
    close(found["scores"], torch.tensor([0.9, 0.3, 0.2, 0.1]))
    assert found["labels"].tolist() == [0, 1, 1, 0]
    close(found["boxes"], some[0][[0, 1, 2, 2]])
    assert len(box_head.lay_out(some, scores, most=2)[0]["scores"]) == 2


def test_a_box_may_depend_on_the_name_that_it_is_asked_for():
    some = torch.stack([torch.stack([A, FAR]), torch.stack([A, A])])[None]
    scores = torch.tensor([[[0.9, 0.7], [0.8, 0.6]]])  # one A repeats the other
    (found,) = box_head.lay_out(some, scores)
    assert found["labels"].tolist() == [0, 1, 1]
    close(found["boxes"], torch.stack([A, FAR, A]))
    close(found["scores"], torch.tensor([0.9, 0.7, 0.6]))


def test_crops_of_the_whole_picture_are_the_picture():
    pictures = box_bench().test_pictures
    size = pictures.images.shape[1]
    rows = torch.tensor([2, 0])
    whole = torch.tensor([[0.0, 0, size, size]]).expand(2, 4)
    pixels = pictures.pixel_values
    for square in (True, False):
        got = box_teacher.crop_embeds(clip(), pixels, rows, whole, square=square)
        close(got, pictures.image_embeds[rows], atol=1e-4)
    slim = torch.tensor([[4.0, 4.0, 12.0, 28.0]]).expand(2, 4)
    a, b = (
        box_teacher.crop_embeds(clip(), pixels, rows, slim, square=s)
        for s in (True, False)
    )
    assert not torch.allclose(a, b, atol=1e-3)


def test_a_query_sees_the_patches_of_its_box_alone():
    pictures = box_bench().test_pictures[:2]
    hidden = pictures.hidden(taps(clip())[-1])
    box = torch.tensor([[[0.0, 0.0, 16.0, 16.0]]]).expand(2, 1, 4)
    inside = box_teacher.patches_inside(box[0, 0], 32, 4)
    assert inside.nonzero()[:, 0].tolist() == [0, 1, 4, 5]
    before = box_teacher.box_query(clip(), hidden, box, 32)
    for part, same in ((~inside, True), (inside, False)):
        changed = hidden.clone()
        changed[:, 1:][:, part] += torch.randn(int(part.sum()), hidden.shape[-1])
        after = box_teacher.box_query(clip(), changed, box, 32)
        assert torch.allclose(before, after, atol=1e-6) is same


def test_a_box_smaller_than_a_patch_has_the_patch_that_it_is_in():
    inside = box_teacher.patches_inside(torch.tensor([17.0, 1.0, 20.0, 4.0]), 32, 4)
    assert inside.nonzero()[:, 0].tolist() == [2]


def test_regions_look_at_given_boxes():
    pictures = box_bench().test_pictures[:2]
    found = look_into(pictures, random_boxes(2, 3), torch.ones(2, 3))
    assert found.bins.shape[:2] == found.pooled.shape[:2] == (2, 3)
    close(found.pooled.norm(dim=-1), torch.ones(2, 3))
