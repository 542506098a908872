"""Stored results: where they were measured, and that they come back."""

from __future__ import annotations

import pytest
import torch
from transfer_tiny import tiny_clip

from vlmtutor import stored


def test_fingerprint_changes_with_a_weight():
    model = tiny_clip()
    before = stored.fingerprint(model)
    assert before == stored.fingerprint(tiny_clip()) and len(before) == 12
    assert before != stored.fingerprint(tiny_clip(seed=1))
    with torch.no_grad():
        model.model.logit_scale += 1e-3
    assert stored.fingerprint(model) != before


def test_what_is_saved_comes_back(tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "FOLDER", tmp_path)
    rows = [{"seed": 0, "top-1": 0.5}, {"seed": 1, "top-1": 0.25}]
    results = {**stored.heading(), "rows": rows, "curves": {"x": [[0, 1], [2, 0.5]]}}
    path = stored.save(results, "06_pretraining")
    assert path == tmp_path / "06_pretraining.json"
    assert stored.load("06_pretraining") == results
    text = path.read_text("utf-8")
    assert '{ "seed": 0, "top-1": 0.5 }' in text and "[ [ 0, 1 ], [ 2, 0.5 ] ]" in text


def test_heading_names_date_and_machine():
    found = stored.heading()
    assert len(found["date"]) == 10
    assert found["machine"]["torch"] == torch.__version__


def test_a_missing_result_is_named():
    with pytest.raises(FileNotFoundError, match="99_nothing.json"):
        stored.load("99_nothing")


@pytest.mark.parametrize("text", ['{"rows": [', "", "no JSON", "[1, 2]"])
def test_a_torn_file_is_named_with_a_way_on(tmp_path, text):
    path = tmp_path / "torn.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="torn.json .*; git checkout"):
        stored.read(path)


def test_bytes_that_are_no_text_are_named_too(tmp_path):
    path = tmp_path / "bytes.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="bytes.json"):
        stored.read(path)


def test_what_was_there_stays_when_writing_fails(tmp_path):
    path = stored.write({"a": 1}, tmp_path / "x.json")
    with pytest.raises(TypeError):
        stored.write({"a": object()}, path)
    with pytest.raises(RuntimeError), stored.replacing(path) as part:
        part.write_text("half")
        raise RuntimeError
    assert stored.read(path) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_runs_are_flat_rows_and_means_are_over_those_that_have_it(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(stored, "FOLDER", tmp_path)
    rows = [
        {"row": "few", "labels": 1, "scores": {"x": 0.5}},
        {"row": "more", "labels": 2, "scores": {"x": 1.0, "y": 0.0}},
    ]
    parts = [
        {"part": "a", "seed": 0, "rows": rows},
        {"part": "b", "seed": 0, "labels": 1, "scores": {"x": 0.25}},
    ]
    stored.save({"parts": parts}, "n")
    found = stored.runs("n")
    named = [(r["part"], r["row"], r["seed"], r["x"]) for r in found]
    assert named == [("a", "few", 0, 0.5), ("a", "more", 0, 1), ("b", "b", 0, 0.25)]
    assert stored.means(found, "x", by="labels") == {1: 0.375, 2: 1}
    assert stored.means(found, "y", by="part") == {"a": 0}


@pytest.mark.parametrize(
    ("seeds", "dates", "mark"),
    [
        (1, ["2026-11-25"], "stored 2026-11-25, one run, here"),
        (3, ["2026-11-25", "2026-11-24"], "2026-11-24 to 2026-11-25, 3 seeds, no"),
        (8, ["2026-11-25"], "stored 2026-11-25, 8 seeds, here"),
    ],
)
def test_the_mark_of_a_stored_claim(seeds, dates, mark, tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "FOLDER", tmp_path)
    runs = [
        {"part": "a", "seed": k, "date": date, "machine": {"system": "here"}}
        for k in range(seeds)
        for date in dates
    ]
    stored.save({"parts": runs}, "n")
    assert mark in stored.origin("n")


def test_the_mark_of_some_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "FOLDER", tmp_path)
    same = {"machine": {"system": "Linux"}, "date": "2026-01-01"}
    runs = [{"part": p, "seed": s, **same} for p, s in (("a", 0), ("a", 1), ("b", 0))]
    stored.save({"parts": runs}, "n")
    assert "2 seeds, no verdict" in stored.origin("n", part="a")
    assert stored.origin("n", part="b") == stored.origin("n", seed=0)
    assert "one run" in stored.origin("n", seed=0)
    assert ", 1 to 2 seeds, no verdict, " in stored.origin("n")
