"""The benchmark of training runs, and compares models of one size."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "benchmarks" / "bench_fit.py"


@pytest.fixture(scope="module")
def race():
    spec = importlib.util.spec_from_file_location("race", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["race"] = module  # where dataclasses look for their types
    spec.loader.exec_module(module)
    yield module
    del sys.modules["race"]


def test_a_tiny_race_ends_and_tells_who_won(race, capsys):
    """A goal that even luck reaches: ours is there before the first step."""
    race.main(
        "--threads 1 --scenes 40 --tests 10 --names 4 --steps 2 --every 1 "
        "--batch 8 --goal 0 --rates 0.001".split()
    )
    told = capsys.readouterr().out
    assert "4 stickers, 40 scenes" in told
    rows = re.findall(r"^(ours|CLIPModel, rate 0.001) +[\d.]+", told, re.M)
    assert rows == ["ours", "CLIPModel, rate 0.001"]


def test_who_does_not_get_there_is_stopped(race, capsys):
    race.main(
        "--threads 1 --scenes 40 --tests 10 --names 4 --steps 2 --every 1 "
        "--batch 8 --goal 1.1 --rates 0.001".split()
    )
    told = capsys.readouterr().out
    assert told.count("goal not reached") == 2
    assert "times as fast" not in told
