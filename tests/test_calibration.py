"""Temperature scaling and reliability."""

import pytest
import torch
import torch.nn.functional as F

from vlmtutor.calibration import fit_temperature, reliability
from vlmtutor.metrics import expected_calibration_error


def noisy_logits(n=2000, classes=5, seed=0):
    """Logits, and labels drawn from exactly their softmax."""
    g = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(n, classes, generator=g)
    labels = torch.multinomial(logits.softmax(1), 1, generator=g)[:, 0]
    return logits, labels


@pytest.mark.parametrize("factor", [0.2, 1.0, 7.0])
def test_temperature_undoes_a_factor(factor):
    logits, labels = noisy_logits()
    assert fit_temperature(factor * logits, labels) == pytest.approx(factor, rel=0.08)


def test_no_other_temperature_fits_better():
    logits, labels = noisy_logits(n=300)
    best = fit_temperature(logits, labels)
    losses = [
        F.cross_entropy(logits / t, labels) for t in (0.9 * best, best, 1.1 * best)
    ]
    assert losses[1] < losses[0] and losses[1] < losses[2]


def test_temperature_mends_calibration_and_keeps_answers():
    logits, labels = noisy_logits()
    sure = 5 * logits
    t = fit_temperature(sure, labels)
    before = expected_calibration_error(sure.softmax(1), labels)
    after = expected_calibration_error((sure / t).softmax(1), labels)
    assert after < 0.3 * before
    assert torch.equal((sure / t).argmax(1), sure.argmax(1))


def test_temperature_of_the_extremes():
    logits = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    always_right = fit_temperature(logits, torch.tensor([0, 1]))
    always_wrong = fit_temperature(logits, torch.tensor([1, 0]))
    assert always_right == pytest.approx(1e-3, rel=1e-3)
    assert always_wrong == pytest.approx(1e3, rel=1e-3)


def test_temperature_refuses_other_shapes():
    with pytest.raises(ValueError, match="logits are"):
        fit_temperature(torch.zeros(3), torch.zeros(3))
    with pytest.raises(ValueError, match="no logits"):
        fit_temperature(torch.zeros(0, 2), torch.zeros(0))


def test_reliability_by_hand_and_as_the_error_counts_it():
    p = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.42, 0.58], [0.45, 0.55]])
    labels = torch.tensor([0, 1, 1, 1])
    rows = reliability(p, labels, bins=5)
    assert [n for *_, n in rows] == [2, 2]  # 0.4–0.6 and 0.6–1.0 hold them
    assert rows[0][0] == pytest.approx(0.565)
    assert rows[0][1] == 1.0
    error = sum(n * abs(c - a) for c, a, n in rows) / 4
    assert error == pytest.approx(
        expected_calibration_error(p, labels, bins=5), abs=1e-6
    )


LOGITS, LABELS = noisy_logits(20)


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda: fit_temperature(LOGITS.softmax(1), LABELS), "before the softmax"),
        (lambda: fit_temperature(LOGITS * torch.nan, LABELS), "NaN"),
        (lambda: fit_temperature(LOGITS, LABELS + 5), "outside 0 … 4"),
        (lambda: reliability(LOGITS, LABELS), "must sum to 1: softmax comes first"),
        (lambda: reliability(LOGITS.softmax(1), LABELS[:, None]), r"\[20, 1\]"),
        (lambda: reliability(LOGITS.softmax(1), LABELS[:3]), r"\[20, 5\] and \[3\]"),
        (lambda: reliability(LABELS, LOGITS), "probabilities are"),
        (lambda: reliability(LOGITS.softmax(1), LABELS, bins=0), "at least 1"),
    ],
)
def test_what_would_give_a_wrong_number_is_refused(mistake, message):
    with pytest.raises(ValueError, match=message):
        mistake()


def test_lists_and_arrays_will_do():
    p = LOGITS.softmax(1)
    rows = reliability(p, LABELS)
    assert reliability(p.numpy(), LABELS.numpy()) == rows
    assert reliability(p.tolist(), LABELS.tolist())[0] == pytest.approx(rows[0])
    t = fit_temperature(LOGITS, LABELS)
    assert fit_temperature(LOGITS.numpy(), LABELS.tolist()) == pytest.approx(t)
