"""Floors, ceilings and gates, on a tiny bench and by hand."""

from __future__ import annotations

import pytest
import torch
from distill_tiny import bench
from transfer_tiny import close

from vlmtutor.distill.bench import gates, references
from vlmtutor.distill.bench.score import Result
from vlmtutor.distill.bench.trial import Trial


def test_fractions_of_a_patch():
    labels = torch.zeros(1, 8, 8, dtype=torch.long)
    labels[0, :2, :4] = 1  # half of the first of 2 × 2 patches
    share = references.fractions(labels, 2, 4)
    assert share.shape == (1, 2, 2, 2)
    close(share[0, 1], torch.tensor([[0.5, 0.0], [0.0, 0.0]]))
    fine = references.shifted_fractions(labels, 2, 4)
    assert fine.shape == (1, 2, 4, 4)
    # windows of 4 px around 1, 3, 5 and 7 px; edges are repeated
    close(fine[0, 1, 0], torch.tensor([0.75, 0.5625, 0.1875, 0.0]))
    close(fine.sum(1), torch.ones(1, 4, 4))


def test_painting_shows_the_surer_mask():
    masks = torch.zeros(1, 2, 2, 2, dtype=torch.bool)
    masks[0, 0, 0] = masks[0, 1, :, 0] = True
    names, order = torch.tensor([[3, 5]]), torch.tensor([[0.4, 0.9]])
    labels = references.paint(masks, names, 9, order)
    assert labels[0].tolist() == [[5, 3], [5, 9]]


def test_ceilings_are_high_and_the_finer_grid_is_higher():
    b = bench()
    plain, shifted = (
        references.ceiling(fine)(b).scores()["all"] for fine in (False, True)
    )
    chance = references.chance(b).scores()["all"]
    assert chance < plain < shifted


def test_true_masks_with_true_names_would_be_perfect():
    b = bench()
    masks = references.true_masks(b)
    names = references.region_labels(b.truth, masks).clamp(max=99)
    labels = references.paint(masks, names, len(b.names))
    assert torch.equal(labels.long(), b.truth)


def test_every_reference_gives_a_result_once(monkeypatch):
    from vlmtutor.distill.parts import proposer

    monkeypatch.setattr(references, "STUDENT_STEPS", 1)
    train = proposer.train_proposer
    monkeypatch.setattr(
        proposer,
        "train_proposer",
        lambda *args, **kw: train(*args, **{**kw, "steps": 1}),
    )
    monkeypatch.setattr(references, "PIXEL_STEPS", 1)
    trial = Trial(bench(), None)
    for reference in references.REFERENCES:
        result = trial.reference(reference.name)
        assert trial.reference(reference.name) is result
        assert len(result) == 6 and 0 <= result.scores()["h"] <= 1
    with pytest.raises(KeyError, match="chance"):
        trial.reference("no such")


def test_gates_are_measured_and_say_what_is_too_low():
    figures = gates.measure(bench())
    assert set(figures) == {*gates.LIMITS, *gates.NO_LIMIT}
    assert figures["mask scenes without a novel sticker"] == 1
    gates.check_types(bench())
    good = {name: limit + 0.1 for name, limit in gates.LIMITS.items()}
    assert gates.closed(good) == [] and gates.room(good) == pytest.approx(0.1)
    (low,) = gates.closed({**good, "crop accuracy, novel": 0.5})
    assert low.startswith("crop accuracy, novel is 0.500")


def test_results_hold_the_answers_of_both_kinds():
    b = bench()
    result = references.oracle_masks(b)
    assert isinstance(result, Result) and result.named is not None
