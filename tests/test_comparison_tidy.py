"""The tidy file: what is stored, under which names, the same each time."""

import dataclasses

import pytest

from vlmtutor import stored
from vlmtutor.__main__ import main
from vlmtutor.distill import METHODS
from vlmtutor.distill.comparison import tidy
from vlmtutor.experiments import comparison

SEGMENTER = {
    "part": "ZSSeg",
    "backbone": "phraseclip",
    "seed": 3,
    "rows": [
        {
            "row": "ZSSeg",
            "table": "inductive",
            "scores": {
                "S": 0.5,
                "U": 0.4,
                "accuracy": 0.9,
                "noisy": {"U": 0.3},
                "boxes": {"U": 0.2},
                "masks": {"U": 0.1},
                "true masks": {"U": 0.6},
            },
            "step0": {"U": 0.05, "accuracy": 0.1},
            "fit_s": 12.5,
            "ms": 3.0,
            "teacher_s": None,
            "trained": 1234567,
            "gate": -0.02,
        }
    ],
}
DETECTOR = {
    "part": "ViLD",
    "backbone": "stickerclip",
    "seed": 0,
    "carried over": "from before",
    "rows": [
        {
            "row": "ViLD, oln, novel things elsewhere",
            "table": "ablation",
            "scores": {
                "own": {"U": 0.7, "mask_AP_U": 0.2, "U_alone": 0.9},
                "common": {"U": 0.6, "AP75_U": 0.3, "mask_AP_U": 0.1},
                "noisy": {"U": 0.5},
                "oracles": {"true names": {"U": 0.8}},
                "fates": {"right": 0.4},
            },
        }
    ],
}


@pytest.fixture
def folder(tmp_path):
    stored.write({"parts": [SEGMENTER]}, tmp_path / "segmentation.json")
    stored.write({"parts": [DETECTOR]}, tmp_path / "detection.json")
    return tmp_path


def values(scores, task):
    own = [s for s in scores if s.task == task]
    return {(s.scenes, s.score): s.value for s in own}


def test_a_segmenters_figures_have_names(folder):
    found = comparison.scores_of(folder)
    assert values(found, "segmentation") == {
        ("clean", "S"): 0.5,
        ("clean", "U"): 0.4,
        ("noisy", "U"): 0.3,
        ("clean", "box U"): 0.2,
        ("clean", "mask U"): 0.1,
        ("clean", "U, true masks"): 0.6,
        ("clean", "U, before training"): 0.05,
        ("", "fit s"): 12.5,
        ("", "ms"): 3.0,
        ("", "trained"): 1234567,
        ("", "gate"): -0.02,
    }
    first = found[0]
    assert (first.method, first.table, first.seed) == ("ZSSeg", "inductive", 3)
    assert first.program == "today"


def test_a_detectors_figures_tell_the_rule_and_the_scenes(folder):
    found = comparison.scores_of(folder)
    assert values(found, "detection") == {
        ("base-only boxes", "own box U"): 0.7,
        ("base-only boxes", "own mask U"): 0.2,
        ("base-only boxes", "own box U alone"): 0.9,
        ("base-only boxes", "box U"): 0.6,
        ("base-only boxes", "box AP75 U"): 0.3,
        ("base-only boxes", "mask U"): 0.1,
        ("noisy", "own box U"): 0.5,
        ("base-only boxes", "own box U, true names"): 0.8,
        ("base-only boxes", "fates right"): 0.4,
    }
    own = [s for s in found if s.task == "detection"]
    assert {(s.row, s.program) for s in own} == {("ViLD, oln", "earlier")}


def test_what_is_written_is_read_again(folder, tmp_path):
    found = comparison.scores_of(folder)
    path = tmp_path / "comparison.csv"
    path.write_text(comparison.as_csv(found), encoding="utf-8")
    assert tidy.read_scores(path) == found
    assert comparison.as_csv(found) == comparison.as_csv(comparison.scores_of(folder))


def test_the_reader_says_what_is_wrong(tmp_path):
    with pytest.raises(FileNotFoundError, match="comparison makes it again"):
        tidy.read_scores(tmp_path / "none.csv")
    path = tmp_path / "c.csv"
    path.write_text("a,b\n")
    with pytest.raises(ValueError, match="other columns"):
        tidy.read_scores(path)
    path.write_text(",".join(tidy.COLUMNS) + "\nViLD,ViLD\n")
    with pytest.raises(ValueError, match="another form"):
        tidy.read_scores(path)


def test_the_command_writes_checks_and_rewrites_nothing(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "FOLDER", folder)
    out = tmp_path / "out" / "comparison.csv"
    assert main(["comparison", "--out", str(out), "--check"]) == 1
    assert main(["comparison", "--out", str(out)]) == 0
    assert main(["comparison", "--out", str(out), "--check"]) == 0
    before = out.stat().st_mtime_ns
    assert main(["comparison", "--out", str(out)]) == 0
    assert out.stat().st_mtime_ns == before
    text = out.with_suffix(".md").read_text(encoding="utf-8")
    assert all(f"| {name} |" in text for name in (*tidy.COLUMNS, *tidy.SCORES))
    out.write_text("torn")
    assert main(["comparison", "--out", str(out), "--check"]) == 1


def test_a_torn_store_is_an_error_and_writes_nothing(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "FOLDER", folder)
    (folder / "detection.json").write_text("{")
    out = tmp_path / "out.csv"
    assert main(["comparison", "--out", str(out)]) == 1
    assert not out.exists()


def test_the_courses_file_is_what_stored_results_give():
    """If not: python -m vlmtutor comparison, then notebook 18 again."""
    assert tidy.FILE.read_text(encoding="utf-8") == comparison.as_csv(
        comparison.scores_of()
    )
    notes = tidy.FILE.with_suffix(".md").read_text(encoding="utf-8")
    assert notes == comparison.as_markdown()


def test_no_line_of_the_courses_file_stands_twice():
    found = [(s[:-1], s[-1]) for s in tidy.lines(tidy.read_scores())]
    assert len({key for key, _ in found}) == len(found)


def score(method, value, row=None, seed=0, **more):
    kind = {
        "task": "segmentation",
        "table": "inductive",
        "backbone": "phraseclip",
        "program": "today",
        "scenes": "clean",
        "score": "U",
    } | more
    return tidy.Score(method, row or method, seed=seed, value=value, **kind)


SCORES = [
    score("references", 0.1, row="chance", table="reference"),
    score("SSIW", 0.2, row="SSIW (predicted labels)"),
    score("SSIW", 0.4, row="SSIW (oracle labels)"),
    score("ZSSeg", 0.5, row="ZSSeg (other)"),
    score("ZSSeg", 0.6, seed=0),
    score("ZSSeg", 0.8, seed=1),
    score("ReCo", 0.3, program="earlier"),
    score("ViLD", 0.9, task="detection", score="box U"),
]


def test_a_method_has_one_main_row():
    rows = tidy.main_rows(SCORES, "segmentation", "phraseclip")
    assert rows == {
        "SSIW": "SSIW (predicted labels)",
        "ReCo": "ReCo",
        "ZSSeg": "ZSSeg",
    }
    own = tidy.of_methods(SCORES, "U", "segmentation", "phraseclip")
    assert own["ZSSeg"] == {0: 0.6, 1: 0.8}
    assert tidy.mean(own["ZSSeg"]) == pytest.approx(0.7)


def test_two_values_of_a_seed_are_an_error():
    with pytest.raises(ValueError, match="several values"):
        tidy.by_row([score("ZSSeg", 0.1), score("ZSSeg", 0.2)])


def test_what_is_not_measured_is_named_and_counted():
    left = tidy.missing(SCORES, "segmentation", "phraseclip")
    assert "ZSSeg" not in left and "ReCo" in left and "LSeg" in left
    (seg, det) = tidy.how_far(SCORES, ["phraseclip"])
    assert seg == ("segmentation", "phraseclip", 2, 14, (1, 2))
    assert det == ("detection", "phraseclip", 1, 19, (1, 1))
    assert len(METHODS) == 33


def test_exporter_names_only_stored_experiments():
    from vlmtutor.experiments import EXPERIMENTS

    assert set(comparison.SOURCES) <= set(EXPERIMENTS)


def test_rows_of_no_method_are_no_methods_twin():
    twin = dataclasses.replace(SCORES[0], method="an ablation")
    some = [*SCORES, twin, twin]
    asked = SCORES[0].score, SCORES[0].task, SCORES[0].backbone
    assert tidy.of_methods(some, *asked) == tidy.of_methods(SCORES, *asked)
