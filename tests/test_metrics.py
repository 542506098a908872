"""Metrics against cases worked by hand, and against scikit-learn."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, jaccard_score
from sklearn.metrics import top_k_accuracy_score as sklearn_top_k

from vlmtutor.metrics import (
    accuracy,
    average_precision,
    coco_evaluation,
    confusion,
    expected_calibration_error,
    harmonic_mean,
    iou_per_class,
    mean_iou,
    recall_at_k,
)

SEEDS = st.integers(0, 2**32 - 1)


def test_accuracy_of_labels_and_of_scores():
    assert accuracy([1, 2, 3, 4], [1, 2, 0, 0]) == 0.5
    scores = torch.tensor([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3]])
    assert accuracy(scores, torch.tensor([1, 2])) == 0.5
    assert accuracy(scores, torch.tensor([1, 2]), k=2) == 1


def test_a_model_that_knows_nothing_gets_nothing():
    assert accuracy(np.zeros((5, 3)), [0, 1, 2, 0, 1]) == 0
    assert recall_at_k(np.ones((4, 4))) == 0
    assert recall_at_k(np.ones((4, 4)), k=4) == 1


@given(seed=SEEDS, k=st.integers(1, 5))
@settings(max_examples=30)
def test_accuracy_is_that_of_sklearn(seed, k):
    rng = np.random.default_rng(seed)
    scores, labels = rng.normal(size=(20, 6)), rng.integers(6, size=20)
    theirs = sklearn_top_k(labels, scores, k=k, labels=range(6))
    assert accuracy(scores, labels, k) == pytest.approx(theirs)


def test_recall_by_hand():
    similarity = [[0.9, 0.8, 0.1], [0.7, 0.6, 0.5], [0.2, 0.3, 0.1]]
    assert recall_at_k(similarity) == pytest.approx(1 / 3)
    assert recall_at_k(similarity, k=2) == pytest.approx(2 / 3)
    assert recall_at_k(similarity, k=3) == 1
    assert recall_at_k(similarity, [1, 0, 1], k=1) == pytest.approx(2 / 3)


def test_several_right_items():
    right = np.array([[True, True, False], [False, False, True]])
    similarity = np.array([[0.1, 0.8, 0.9], [0.9, 0.8, 0.1]])
    assert recall_at_k(similarity, right, k=1) == 0
    assert recall_at_k(similarity, right, k=2) == 0.5
    # other right items do not push the best one back
    assert recall_at_k([[0.9, 0.9, 0.1]], [[True, True, False]]) == 1


@given(seed=SEEDS)
@settings(max_examples=30)
def test_recall_grows_with_k_and_reaches_one(seed):
    similarity = np.random.default_rng(seed).normal(size=(7, 7))
    recalls = [recall_at_k(similarity, k=k) for k in range(1, 8)]
    assert recalls == sorted(recalls) and recalls[-1] == 1


@pytest.mark.parametrize(
    ("similarity", "positives", "message"),
    [
        (np.zeros((0, 3)), None, "empty"),
        (np.zeros(3), None, "N, M"),
        ([[np.nan, 1.0]], None, "NaN"),
        (np.eye(2), [[True, False], [False, False]], "no right item"),
        (np.eye(2), [0, 2], "2 items"),
        (np.zeros((3, 2)), None, "2 items"),
        (np.eye(2), [[True, False]], "positives"),
    ],
)
def test_recall_refuses_nonsense(similarity, positives, message):
    with pytest.raises(ValueError, match=message):
        recall_at_k(similarity, positives)


def test_mean_iou_by_hand():
    truth = np.array([[0, 0, 1, 1], [0, 0, 1, -1]])
    predicted = np.array([[0, 1, 1, 1], [0, 0, 0, 3]])
    # class 0: 3 of 5; class 1: 2 of 4; 2 and 3 occur nowhere that counts
    with pytest.raises(ValueError, match="predicted"):
        mean_iou(np.array([[9]]), np.array([[0]]), classes=4)
    assert mean_iou(predicted, truth, classes=4) == pytest.approx(0.55)
    # a class seen where it is not costs those that are there, and no more
    predicted[0, 0] = 2
    assert mean_iou(predicted, truth, 4) == pytest.approx((2 / 5 + 2 / 4) / 2)


@given(seed=SEEDS)
@settings(max_examples=30)
def test_mean_iou_is_that_of_sklearn(seed):
    rng = np.random.default_rng(seed)
    truth, predicted = rng.integers(4, size=(2, 3, 5, 5))
    flat = truth.ravel(), predicted.ravel()
    theirs = jaccard_score(*flat, average="macro", labels=np.unique(truth))
    ours = mean_iou(torch.tensor(predicted), torch.tensor(truth), classes=4)
    assert ours == pytest.approx(theirs)
    assert np.array_equal(
        confusion(predicted, truth, 4), confusion_matrix(*flat, labels=range(4))
    )


def test_an_absent_class_is_what_one_asks_for():
    counts = np.zeros((2, 3, 3))  # of two groups of pictures
    counts[0, 0, :2] = 3, 1
    counts[1, 2, 2] = 4
    ious = iou_per_class(counts)
    assert ious[0, 0] == 0.75 and np.isnan(ious[0, 2])
    assert iou_per_class(counts, absent=0)[1].tolist() == [0, 0, 1]
    assert np.isnan(ious[0, 1])  # named, but nowhere


def test_mean_iou_with_nothing_to_score():
    with pytest.raises(ValueError, match="ignored"):
        mean_iou(np.zeros((2, 2)), np.full((2, 2), -1), classes=2)
    with pytest.raises(ValueError, match="shapes differ"):
        mean_iou(np.zeros((2, 2)), np.zeros((2, 3)), classes=2)


BOX = [10, 10, 50, 50]


def found(boxes, labels, scores):
    return {"boxes": boxes, "labels": labels, "scores": scores}


def test_a_perfect_detector():
    truths = [
        {"boxes": [BOX, [0, 0, 8, 8]], "labels": [3, 5]},
        {"boxes": [], "labels": []},
    ]
    detections = [found([BOX, [0, 0, 8, 8]], [3, 5], [0.9, 0.8]), found([], [], [])]
    assert average_precision(detections, truths) == pytest.approx(
        dict.fromkeys(("AP", "AP50", "AP75", "AR10", "AR100"), 1)
    )


def test_average_precision_by_hand(capsys):
    # the box is found at an overlap of 0.8 (40 × 32 of 40 × 40): right at
    # 0.50 … 0.80, which is 7 of the 10 thresholds
    truths = [{"boxes": torch.tensor([BOX]), "labels": torch.tensor([0])}]
    detections = [found(torch.tensor([[10, 10, 50, 42.0]]), [0], [0.9])]
    result = average_precision(detections, truths)
    assert result == pytest.approx(
        {"AP": 0.7, "AP50": 1, "AP75": 1, "AR10": 0.7, "AR100": 0.7}
    )
    # a better-scored false alarm before it halves the precision
    detections = [found([[60, 60, 90, 90], BOX], [0, 0], [0.9, 0.5])]
    assert average_precision(detections, truths)["AP"] == pytest.approx(0.5)
    # the same box twice: the second is a false alarm behind the hit
    detections = [found([BOX, BOX], [0, 0], [0.9, 0.8])]
    assert average_precision(detections, truths)["AP"] == pytest.approx(1)
    assert capsys.readouterr().out == ""


def test_average_precision_of_some_classes():
    truths = [{"boxes": [BOX, [0, 0, 8, 8]], "labels": [3, 5]}]
    detections = [found([BOX], [3], [0.9])]
    assert average_precision(detections, truths)["AP"] == pytest.approx(0.5)
    assert average_precision(detections, truths, [3])["AP"] == pytest.approx(1)
    assert average_precision(detections, truths, [5])["AP"] == 0
    nothing = average_precision([found([], [], [])], truths)
    assert set(nothing.values()) == {0}
    # a class that no picture shows cannot be found, and costs nothing
    extra = [found([BOX, BOX], [3, 9], [0.9, 0.99])]
    assert average_precision(extra, truths, [3, 9])["AP"] == pytest.approx(1)


def test_masks_are_matched_where_boxes_would_agree():
    """Two triangles of one square: the same box, half of them different."""
    lower = np.tri(10, dtype=bool)
    square = {"boxes": [[0, 0, 10, 10]], "labels": [0]}
    truth = [square | {"masks": lower[None]}]
    for found, hits in ((lower, True), (lower.T[::-1], False)):
        answer = [square | {"masks": found[None], "scores": [1.0]}]
        for masks, right in ((False, True), (True, hits)):
            scoring = coco_evaluation(answer, truth, [0], masks)
            assert (scoring.evalImgs[0]["dtMatches"][0, 0] > 0) == right


def test_average_precision_refuses_nonsense():
    truths = [{"boxes": [BOX], "labels": [3]}]
    with pytest.raises(ValueError, match="nothing to find"):
        average_precision([found([BOX], [3], [1])], truths, labels=[4])
    with pytest.raises(ValueError, match="2 pictures"):
        average_precision([found([], [], [])] * 2, truths)
    with pytest.raises(ValueError, match="picture 0: 1 boxes, 2 labels"):
        average_precision([found([BOX], [1, 2], [1])], truths)
    with pytest.raises(ValueError, match="picture 0: boxes are x0, y0, x1, y1"):
        average_precision([found([[40, 30, 20, 20]], [3], [1])], truths)


def test_calibration_by_hand():
    # 0.8 sure and right 4 times of 5; 0.6 sure and right 1 time of 2
    probabilities = [[0.8, 0.2]] * 5 + [[0.4, 0.6]] * 2
    labels = [0, 0, 0, 0, 1, 1, 0]
    ours = expected_calibration_error(probabilities, labels, bins=10)
    assert ours == pytest.approx(0.1 * 2 / 7)
    assert expected_calibration_error([[1.0, 0.0]], [0]) == 0
    assert expected_calibration_error([[1.0, 0.0]], [1]) == 1
    # a bin holds its upper edge: 0.5 and 0.5001 part
    half = [[0.5, 0.5], [0.5001, 0.4999]]
    ours = expected_calibration_error(half, [0, 1], bins=2)
    assert ours == pytest.approx((0.5 + 0.5001) / 2)


def test_calibration_needs_probabilities():
    with pytest.raises(ValueError, match="sum to 1"):
        expected_calibration_error([[2.0, 3.0]], [0])
    with pytest.raises(ValueError, match="labels"):
        expected_calibration_error([[0.5, 0.5]], [0, 1])


def test_harmonic_mean():
    assert harmonic_mean(0.6, 0.3) == pytest.approx(0.4)
    assert harmonic_mean(0.9, 0) == 0 == harmonic_mean(0, 0)
    with pytest.raises(ValueError, match="-1"):
        harmonic_mean(-1, 1)
