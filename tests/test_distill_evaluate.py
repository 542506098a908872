"""Scores of label maps, for pictures drawn again as well."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vlmtutor.distill.bench.score import judge
from vlmtutor.metrics import iou_per_class, mean_iou

NAMES = ("a", "b", "new")  # two base, one novel; 3 is background


def maps(n=40, seed=0, wrong=0.2):
    g = torch.Generator().manual_seed(seed)
    truth = torch.randint(0, 4, (n, 6, 6), generator=g)
    noise = torch.randint(0, 4, truth.shape, generator=g)
    pick = torch.rand(truth.shape, generator=g) < wrong
    return torch.where(pick, noise, truth), truth


def test_scores_by_hand():
    truth = torch.tensor([[[0, 0, 1, 1], [2, 2, 3, 255]]])
    labels = torch.tensor([[[0, 1, 1, 1], [2, 3, 3, 0]]])
    s = judge(labels, truth, 2, NAMES).scores()
    assert s["S"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert s["U"] == pytest.approx(1 / 2)
    assert s["h"] == pytest.approx(2 * s["S"] * s["U"] / (s["S"] + s["U"]))
    assert s["background"] == pytest.approx(1 / 2)
    assert s["foreground"] == pytest.approx(5 / 6)  # one sticker pixel missed
    assert s["accuracy"] == pytest.approx(5 / 7)


def test_pooled_pixels_agree_with_metrics():
    labels, truth = maps()
    result = judge(labels, truth, 2, NAMES)
    assert np.mean(iou_per_class(result.counts.sum(0))) == mean_iou(labels, truth, 4)


def test_naming_looks_at_stickers_only():
    labels, truth = maps()
    named = truth.clamp(max=2)  # right wherever there is a sticker
    s = judge(labels, truth, 2, NAMES, named).scores()
    assert s["naming"] == s["naming S"] == s["naming U"] == 1


def test_classes_without_true_pixels_do_not_count():
    truth = torch.tensor([[[0, 0], [3, 3]]])
    s = judge(truth, truth, 2, NAMES).scores()
    assert s["S"] == 1 and s["U"] == 0 == s["h"]
    s = judge(torch.tensor([[[0, 0], [1, 3]]]), truth, 2, NAMES).scores()
    assert s["S"] == 1 and s["background"] == 0.5  # what is named "b" was this


def test_weights_are_literal_repetitions():
    labels, truth = maps(n=6)
    named = truth.clamp(max=2)
    result = judge(labels, truth, 2, NAMES, named)
    weights = np.array([[1, 1, 1, 1, 1, 1], [0, 3, 0, 1, 2, 0.0]])
    drawn = result.scores(weights)
    for r, times in enumerate(weights.astype(int)):
        rows = torch.arange(6).repeat_interleave(torch.tensor(times))
        again = judge(labels[rows], truth[rows], 2, NAMES, named[rows])
        got = {name: value[r] for name, value in drawn.items()}
        assert got == pytest.approx(again.scores())
