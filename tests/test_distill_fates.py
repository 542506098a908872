"""What becomes of novel things, by hand; and stored rows, there or not."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from distill_tiny import box_bench

from vlmtutor import stored
from vlmtutor.distill.bench import box_results
from vlmtutor.distill.bench.fates import FATES, draw_fates, fates, shares
from vlmtutor.distill.detection import hierkd, vild
from vlmtutor.distill.supervision import Boxed, BoxedCaptioned

BASE = 1  # of three names: lion; tiger and bee are novel
THING = [10.0, 10, 20, 20]


def fate(says, box=THING, label=1, quality=1.0):
    """Of a tiger whose one box says that of the three names."""
    truth = [{"boxes": [THING], "labels": [label]}]
    table = torch.tensor(box).view(1, 1, 4)
    sure, scores = torch.tensor([[quality]]), torch.tensor(says).view(1, 1, 3)
    return [FATES[k] for k in fates(table, sure, scores, truth, BASE)]


def test_each_fate_by_hand():
    assert fate([0.1, 0.6, 0.1]) == ["right"]
    assert fate([0.1, 0.2, 0.5]) == ["another novel name"]
    assert fate([0.6, 0.2, 0.1]) == ["a base name"]
    assert fate([0.2, 0.3, 0.1]) == ["background"]  # which has .4
    assert fate([0.0, 0.0, 0.0]) == ["background"]
    assert fate([0.1, 0.8, 0.0], box=[18.0, 10, 28, 20]) == ["missed"]
    assert fate([0.1, 0.8, 0.0], quality=0.0) == ["missed"]
    assert fate([0.9, 0.0, 0.0], label=0) == []  # a base thing


def test_the_box_that_fits_best_decides():
    truth = [{"boxes": [THING], "labels": [1]}]
    boxes = torch.tensor([[[10.0, 10, 20, 18], THING]])
    scores = torch.tensor([[[0.9, 0.0, 0.0], [0.0, 0.9, 0.0]]])
    found = fates(boxes, torch.ones(1, 2), scores, truth, BASE)
    assert shares(found) == dict.fromkeys(FATES, 0.0) | {"right": 1.0}


def test_shares_of_nothing_are_none():
    assert set(shares(torch.zeros(0, dtype=torch.long)).values()) == {0.0}


@pytest.mark.parametrize("module", [vild, hierkd])
def test_detectors_of_both_kinds_have_fates(module):
    bench = box_bench()
    kind = {vild: Boxed, hierkd: BoxedCaptioned}[module]
    model = module.fit(bench.clip, bench.data(kind), 0, steps=1)
    found = bench.fates(model)
    assert sum(found.values()) == pytest.approx(1, abs=1e-5)
    boxes, quality, own = model.proposed(bench.test_pictures, bench.names)
    assert boxes.shape[:2] == quality.shape == own.shape[:2]
    assert own.shape[2] == len(bench.names)
    if module is vild:  # a detector that says nothing leaves nothing named
        mute = dataclasses.replace(model, background="quality")
        assert bench.fates(mute)["missed"] == found["missed"]


def row(method, **changes):
    own = {"S": 0.9, "U": 0.5, "h": 0.64, "U_alone": 0.7, "AP75_U": 0.2}
    scores = {"own": own, "common": {**own, "U": 0.6}}
    scores["fates"] = dict.fromkeys(FATES, 0.2)
    return {
        "method": method,
        "row": f"{method}, a row",
        "backbone": "phraseclip",
        "scores": scores,
        "by_seed": {"own": {"U": [0.4, 0.6]}},
        "seeds": [0, 1],
        "ms": 3.2,
        "fit_s": None,
        "checks": [{"name": method}],
        **changes,
    }


def test_rows_are_shown_and_missing_ones_named():
    rows = [row("ViLD"), row("references", scores=None)]
    lines = box_results.rows_of(rows[:1], ["ViLD", "OADP"]).splitlines()
    assert lines[0].split()[:3] == ["S", "U", "h"]
    shown = ["90.0", "50.0", "[40.0–60.0]", "64.0", "70.0", "60.0", "20.0", "3", "–"]
    assert lines[1].split()[3:] == [*shown, "2"]
    assert lines[2] == "OADP: no row is stored yet"
    assert box_results.rows_of([], ["ViLD"]) == "ViLD: no row is stored yet"
    assert box_results.checks_of(rows, ["ViLD"]) == [{"name": "ViLD"}]
    assert box_results.fates_of(rows) == {"ViLD, a row": [0.2] * 5}


def test_what_was_never_run_has_no_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "FOLDER", tmp_path)
    assert box_results.stored_rows() == []
    other = row("ViLD", backbone="stickerclip")
    stored.save({"rows": [row("ViLD"), other]}, "detection")
    assert box_results.stored_rows() == [row("ViLD")]


def test_what_was_expected_stands_beside_what_was_found(tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "FOLDER", tmp_path)
    assert box_results.expected() == []
    assert box_results.as_expected([], ["ViLD"]) == "as expected: 0 of 0"
    told = [
        {"method": "ViLD", "check": name, "expected": "reproduced", "why": "…"}
        for name in ("crops help", "words help", "asked of nobody")
    ]
    notes = {"choices": [{"part": "F-VLM"}, {"part": "x", "predictions": told}]}
    stored.save(notes, "detection")
    assert box_results.expected() == told
    verdicts = {"crops help": "reproduced", "words help": "inconclusive"}
    checks = [{"name": name, "verdict": v} for name, v in verdicts.items()]
    other = [{"name": "crops help", "verdict": "one run"}]  # asks the same
    rows = [row("ViLD", checks=checks), row("OADP", checks=other)]
    first, second, last = box_results.as_expected(rows, ["ViLD"]).splitlines()
    assert first.split()[1:5] == ["expected", "reproduced", "found", "reproduced"]
    assert "found inconclusive" in second and second.endswith("words help")
    assert last == "as expected: 1 of 2"
    assert box_results.as_expected(rows, ["OADP"]) == "as expected: 0 of 0"


def test_bars_are_stacked_in_order():
    import matplotlib

    matplotlib.use("Agg")
    parts = [0.4, 0.1, 0.2, 0.25, 0.05]
    (ax,) = draw_fates({"one": parts, "two": [0.0, 0.0, 0.0, 1.0, 0.0]}).axes
    ours = [bars.patches[0] for bars in ax.containers]
    assert [bar.get_width() for bar in ours] == pytest.approx(parts)
    assert [bar.get_x() for bar in ours] == pytest.approx([0, 0.4, 0.5, 0.7, 0.95])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [*FATES]
