"""Curves, tables and verdicts of a stored study."""

from __future__ import annotations

import matplotlib
import pytest
import torch
from matplotlib.figure import Figure

from vlmtutor import stored
from vlmtutor.transfer import forgetting, report
from vlmtutor.verdict import Check, judge

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
        Check("learning helps", ("learns", 2), ("once", 0), "base"),
        Check("and hurts", ("once", 0), ("learns", 2), "base"),
    ]
    first, second = report.verdicts_text(notes, claims).splitlines()
    assert first.startswith("reproduced")
    assert first.split()[1:4] == ["+20.0", "+21.0", "+22.0"]
    assert first.endswith("learning helps")
    assert second.startswith("not reproduced")


def test_figures_are_means_over_the_tasks_that_have_the_shots(notes):
    notes["tasks"]["b"] = {"shots": [2]}
    notes["tables"]["b"] = {
        "once": [run(0, 0, 0.7)],
        "learns": [run(2, s, 1.0) for s in (0, 1, 2)],
    }
    found = report.figures(notes, "learns", "base", 1)
    assert found == pytest.approx([0.25, 0.26, 0.27])
    found = report.figures(notes, "learns", "base", 2)
    assert found == pytest.approx([0.75, 0.755, 0.76])
    # what ran once counts for every seed, on the same tasks
    assert report.figures(notes, "once", "base", 1) == [0.3] * 3
    assert report.figures(notes, "once", "base", 2) == pytest.approx([0.5] * 3)
    with pytest.raises(ValueError, match="no runs of learns with 4"):
        report.figures(notes, "learns", "base", 4)


def test_measures_of_a_run():
    halves = {"base": 0.5, "novel": 0.4, "base ECE": 0.1, "novel ECE": 0.3}
    assert report.measure(halves, "novel") == 0.4
    assert report.measure(halves, "H") == pytest.approx(0.4444, abs=1e-4)
    assert report.measure(halves, "both") == pytest.approx(0.45)
    assert report.measure(halves, "ECE") == pytest.approx(0.2)


def test_settings_of_a_task_or_of_all():
    notes = {"settings": {"a": {"lr": 1}, "b": {"x": {"lr": 2}, "y": {"lr": 3}}}}
    assert report.settings(notes, "a", "x") == {"lr": 1}
    assert report.settings(notes, "b", "y") == {"lr": 3}
    assert report.settings(notes, "none", "x") == {}


def test_checks_of_arms_that_are_not_stored_are_left_out(notes):
    checks = [
        Check("known", ("learns", 2), ("once", 0), "base"),
        Check("new", ("another", 2), ("once", 0), "base"),
    ]
    assert report.tried(notes, checks) == checks[:1]
    assert "new" not in report.verdicts_text(notes, checks)


def test_stored_verdicts_stand_in_place_of_the_old_rule(notes):
    own = {"verdict": "inconclusive", "value": 0.02, "low": -0.01, "high": 0.05}
    own |= {"name": "a claim (a task)", "by_seed": [0.02] * 8}
    own |= {"effect": 0.01, "at_least": False}
    text = report.verdicts_text({**notes, "checks": [own]}, [])
    assert "a claim (a task)" in text and "+2.0 [-1.0, +5.0]" in text
    assert report.scene_verdicts({"checks": []}) == "no verdict yet"


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    """Stored runs of two models; the bench's lacks a method at first."""
    monkeypatch.setattr(stored, "FOLDER", tmp_path)

    def write(*parts, rows=()):
        notes = {"choices": [], "parts": [dict(p) for p in parts], "rows": list(rows)}
        stored.write({"name": "x", **notes}, tmp_path / "x.json")

    return write


def part(name, backbone, **more):
    row = {"task": "t", "shots": 0, "strength": 0.5, "trained": 0}
    row |= {"scores": {"base": 0.5, "novel": 0.25}}
    head = {"part": name, "backbone": backbone, "seed": 0, "date": "2026-01-02"}
    return {**head, "rows": [row], **more}


def test_a_study_is_of_the_bench_s_backbone_where_it_is_whole(experiment):
    old = [part(m, "stickerclip", **{"carried over": "yes"}) for m in "ab"]
    experiment(*old, part("a", "phraseclip"))
    notes = report.study("x")
    assert notes["backbone"] == "stickerclip" and "earlier" in notes["origin"]
    check = {"name": "c", "verdict": "no verdict"}
    rows = [{"backbone": "phraseclip", "checks": [check]}]
    experiment(*old, *(part(m, "phraseclip") for m in "ab"), rows=rows)
    notes = report.study("x")
    assert notes["backbone"] == "phraseclip" and notes["checks"] == [check]
    assert notes["origin"] == "phraseclip, 2026-01-02, 1 seed"
    assert set(notes["tables"]["t"]) == {"a", "b"}


def test_forgetting_as_points_above_zero_shot_of_the_same_seed(experiment):
    for told in (forgetting.text, forgetting.verdicts):
        assert told(name="x") == "not run yet: python -m vlmtutor experiment x"

    def run(name, steps, novel, seed):
        row = {"task": "cats, night", "kind": "domain shift", "steps": steps}
        row["scores"] = {"novel": novel}
        return {"part": name, "backbone": "p", "seed": seed, "rows": [row]}

    zero = [run("zero-shot", 0, 0.5, 0), run("zero-shot", 0, 0.7, 1)]
    experiment(*zero, run("CoOp", 100, 0.6, 0), run("CoOp", 100, 0.6, 1))
    head, line = forgetting.text(name="x").splitlines()
    assert head.split() == ["method", "100", "steps", "seeds"]
    assert line.split()[-3:] == ["CoOp", "+0.0", "2"]


def test_forgetting_shows_where_each_starts_and_who_read(experiment):
    def run(name, seed, **row):
        row = {"task": "cats, lines", "kind": "class shift", **row}
        row["label"] = "cats, lines, read by s"
        return {"part": name, "backbone": "p", "seed": seed, "rows": [row]}

    parts = []
    for seed, novel in enumerate((0.5, 0.7)):
        scores = {"scores": {"novel": novel}}
        parts.append(run("zero-shot", seed, steps=0, **scores))
        hand = {"novel": novel - 0.1}
        parts.append(run("hand prompt", seed, steps=0, scores=hand))
        more = {"steps": 100, "step0": hand, **scores}
        parts.append(run("CoOp", seed, **more))
    experiment(*parts)
    head, hand, coop = forgetting.text(name="x").splitlines()
    assert head.split() == ["method", "0", "steps", "100", "steps", "seeds"]
    assert hand.startswith("class shift: cats, lines, read by s")
    assert hand.split()[-5:] == ["hand", "prompt", "-10.0", "–", "2"]
    assert coop.split()[-4:] == ["CoOp", "-10.0", "+0.0", "2"]
    ax = axes()
    forgetting.plot([ax], ["CoOp", "KgCoOp"], name="x")
    (line,) = [line for line in ax.lines if line.get_label() == "CoOp"]
    assert line.get_ydata() == pytest.approx([-10, 0])
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0", "100"]
    assert ax.get_title() == "class shift:\ncats, lines, read by s"


def test_verdicts_on_forgetting_are_the_stored_ones(experiment):
    draws = {"value": 0.1, "draws": [0.1] * 5}
    check = {"name": "it forgets (cats)", **judge([draws] * 8)}
    experiment(part("CoOp", "p"), rows=[{"checks": [check]}, {"checks": []}])
    told = forgetting.verdicts(name="x")
    assert "reproduced" in told and "it forgets (cats)" in told


def test_losses_are_shown_as_means_over_seeds():
    vp = [
        {"shots": 16, "losses": [3.0 - k / 10 + s for k in range(10)]} for s in (0, 1)
    ]
    table = {"zero-shot": [{"shots": 0}], "VP": [*vp, {"shots": 1, "losses": [9.0]}]}
    head, line = report.losses_text({"tables": {"t": table}}, "t").splitlines()
    assert head.split()[:3] == ["loss", "10", "%"]
    assert line.split() == ["VP", *(f"{3.5 - k / 10:.2f}" for k in range(10))]
    old = {"tables": {"t": {"VP": [{"shots": 16}]}}}
    assert report.losses_text(old, "t") == "no losses are stored"
