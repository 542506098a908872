"""Curves, tables and verdicts of a stored study."""

from __future__ import annotations

import matplotlib
import pytest
import torch

from vlmtutor.transfer import report
from vlmtutor.transfer.plans import Claim

matplotlib.use("Agg")


def run(shots, seed, base, novel=0.5):
    return {"shots": shots, "seed": seed, "base": base, "novel": novel}


@pytest.fixture
def notes():
    learns = [run(k, s, k / 4 + s / 100) for k in (1, 2) for s in (0, 1, 2)]
    return {
        "seeds": [0, 1, 2],
        "tasks": {"a": {"shots": [1, 2]}},
        "tables": {"a": {"once": [run(0, 0, 0.3)], "learns": learns}},
    }


def axes():
    from matplotlib.figure import Figure

    return Figure().subplots()


def test_figures_of_a_method_by_shots(notes):
    rows = notes["tables"]["a"]["learns"]
    found = report.by_shots(rows)
    assert list(found) == [1, 2]
    assert found[2] == pytest.approx([0.5, 0.51, 0.52])
    assert report.by_shots(rows, "novel")[1] == [0.5] * 3


def test_curves_have_means_and_bands_from_worst_to_best(notes):
    ax = axes()
    report.plot_curves(ax, notes["tables"]["a"], ["once", "learns"])
    level, curve = ax.lines
    assert list(level.get_ydata()) == [0.3, 0.3]
    assert list(curve.get_ydata()) == pytest.approx([0.26, 0.51])
    (band,) = ax.collections
    y = band.get_paths()[0].vertices[:, 1]
    assert (y.min(), y.max()) == pytest.approx((0.25, 0.52))
    assert [t.get_text() for t in ax.get_legend().texts] == ["once", "learns"]


def test_halves_and_their_table(notes):
    found = report.halves(notes, ["once", "learns"], shots=2)
    assert found["learns"].shape == (3, 3)
    torch.testing.assert_close(found["once"][:, 0], torch.tensor([0.3, 0.5, 0.375]))
    title, once, learns = report.halves_text(found).splitlines()
    assert title.split() == ["base", "novel", "H"]
    assert once.split() == "once 30.0 ± 0.0 50.0 ± 0.0 37.5 ± 0.0".split()
    assert learns.split()[:4] == ["learns", "51.0", "±", "1.0"]
    assert len({len(title), len(once), len(learns)}) == 1
    ax = axes()
    report.plot_halves(ax, found)
    assert list(ax.lines[0].get_xdata()) == pytest.approx([0.3, 0.51])
    assert list(ax.lines[1].get_xdata()) == pytest.approx([0.3, 0.3])


def test_verdicts_are_lines(notes):
    claims = [
        Claim("learning helps", "learns", "once", "base", 2),
        Claim("and hurts", "once", "learns", "base", 2),
    ]
    first, second = report.verdicts_text(notes, claims).splitlines()
    assert first.startswith("reproduced")
    assert first.split()[1:4] == ["+20.0", "+21.0", "+22.0"]
    assert first.endswith("learning helps")
    assert second.startswith("not reproduced")
