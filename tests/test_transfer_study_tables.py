"""The studies in which picture encoders run, at tiny sizes."""

from __future__ import annotations

import json

import pytest
from transfer_tiny import clip

from vlmtutor import stored
from vlmtutor.transfer import plans_adapters, study_adapters, study_tables, tasks
from vlmtutor.transfer.plans import Method
from vlmtutor.transfer.study import SEARCH_SEED, SEEDS, judge

METHODS = {
    "zero-shot": Method("zero-shot", learns=False),
    "probe": Method("linear probe", grid={"C": (1, 10)}),
    "CLIP-Adapter": Method("CLIP-Adapter", {"steps": 2}, {"ratio": (0.2,)}),
    "again": Method("CLIP-Adapter", {"steps": 2}, like="CLIP-Adapter"),
}


@pytest.fixture(scope="module")
def tiny():
    """A study of ten cats, and which pictures it drew."""
    drawn = []
    draw = tasks.Task._draw

    def noted(task, split, seed):
        drawn.append((tuple(task.classes), task.domain, split, seed))
        return draw(task, split, seed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks.Task, "_draw", noted)
        patch.setitem(tasks.GROUPS, "few", tasks.GROUPS["cats"][:4])
        dev = tasks.make_task(clip(), "few", "sketch", n_val=2)
        notes = study_tables.heading(clip(), (0, 1))
        notes["settings"], notes["search"] = study_tables.search(
            METHODS, dev, (1,), 2, say=lambda text: None
        )
        searched = list(drawn)
        task = study_tables.run_task(
            clip(),
            notes,
            METHODS,
            "cats",
            "night",
            (1, 2),
            (0, 1),
            n_test=2,
            n_kept=1,
            say=lambda text: None,
        )
    return notes, searched, task


def test_search_looks_at_validation_pictures_of_its_own_task(tiny):
    notes, searched, _ = tiny
    splits = {(split, seed) for _, _, split, seed in searched}
    assert splits == {("val", 0), ("train", SEARCH_SEED)}
    assert [row["C"] for row in notes["search"]["probe"]] == [1, 10]
    assert notes["settings"]["again"] == {"ratio": 0.2}
    assert notes["settings"]["zero-shot"] == {}


def test_rows_of_a_task(tiny):
    notes, _, task = tiny
    (title,) = notes["tables"]
    table = notes["tables"][title]
    runs = [(row["shots"], row["seed"]) for row in table["CLIP-Adapter"]]
    assert runs == [(1, 0), (1, 1), (2, 0), (2, 1)]
    assert len(table["zero-shot"]) == 1
    assert "novel" not in table["probe"][0]
    for rows in table.values():
        assert all(0 <= row["kept"] <= 1 for row in rows)
    assert notes["tasks"][title]["shots"] == [1, 2]
    assert len(task.test()) == 2 * len(task.classes)
    assert json.loads(json.dumps(notes)) == notes


def test_kept_is_measured_on_ordinary_stickers():
    split = study_tables.ordinary(clip(), "cats", 2)
    assert split.classes == list(tasks.GROUPS["cats"][::2])
    assert len(split) == 10
    same = tasks.make_task(clip(), "cats", "sticker", n_test=2).test("base")
    pairs = zip(split.pictures.images, same.pictures.images, strict=True)
    assert all(a.tobytes() == b.tobytes() for a, b in pairs)


def test_wise_ft_rows(tiny, monkeypatch):
    _, _, task = tiny
    monkeypatch.setattr(plans_adapters, "WISE_FT_SHOTS", (1,))
    monkeypatch.setattr(plans_adapters, "WISE_FT_PICTURES", 1)
    monkeypatch.setattr(study_adapters, "SEEDS", (0,))
    settings = {"blocks": 1, "steps": 1, "lr": 1e-3}
    rows = study_adapters.wise_rows(task, "cats", settings, lambda text: None)
    assert [row["alpha"] for row in rows] == list(plans_adapters.WISE_FT_ALPHAS)
    both = [row["alpha"] for row in rows if "novel" in row]
    assert both == [0.0, 0.5]
    assert all(row["parameters"] > 0 for row in rows)


def test_scene_rows(monkeypatch):
    monkeypatch.setattr(
        plans_adapters, "SCENES", dict.fromkeys(("train", "val", "test"), 6)
    )
    monkeypatch.setattr(plans_adapters, "CAPTIONS", 8)
    monkeypatch.setattr(plans_adapters, "SCENE_CLASSES", 3)
    for name in ("DUALCOOP", "TAI_DPT", "DENSECLIP"):
        monkeypatch.setitem(getattr(plans_adapters, name), "steps", 1)
        monkeypatch.setattr(plans_adapters, f"{name}_LR", (1e-3,))
    monkeypatch.setitem(plans_adapters.DUALCOOP, "negative", "picture of")
    monkeypatch.setattr(study_adapters, "SEEDS", (0, 1))
    found = {}
    study_adapters.scenes(clip(), found, lambda text: None)
    notes = found["scenes"]
    known = [row["known"] for row in notes["DualCoOp"]]
    assert known == list(plans_adapters.KNOWN) * 2
    assert [row["seed"] for row in notes["TaI-DPT"]] == [0, 1]
    for row in notes["DenseCLIP"] + notes["TaI-DPT"]:
        assert 0 <= row["start"] <= 1 and 0 <= row["score"] <= 1
    assert json.loads(json.dumps(notes)) == notes


def test_parts_are_stored_one_by_one(tmp_path, monkeypatch):
    monkeypatch.setattr(study_tables, "load_clip", clip)
    out = tmp_path / "a.json"

    def adds(key, value):
        return lambda clip, notes: notes.update({key: value})

    def run(*more, model="tiny", **parts):
        monkeypatch.setattr(clip(), "name", model)
        argv = ["--out", str(out), *more]
        study_tables.main("a", parts, "a study", argv)
        return json.loads(out.read_text(encoding="utf-8"))

    both = {"x": adds("one", 1), "y": adds("two", 2)}
    notes = run(**both)
    assert (notes["one"], notes["two"]) == (1, 2)
    assert list(notes["minutes"]) == ["x", "y"]
    both["y"] = adds("two", 3)
    notes = run("--parts", "y", **both)
    assert (notes["one"], notes["two"]) == (1, 3)
    with pytest.raises(SystemExit):  # half of it would be another model's
        run("--parts", "y", model="another", **both)
    both["x"] = lambda clip, notes: None
    assert "one" not in run(**both)  # all parts: begun anew


def test_merge_keeps_what_only_one_has():
    old = {"date": 1, "tables": {"a": [1], "b": [2]}, "rows": [1, 2]}
    new = {"date": 2, "tables": {"b": [3]}, "rows": [3]}
    assert study_tables.merge(old, new) == {
        "date": 2,
        "tables": {"a": [1], "b": [3]},
        "rows": [3],
    }


def test_captions_are_those_of_training_scenes():
    from vlmtutor.transfer.scene_sets import scene_set

    classes = list(tasks.GROUPS["cats"])
    found = study_adapters.some_captions(clip(), classes, seed=2)
    own = scene_set(clip(), classes, 3, "train", seed=2)
    assert found[:3] == own.captions


def test_stored_study_of_adapters_is_complete():
    path = stored.FOLDER / f"{study_adapters.NAME}.json"
    if not path.exists():
        pytest.skip("the study has not been run")
    notes = stored.load(study_adapters.NAME)
    assert notes["seeds"] == list(SEEDS)
    assert len(notes["tables"]) == len(plans_adapters.TASKS)
    for table in notes["tables"].values():
        assert list(table) == list(plans_adapters.METHODS)
    for task in notes["tasks"].values():
        assert 0.35 <= task["zero_shot"] <= 0.65
        assert 0.35 <= task["zero_shot_base"] <= 0.65
    for claim in plans_adapters.CLAIMS:
        assert judge(notes, claim)[0] in (
            "reproduced",
            "not reproduced",
            "inconclusive",
        )
