"""Boxes as a result: pycocotools' figures, for pictures drawn again as well."""

from __future__ import annotations

import numpy as np
import pytest

from vlmtutor.distill.bench.boxes import judge_boxes
from vlmtutor.metrics import average_precision

NAMES, BASE = ("a", "b", "c", "d", "e"), 2


def random_boxes(rng, n):
    corner = rng.uniform(0, 60, (n, 2))
    return np.concatenate([corner, corner + rng.uniform(5, 40, (n, 2))], 1)


def world(seed, pictures=12, ties=False, crowded=False):
    """Made-up truth, and boxes near it and elsewhere; "e" is never there."""
    rng = np.random.default_rng(seed)
    truths, found = [], []
    for _ in range(pictures):
        n = rng.integers(0, 5)
        boxes, labels = random_boxes(rng, n), rng.integers(0, 4, n)
        near = boxes + rng.normal(0, 4, boxes.shape)
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        more = rng.integers(60, 160) if crowded else rng.integers(0, 8)
        scores = rng.uniform(size=n + more)
        if ties:
            scores = np.round(3 * scores) / 3
        kinds = np.concatenate([labels, rng.integers(0, 5, more)])
        kinds = np.where(rng.uniform(size=len(kinds)) < 0.1, 0, kinds)
        if crowded:
            kinds[:] = 2
        truths.append({"boxes": boxes, "labels": labels})
        shown = np.concatenate([near, random_boxes(rng, more)])
        found.append({"boxes": shown, "labels": kinds, "scores": scores})
    return found, truths


def wanted(found, truths):
    novel = average_precision(found, truths, range(BASE, len(NAMES)))
    base = average_precision(found, truths, range(BASE))["AP50"]
    everything = average_precision(found, truths)
    return {
        "S": base,
        "U": novel["AP50"],
        "all": everything["AP50"],
        "AP75_U": novel["AP75"],
        "AR10_U": novel["AR10"],
        "AR100_U": novel["AR100"],
    }


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", [{}, {"ties": True}, {"crowded": True}])
def test_without_weights_the_figures_are_pycocotools_own(seed, kind):
    found, truths = world(seed, **kind)
    scores = judge_boxes(found, truths, BASE, NAMES).scores()
    want = wanted(found, truths)
    assert {k: scores[k] for k in want} == pytest.approx(want, abs=1e-12)
    S, U = scores["S"], scores["U"]
    assert scores["h"] == pytest.approx(2 * S * U / (S + U) if S + U else 0)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("ties", [False, True])
def test_weights_are_literal_repetitions(seed, ties):
    found, truths = world(seed, ties=ties)
    rng = np.random.default_rng(seed)
    N = len(truths)
    weights = rng.multinomial(N, np.full(N, 1 / N), size=5).astype(float)
    drawn = judge_boxes(found, truths, BASE, NAMES).scores(weights)
    for r, times in enumerate(weights.astype(int)):
        rows = np.repeat(np.arange(N), times)
        want = wanted([found[n] for n in rows], [truths[n] for n in rows])
        got = {k: drawn[k][r] for k in want}
        assert got == pytest.approx(want, abs=1e-12)


def test_a_resample_without_a_class_leaves_it_out():
    box = [[0, 0, 10, 10]]
    truths = [{"boxes": box, "labels": [k]} for k in (0, 2, 3)]
    found = [{"boxes": box, "labels": [k], "scores": [0.5]} for k in (0, 2, 1)]
    result = judge_boxes(found, truths, BASE, NAMES)
    weights = np.array([[1, 1, 1], [1, 2, 0], [0, 0, 3]], float)
    drawn = result.scores(weights)
    assert drawn["U"] == pytest.approx([0.5, 1, 0])
    assert drawn["S"] == pytest.approx([1, 1, 0])
    assert len(result) == 3 and result.scores()["AR10_U"] == 0.5


def test_a_detector_that_finds_nothing_gets_nothing():
    nothing = {"boxes": [], "labels": [], "scores": []}
    truths = [{"boxes": [[0, 0, 5, 5]], "labels": [2]}, {"boxes": [], "labels": []}]
    scores = judge_boxes([nothing] * 2, truths, BASE, NAMES).scores()
    assert set(scores.values()) == {0}
