"""Regions become vectors, and vectors maps."""

from __future__ import annotations

import pytest
import torch
from distill_tiny import bench
from transfer_tiny import clip, close, unit

from vlmtutor.distill.parts import fusion, regions
from vlmtutor.distill.supervision import Masked


def boxes_mask(*boxes, size=32):
    masks = torch.zeros(len(boxes), size, size, dtype=torch.bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[y0:y1, x0:x1] = True
    return masks


def test_boxes_of_masks_and_squares_inside_the_picture():
    masks = boxes_mask((2, 5, 10, 9), (0, 0, 0, 0), (28, 20, 32, 32))
    boxes, empty = regions.mask_boxes(masks)
    assert boxes.tolist() == [[2, 5, 10, 9], [0, 0, 32, 32], [28, 20, 32, 32]]
    assert empty.tolist() == [False, True, False]
    squares = regions.square_boxes(boxes, 32, 1.5)
    assert squares[0].tolist() == [0, 1, 12, 13]
    assert squares[1].tolist() == [0, 0, 32, 32]
    assert squares[2].tolist() == [14, 14, 32, 32]


def test_a_crop_shows_its_box_enlarged():
    x = torch.arange(32.0).expand(1, 1, 32, 32)  # columns count
    crop = regions.crop_pixels(x, torch.tensor([[8.0, 4.0, 24.0, 20.0]]))
    close(crop[0, 0, 0], torch.linspace(7.75, 23.25, 32))
    whole = regions.crop_pixels(x, torch.tensor([[0.0, 0.0, 32.0, 32.0]]))
    close(whole, x)


@pytest.mark.parametrize("fill, value", [("mean", 0.0), ("zero", -1.0)])
def test_what_is_outside_a_mask_gets_the_fill(fill, value):
    pixels = torch.full((1, 3, 32, 32), 0.5)
    masks = boxes_mask((8, 8, 24, 16))
    shown, inside = regions.region_pixels(clip(), pixels, masks, fill, "mask")
    assert (shown[0][:, masks[0]] == 0.5).all()
    close(shown[0][:, ~masks[0]], torch.tensor(value).expand(3, 896))
    crop, _ = regions.region_pixels(clip(), pixels, masks, fill, "crop")
    close(crop, pixels)  # hides nothing
    both, inside = regions.region_pixels(clip(), pixels, masks, fill)
    share = (both[0, 0] == 0.5).float().mean()
    assert 0.4 < share < 0.6 and 0.4 < inside.mean() < 0.6
    with pytest.raises(ValueError, match="mode in"):
        regions.region_pixels(clip(), pixels, masks, "grey")


def test_crop_encode_agrees_with_encoding_by_hand():
    pixels = bench().test_pictures.pixel_values[:2]
    masks = torch.stack(
        [
            boxes_mask((0, 0, 32, 32), (4, 4, 20, 20), (0, 0, 0, 0)),
            boxes_mask((8, 0, 16, 8), (0, 0, 0, 0), (0, 0, 32, 32)),
        ]
    )
    embeds = regions.crop_encode(clip(), pixels, masks)
    whole = clip().image_features(pixels).detach()
    close(embeds[0, 0], whole[0])
    close(embeds[1, 2], whole[1])
    assert (embeds[0, 2] == 0).all() and (embeds[1, 1] == 0).all()
    wanted = torch.tensor([[True, False, True], [True, True, False]])
    some = regions.crop_encode(clip(), pixels, masks, wanted=wanted)
    assert (some[0, 1] == 0).all() and (some[1, 2] == 0).all()
    close(some[1, 0], embeds[1, 0])


def test_mask_pool_is_the_mean_patch_weighed_by_cover():
    dense = unit(1, 16, 6)
    mask = boxes_mask((0, 0, 8, 4))[None]  # half of the first of 4 × 4 patches
    close(regions.mask_pool(dense, mask)[0, 0], dense[0, 0])
    mask = boxes_mask((0, 0, 12, 8))[None].float()
    want = torch.nn.functional.normalize(dense[0, 0] + 0.5 * dense[0, 1], dim=-1)
    close(regions.mask_pool(dense, mask)[0, 0], want)
    close(
        regions.mask_pool(dense.transpose(1, 2).unflatten(2, (4, 4)), mask),
        regions.mask_pool(dense, mask),
    )


def test_instances_have_the_label_of_their_pixels():
    data = bench().data(Masked)
    masks = regions.instance_masks(data.regions, 4)
    assert torch.equal(masks.any(1), data.regions >= 0)
    labels = regions.region_labels(data.labels, masks)
    for n, q in masks.flatten(2).any(2).nonzero().tolist():
        assert (data.labels[n][masks[n, q]] == labels[n, q]).all()
    assert (labels[~masks.flatten(2).any(2)] == 255).all()


def probabilities(*shape, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=g).softmax(-1)


SEEN = torch.tensor([True, True, True, False, False])


def test_fusion_rules_by_hand():
    q, c = probabilities(2, 5), probabilities(2, 5, seed=1)
    zsseg = fusion.fuse(q, c, SEEN, 0.8, "zsseg")
    close(zsseg[:, 0], q[:, 0] ** 0.8 * c[:, 0] ** 0.2)
    close(zsseg[:, 4], q[:, 4] ** 0.2 * c[:, 4] ** 0.8)
    ours = fusion.fuse(q, c, SEEN, 0.8, "zegformer")
    close(ours[:, 0], q[:, 0] ** 0.8 * c[:, :3].mean(1) ** 0.2)
    close(ours[:, 4], zsseg[:, 4])
    all_alike = fusion.fuse(q, c, SEEN, 0.7, "ovseg")
    close(all_alike, q**0.3 * c**0.7)
    with pytest.raises(ValueError, match="rule"):
        fusion.fuse(q, c, SEEN, 0.7, "sum")


def test_clip_only_says_seen_or_novel_in_zegformer():
    q, c = probabilities(2, 6), probabilities(2, 6, seed=1)
    mixed = c[:, [1, 2, 5, 3, 4, 0]]  # seen ones (and background) trade
    a, b = (fusion.fuse(q, x, SEEN, 2 / 3, "zegformer") for x in (c, mixed))
    close(a, b)
    a, b = (fusion.fuse(q, x, SEEN, 2 / 3, "zsseg") for x in (c, mixed))
    assert not torch.allclose(a, b)


def test_maps_add_up_regions_and_background_is_the_rest():
    masks = torch.zeros(1, 2, 2, 2)
    masks[0, 0, 0] = 1.0
    masks[0, 1, :, 0] = 0.5
    scores = torch.tensor([[[1.0, 0.0], [0.2, 0.8]]])
    objectness = torch.tensor([[0.9, 1.0]])
    maps = fusion.combine(scores, masks, objectness)
    close(maps[0, 0], torch.tensor([[1.0, 0.9], [0.1, 0.0]]))
    rest = fusion.background_map(masks, objectness)
    close(rest[0, 0], torch.tensor([[0.1, 0.1], [0.5, 1.0]]))


def test_calibration_chooses_among_names_after_the_background():
    maps = torch.rand(2, 6, 3, 3)
    lower = fusion.calibrate(maps, SEEN, 0.4)
    ground = maps.argmax(1) == 5
    assert torch.equal(lower.argmax(1) == 5, ground) and not ground.all()
    close(lower[:, :3], maps[:, :3] - 0.4)
    assert torch.equal(lower[:, 3:5], maps[:, 3:5])
    # an offset moves seen things to novel names, and none to the ground
    thing = torch.tensor([0.5, 0.1, 0.1, 0.3, 0.0, 0.2]).view(1, 6, 1, 1)
    assert fusion.calibrate(thing, SEEN, 0.4).argmax(1).item() == 3
