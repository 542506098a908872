"""Label maps and boxes out of patches."""

import numpy as np
import torch

from vlmtutor.metrics import average_precision
from vlmtutor.readout import find_boxes, label_maps


def test_a_map_names_each_patch_by_its_nearest_class():
    classifier = torch.eye(3)
    grid = torch.tensor([[0, 0, 1], [2, 2, 1], [2, 0, 0]])
    labels, confidence = label_maps(classifier[grid][None], classifier, 3)
    assert torch.equal(labels[0], grid)
    sure = torch.tensor([1.0, 0, 0]).softmax(0).max()
    assert torch.allclose(confidence, sure.expand(1, 3, 3))


def test_scale_changes_confidence_and_no_label():
    g = torch.Generator().manual_seed(0)
    features = torch.randn(2, 4, 4, 8, generator=g)
    classifier = torch.randn(5, 8, generator=g)
    low, low_p = label_maps(features, classifier, 16)
    high, high_p = label_maps(features, classifier, 16, scale=10)
    assert torch.equal(low, high)
    assert (high_p > low_p).all()
    assert low.shape == (2, 16, 16)


def test_boxes_stand_around_connected_areas():
    labels = torch.full((6, 8), 9)
    labels[0:2, 0:3] = 1
    labels[3:6, 5:8] = 1  # the same class elsewhere: another box
    labels[2, 3] = 1  # touches by a corner, and is small
    labels[3:5, 0:2] = 4
    confidence = torch.full((6, 8), 0.5)
    confidence[0:2, 0:3] = 0.25
    found = find_boxes(labels, confidence, background=9, least=4)
    assert found["labels"].tolist() == [1, 1, 4]
    assert found["boxes"].tolist() == [[0, 0, 3, 2], [5, 3, 8, 6], [0, 3, 2, 5]]
    assert found["scores"].tolist() == [0.25, 0.5, 0.5]
    all_found = find_boxes(labels, confidence, background=9, least=1)
    assert len(all_found["labels"]) == 4


def test_nothing_found_is_no_box_of_the_right_shape():
    found = find_boxes(torch.full((4, 4), 3), torch.ones(4, 4), background=3)
    assert found["boxes"].shape == (0, 4)
    truth = [{"boxes": np.array([[0, 0, 2, 2]]), "labels": [1]}]
    assert average_precision([found], truth)["AP"] == 0


def test_true_maps_give_true_boxes():
    labels = torch.full((32, 32), 2)
    labels[4:20, 8:30] = 0
    found = find_boxes(labels, torch.ones(32, 32), background=2)
    truth = [{"boxes": [[8, 4, 30, 20]], "labels": [0]}]
    assert average_precision([found], truth)["AP"] > 0.999
