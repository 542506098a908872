"""The bench's bookkeeping: verdicts over seeds, tables, files."""

from __future__ import annotations

import argparse
import inspect
import json

import pytest
import torch
from distill_tiny import protocol
from transfer_tiny import clip

from vlmtutor.distill import METHODS, get_method
from vlmtutor.distill import supervision as data
from vlmtutor.distill.bench.protocol import Bench, Protocol
from vlmtutor.distill.bench.score import judge
from vlmtutor.distill.bench.trial import Trial
from vlmtutor.distill.methods import TOLD, Check, Info
from vlmtutor.distill.supervision import Masked, Unlabeled
from vlmtutor.experiments import dense as benchmark


class Dull:
    """Says the same everywhere; counts how often it is fitted."""

    trained = 3

    def __init__(self, value):
        self.value = value

    def scores(self, pictures, names, seen=None):
        size = pictures.images.shape[1]
        scores = torch.zeros(len(pictures), len(names) + 1, size, size)
        scores[:, self.value] = 1
        return scores


def info(table="free", needs=Unlabeled, **more):
    return Info("dull", "paper", 2020, "0", table, needs, "all", "nothing", "", **more)


def test_an_unknown_method_is_answered_with_the_names():
    with pytest.raises(KeyError, match="MaskCLIP\\+"):
        get_method("no such")
    assert len(METHODS) == 14


@pytest.mark.parametrize("name", METHODS)
def test_every_method_keeps_the_contract(name):
    module = get_method(name)
    assert module.__doc__ and "arXiv" in module.__doc__
    wanted = inspect.signature(module.fit).parameters
    assert list(wanted)[:3] == ["clip", "data", "seed"]
    assert list(inspect.signature(module.checks).parameters) == ["trial"]
    told = {name for row in module.ROWS for name in row.told}
    assert set(wanted) & set(TOLD) == told
    assert len({row.name for row in module.ROWS}) == len(module.ROWS)
    for row in module.ROWS:
        kinds = row.needs if isinstance(row.needs, tuple) else (row.needs,)
        known = data.Masked in kinds or data.Partial in kinds
        assert set(row.reading) <= {*row.knobs, *row.settings, *wanted}
        anything = any(p.kind is p.VAR_KEYWORD for p in wanted.values())
        assert anything or {*row.settings, *row.knobs} <= set(wanted)
        assert row.frozen and row.tuned and row.simplified
        # masks mean a table of their own; and only there are names withheld
        if row.table == "free":
            assert not known
        if row.table == "inductive":
            assert not {data.Partial, data.Tagged, data.Unlabeled} & {*kinds}


@pytest.mark.parametrize(
    "table, needs, told",
    [("free", Unlabeled, ("names",)), ("free", Unlabeled, TOLD)]
    + [("inductive", Masked, ())],
)
def test_fit_is_told_what_the_row_asks_for(table, needs, told):
    calls = []

    def fit(clip, data, seed=0, *, value=0, **names):
        calls.append((type(data), seed, names))
        return Dull(value)

    bench = Bench(clip(), protocol(4))
    trial = Trial(bench, fit)
    row = info(table, needs, told=told)
    trial.result(row)
    known = {"names": bench.names, "novel": bench.novel}
    assert calls == [(needs, 4, {name: known[name] for name in told})]
    assert trial.result(row) is trial.result(row) and len(calls) == 1
    assert trial.result(row, value=1) is not trial.result(row)
    assert len(calls) == 2
    numbers = trial.row(row)
    assert numbers["trained"] == 3 and 0 <= numbers["h"] <= 1


def test_knobs_are_chosen_by_h_and_used():
    class Module:
        ROWS = (info(knobs={"value": (4, 5, 0)}),)

        @staticmethod
        def fit(clip, data, seed=0, *, value):
            return Dull(value)

    bench = Bench(clip(), protocol())
    said = []
    chosen = benchmark.choose(Module, bench, said.append)
    assert len(said) == 3 and chosen == {"dull": {"value": 4}}  # first best
    trial = Trial(bench, Module.fit, chosen)
    assert trial.model(Module.ROWS[0]).value == 4


def results(wrong, seed):
    g = torch.Generator().manual_seed(seed)
    truth = torch.randint(0, 3, (20, 5, 5), generator=g)
    noise = torch.randint(0, 3, truth.shape, generator=g)
    pick = torch.rand(truth.shape, generator=g) < wrong
    return judge(torch.where(pick, noise, truth), truth, 1, ("a", "b"))


def test_verdicts_pool_the_pictures_of_all_seeds():
    runs = [
        [
            Check("good beats bad", results(0.1, s), results(0.6, s)),
            Check("values", torch.ones(5), torch.ones(5), at_least=True),
        ]
        for s in (0, 1, 2)
    ]
    first, second = benchmark.weigh(runs)
    assert first["verdict"] == "reproduced" and len(first["by_seed"]) == 3
    assert first["low"] < first["difference"] < first["high"]
    assert second["verdict"] == "reproduced" and second["difference"] == 0
    runs[1].reverse()
    with pytest.raises(ValueError, match="same order"):
        benchmark.weigh(runs)


@pytest.fixture
def small(monkeypatch):
    """The command on the tiny CLIP, with one dull method."""

    class Module:
        ROWS = (info(),)

        @staticmethod
        def fit(clip, data, seed=0):
            return Dull(seed)

        @staticmethod
        def checks(trial):
            result = trial.result(Module.ROWS[0])
            return [Check("as good as itself", result, result, True)]

    monkeypatch.setattr(benchmark, "get_method", lambda name: Module)
    monkeypatch.setattr("vlmtutor.models.hub.load_clip", lambda _: clip())
    monkeypatch.setattr(
        Protocol, "small", classmethod(lambda cls, seed=0: protocol(seed))
    )

    def run(*words):
        parser = argparse.ArgumentParser()
        benchmark.add_arguments(parser)
        return benchmark.run(parser.parse_args(["segmentation", *words]))

    return run


def test_command_adds_methods_to_the_stored_file(small, tmp_path, capsys):
    out, table = tmp_path / "out.json", tmp_path / "out.md"
    options = ("--small", "--no-references", "--seeds", "0", "1", "--out", str(out))
    assert small("one", *options, "--markdown", str(table)) == 0
    assert small("two", *options) == 0
    notes = json.loads(out.read_text("utf-8"))
    assert set(notes["methods"]) == {"one", "two"}
    (row,) = notes["methods"]["one"]["rows"]
    assert [r["seed"] for r in row["runs"]] == [0, 1]
    text = table.read_text("utf-8")
    assert "### Annotation-free and weak" in text
    assert "| one | as good as itself |" in text
    assert "Inductive" not in text  # tables without rows are left out
    # another selection of seeds starts anew
    assert small("two", *options[:3], "0", "--out", str(out)) == 0
    notes = json.loads(out.read_text("utf-8"))
    assert notes["methods"]["one"]["rows"] == []


def test_checks_may_be_made_on_fewer_seeds(small, tmp_path):
    out = tmp_path / "out.json"
    options = (
        "--small",
        "--no-references",
        "--seeds",
        "0",
        "1",
        "2",
        "--check-seeds",
        "1",
        "--out",
        str(out),
    )
    assert small("one", *options) == 0
    method = json.loads(out.read_text("utf-8"))["methods"]["one"]
    assert [r["seed"] for r in method["rows"][0]["runs"]] == [0, 1, 2]
    assert len(method["checks"][0]["by_seed"]) == 1


def test_a_closed_gate_says_so(monkeypatch):
    from vlmtutor.distill.bench.gates import LIMITS, NO_LIMIT

    figures = dict.fromkeys((*LIMITS, *NO_LIMIT), 0.0)
    monkeypatch.setattr(benchmark, "measure", lambda bench: figures)
    benches = [Bench(clip(), protocol())]
    with pytest.raises(benchmark.GateClosed, match="crop accuracy, base"):
        benchmark.run_gates(benches, strict=True, say=lambda text: None)
    found = benchmark.run_gates(benches, strict=False, say=lambda text: None)
    assert found[0]["seed"] == 0
