"""The machine for experiments: the same numbers always, nothing lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import experiment_tiny as tiny
import psutil
import pytest

from vlmtutor import stored
from vlmtutor.experiments import EXPERIMENTS, rows
from vlmtutor.experiments.experiment import Seconds, keep, open_notes
from vlmtutor.experiments.run import Failed, results, run

TESTS = Path(__file__).parent


def numbers(notes: dict) -> list:
    return [(r["part"], r["seed"], r["rows"][0]["scores"]) for r in notes["parts"]]


def test_workers_do_not_change_a_number(tmp_path):
    experiment = replace(tiny.DRAWS, seeds=3)
    one = run(experiment, workers=1, path=tmp_path / "1.json")
    three = run(experiment, workers=3, path=tmp_path / "3.json")
    assert numbers(one) == numbers(three)
    assert [r[:2] for r in numbers(one)] == [
        (part, seed) for part in ("good", "coin") for seed in range(3)
    ]
    assert len({str(scores) for *_, scores in numbers(one)}) > 2
    assert {r["rows"][0]["threads"] for r in one["parts"]} == {1}


def test_a_part_does_not_see_which_names_were_asked_for_before(tmp_path):
    notes = run(tiny.ASKING, path=tmp_path / "x.json")
    assert [r["scores"] for r in notes["parts"]] == [{"kept": 0.0}] * 4


def test_a_part_keeps_what_it_was_measured_with(tmp_path):
    notes = run(tiny.DRAWS, [("good", "stickerclip", 0)], path=tmp_path / "x.json")
    (record,) = notes["parts"]
    assert record["code"] == tiny.DRAWS.hash("good")
    assert record["machine"]["threads"] == 1 and len(record["date"]) == 10
    assert record["seconds"] >= record["rows"][0]["fit_s"] >= 0
    assert stored.read(tmp_path / "x.json") == notes


def test_what_is_stored_is_not_run_again_unless_asked(tmp_path, monkeypatch):
    monkeypatch.setenv("VLMTUTOR_TEST_FOLDER", str(tmp_path))
    path, quick = tmp_path / "w.json", ("quick", "stickerclip", 0)
    for again in (False, False, True):
        run(tiny.WAITING, [quick], path=path, again=again)
    assert len((tmp_path / "ran").read_text().splitlines()) == 2


def test_what_another_command_stores_while_verdicts_are_made_stays(
    tmp_path, monkeypatch
):
    path = tmp_path / "x.json"

    def slow(experiment, notes):
        other = {**notes["parts"][0], "seed": 1}
        keep(experiment, path, other)
        return rows.rows(experiment, notes)

    monkeypatch.setattr("vlmtutor.experiments.run.rows", slow)
    notes = run(tiny.DRAWS, [("good", "stickerclip", 0)], path=path)
    assert [part["seed"] for part in notes["parts"]] == [0, 1]
    assert stored.read(path) == notes and notes["rows"]


def test_commands_that_store_at_once_lose_nothing_of_each_other(tmp_path, monkeypatch):
    path, seeds = tmp_path / "x.json", range(6)
    notes = run(tiny.DRAWS, [("good", "stickerclip", 0)], path=path)
    write = stored.write

    def slowly(results, path):
        time.sleep(0.05)  # long enough for all to have read the same
        return write(results, path)

    monkeypatch.setattr(stored, "write", slowly)
    with ThreadPoolExecutor(len(seeds)) as pool:
        others = ({**notes["parts"][0], "seed": seed} for seed in seeds)
        list(pool.map(lambda record: keep(tiny.DRAWS, path, record), others))
    assert [part["seed"] for part in stored.read(path)["parts"]] == [*seeds]


def test_a_killed_run_loses_only_the_parts_in_work(tmp_path):
    path = [str(TESTS.parent), str(TESTS), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "VLMTUTOR_TEST_FOLDER": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(path),
    }
    command = [sys.executable, "-c", "import experiment_tiny as e; e.main()"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    file, ran = tmp_path / "waiting.json", tmp_path / "ran"
    try:
        wait_for(lambda: file.exists() and len(stored.read(file)["parts"]) == 2)
        wait_for(lambda: ran.read_text().count("slow") == 2)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    workers = {int(line.split()[2]) for line in ran.read_text().splitlines()}
    wait_for(lambda: not any(map(alive, workers)))
    assert {r["part"] for r in stored.read(file)["parts"]} == {"quick"}
    assert not list(tmp_path.glob(".*.part"))

    (tmp_path / "go").touch()
    subprocess.run(command, env=environment, check=True, stderr=subprocess.DEVNULL)
    notes = stored.read(file)
    assert [(r["part"], r["seed"]) for r in notes["parts"]] == [
        ("quick", 0),
        ("quick", 1),
        ("slow", 0),
        ("slow", 1),
    ]
    assert ran.read_text().count("quick") == 2  # once each, before the kill


def wait_for(condition) -> None:
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("waited in vain")


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_part_that_raises_stops_no_other(tmp_path):
    path = tmp_path / "b.json"
    with pytest.raises(Failed, match="a, stickerclip, seed 1: .*second seed is bad"):
        run(tiny.BROKEN, path=path)
    assert [r["seed"] for r in stored.read(path)["parts"]] == [0, 2]


def test_knobs_are_chosen_once_and_stored_with_the_grid(tmp_path):
    notes = run(tiny.KNOBS, workers=2, path=tmp_path / "k.json")
    (choice,) = notes["choices"]
    assert choice["chosen"] == {"lr": 2}
    assert [row["score"] for row in choice["grid"]] == [-1, 0, -1]
    assert [r["scores"] for r in notes["parts"]] == [
        {"lr": 2, "seed": 0},
        {"lr": 2, "seed": 1},
    ]
    (row,) = rows.rows(tiny.KNOBS, notes)
    assert row["chosen"] == {"lr": 2} and len(row["grid"]) == 3


def test_a_seeds_parts_run_beside_each_other_once_all_is_chosen():
    parts = {"a": tiny.with_knob, "b": tiny.with_knob}
    turned = replace(tiny.KNOBS, parts=parts, by_seed=True)
    found = results(turned, turned.keys(), {}, bar=False)
    order = [(record["part"], record.get("seed")) for record in found]
    chosen = [("a", None), ("b", None)]
    assert order == [*chosen, ("a", 0), ("b", 0), ("a", 1), ("b", 1)]


def test_fewer_seeds_for_some_parts_and_backbones():
    experiment = replace(
        tiny.DRAWS,
        backbones=("stickerclip", "other"),
        fewer={"coin": 2, "other": 3},
    )
    count = {}
    for part, backbone, _ in experiment.keys():
        count[part, backbone] = count.get((part, backbone), 0) + 1
    assert count == {
        ("good", "stickerclip"): 8,
        ("good", "other"): 3,
        ("coin", "stickerclip"): 2,
        ("coin", "other"): 2,
    }
    assert len(experiment.keys(["coin"], seeds=5)) == 10


def test_seconds_add_up_by_name():
    seconds = Seconds()
    for _ in range(2):
        with seconds("fit_s"):
            time.sleep(0.01)
    assert set(seconds) == {"fit_s"} and seconds["fit_s"] >= 0.02


def test_notes_of_nothing_are_empty_and_torn_ones_are_named(tmp_path):
    path = tmp_path / "t.json"
    assert open_notes(tiny.DRAWS, path)["parts"] == []
    path.write_text('{"parts": [', encoding="utf-8")
    with pytest.raises(ValueError, match="t.json is torn .* experiment draws"):
        open_notes(tiny.DRAWS, path)


# rows and the command


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("draws") / "draws.json"
    run(tiny.DRAWS, workers=2, path=path)
    return path


@pytest.fixture
def command(monkeypatch, capsys):
    """Run the command; (code, stdout, stderr)."""
    from vlmtutor.__main__ import main

    for name in ("DRAWS", "BROKEN", "KNOBS"):
        monkeypatch.setitem(EXPERIMENTS, name.lower(), f"tiny:{name}")
    monkeypatch.setitem(sys.modules, "vlmtutor.experiments.tiny", tiny)

    def call(*words: str):
        code = main(["experiment", *words])
        return code, *capsys.readouterr()

    return call


def test_rows_take_seeds_together(drawn):
    good, coin = rows.rows(tiny.DRAWS, stored.read(drawn))
    assert (good["method"], good["row"]) == ("good", "good row")
    by_seed = good["by_seed"]["accuracy"]
    assert len(by_seed) == 8 and good["seeds"] == list(range(8))
    mean = sum(by_seed) / 8
    assert good["scores"]["accuracy"] == pytest.approx(mean, abs=1e-4)
    assert good["step0"] == {"accuracy": 0.5} and good["steps"] == 3
    assert good["gate"] is None
    rows.mark_changed(tiny.DRAWS, stored.read(drawn), [good, coin])
    assert good["code_changed"] is False
    assert good["scores"]["accuracy"] > coin["scores"]["accuracy"]


@pytest.mark.parametrize("seed", [0, 7])
def test_a_row_has_changed_as_soon_as_one_of_its_seeds_has(drawn, seed):
    notes = stored.read(drawn)
    for record in notes["parts"]:
        if record["seed"] == seed and record["part"] == "good":
            record["code"] = "of an earlier day"
    found = rows.rows(tiny.DRAWS, notes)
    rows.mark_changed(tiny.DRAWS, notes, found)
    assert [row["code_changed"] for row in found] == [True, False]


def test_checks_within_and_between_parts_are_judged(drawn):
    good, coin = rows.rows(tiny.DRAWS, stored.read(drawn))
    found = {check["name"]: check for check in good["checks"]}
    assert found["better than a coin"]["verdict"] == "reproduced"
    assert found["good beats coin"]["effect"] == 0.02
    assert [check["name"] for check in coin["checks"]] == ["better than a coin"]
    assert coin["checks"][0]["verdict"] != "reproduced"


def test_stored_json_has_the_promised_fields(drawn, command):
    code, out, _ = command("draws", "--stored", "--json", "--out", str(drawn))
    found = json.loads(out)
    assert code == 0 and found["name"] == "draws"
    row = found["rows"][0]
    assert set(row) == {
        "method",
        "row",
        "backbone",
        "table",
        "supervision",
        "scores",
        "by_seed",
        "step0",
        "seeds",
        "chosen",
        "grid",
        "steps",
        "teacher_s",
        "shared_s",
        "fit_s",
        "ms",
        "trained",
        "gate",
        "code_changed",
        "checks",
        "rule",
    }
    assert set(row["checks"][0]) == {"name", "low", "high", "by_seed", "verdict"}


def test_stored_text_tells_verdicts_and_how_many(drawn, command):
    code, out, _ = command("draws", "--stored", "--out", str(drawn))
    assert code == 0
    assert "two-level bootstrap" in out and "good beats coin" in out
    assert "checks: 3, seeds: 8" in out
    assert "code has changed" not in out


def test_verify_writes_the_new_hash_where_scores_agree(drawn, command, tmp_path):
    notes, path = stored.read(drawn), tmp_path / "v.json"
    for record in notes["parts"]:
        record["code"] = "0" * 16
    stored.write(notes, path)
    code, out, _ = command("draws", "--stored", "--out", str(path))
    assert "code has changed" in out
    code, out, _ = command("draws", "--verify", "--out", str(path))
    assert code == 0 and "good: 8 seeds vouched for by one" in out
    for record in stored.read(path)["parts"]:
        assert record["code"] == tiny.DRAWS.hash(record["part"])
        assert record["verified"]["seed"] == 0
        assert record["verified"]["before"] == "0" * 16
    code, out, _ = command("draws", "--verify", "--out", str(path))
    assert (code, out) == (0, "no code has changed\n")


def test_verify_fails_where_scores_do_not_agree(drawn, command, tmp_path):
    notes, path = stored.read(drawn), tmp_path / "v.json"
    for record in notes["parts"]:
        if record["part"] == "good":
            record["code"] = "0" * 16
            record["rows"][0]["scores"]["accuracy"] += 0.003
    stored.write(notes, path)
    code, _, error = command("draws", "--verify", "--out", str(path))
    assert code == 1 and "good row, accuracy differs by 0.0030" in error
    assert {r["code"] for r in stored.read(path)["parts"]} >= {"0" * 16}


@pytest.mark.parametrize(
    "words, message",
    [
        (["nothing"], "no experiment 'nothing'"),
        (["draws", "--only", "other"], "no part 'other': good, coin"),
        (["draws", "--seeds", "0"], "--seeds is 1 or more"),
        (["draws", "--json"], "--json goes with --stored"),
    ],
)
def test_wrong_use_is_told_and_code_2(command, words, message):
    code, out, error = command(*words)
    assert code == 2 and message in error and not out


def test_a_failure_is_told_and_code_1(command, tmp_path):
    code, out, error = command("broken", "--out", str(tmp_path / "b.json"))
    assert code == 1 and "the second seed is bad" in error and not out


def test_without_a_name_the_experiments_are_listed(command):
    code, out, _ = command()
    assert code == 0 and ["draws", "coins"] in [x.split() for x in out.splitlines()]
