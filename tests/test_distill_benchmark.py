"""The bench's bookkeeping: what methods are told, parts, stored rows."""

from __future__ import annotations

import inspect

import pytest
import torch
from distill_tiny import protocol
from transfer_tiny import clip

from vlmtutor.distill import METHODS, get_method
from vlmtutor.distill import supervision as data
from vlmtutor.distill.bench.gates import LIMITS, NO_LIMIT
from vlmtutor.distill.bench.protocol import Bench
from vlmtutor.distill.bench.results import stored_results
from vlmtutor.distill.bench.score import judge
from vlmtutor.distill.bench.trial import Trial
from vlmtutor.distill.methods import TOLD, Info
from vlmtutor.distill.supervision import Masked, Unlabeled
from vlmtutor.experiments import dense
from vlmtutor.verdict import Check


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
    assert len(METHODS) == 21


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
    assert numbers["trained"] == 3 and 0 <= numbers["scores"]["h"] <= 1


class Module:
    """A method whose answers are its one knob."""

    ROWS = (info(knobs={"value": (4, 5, 0)}),)

    @staticmethod
    def fit(clip, data, seed=0, *, value=0):
        return Dull(value)

    @staticmethod
    def checks(trial):
        result = trial.result(Module.ROWS[0])
        return [
            Check("as good as itself", result, result, at_least=True),
            Check("one value a picture", torch.ones(6), torch.zeros(6)),
        ]


@pytest.fixture
def part(monkeypatch):
    """The experiment on the tiny CLIP, with the dull method."""
    monkeypatch.setattr(dense, "get_method", lambda name: Module)
    monkeypatch.setattr(dense, "open_backbone", lambda name: clip())
    monkeypatch.setattr(dense, "Protocol", protocol)
    forget = dense.open_bench.cache_clear
    forget()
    yield dense
    forget()


def test_knobs_are_chosen_by_h_on_pseudo_novel_names(part, monkeypatch):
    opened = []
    make = part.open_bench
    monkeypatch.setattr(
        part, "open_bench", lambda *args, **kw: opened.append(kw) or make(*args)
    )
    found = part.choose("dull", "tiny")
    assert opened == [{"pseudo": True}]
    assert found["chosen"] == {"dull": {"value": 4}}  # the first of equals
    assert [row["value"] for row in found["grid"]["dull"]] == [4, 5, 0]
    trial = Trial(Bench(clip(), protocol()), Module.fit, found["chosen"])
    assert trial.model(Module.ROWS[0]).value == 4


def test_a_part_gives_rows_and_what_its_checks_measure(part):
    found = part.method("dull", 1, "tiny", {"dull": {"value": 5}})
    (row,) = found["rows"]
    assert (row["row"], row["table"], row["supervision"]) == (
        ("dull", "free", "Unlabeled")
    )
    assert row["trained"] == 3 and 0 <= row["scores"]["h"] <= 1
    same, values = found["checks"]
    assert same["value"] == 0 == max(same["draws"]) and same["at_least"]
    assert values["value"] == 1 and values["score"] == "value"


def test_arms_are_drawn_again_together(part):
    def result(wrong, seed):
        g = torch.Generator().manual_seed(seed)
        truth = torch.randint(0, 3, (20, 5, 5), generator=g)
        noise = torch.randint(0, 3, truth.shape, generator=g)
        pick = torch.rand(truth.shape, generator=g) < wrong
        return judge(torch.where(pick, noise, truth), truth, 1, ("a", "b"))

    good, bad = result(0.1, 0), result(0.6, 0)
    found = part.measured(Check("good beats bad", good, bad), 0)
    gain = good.scores()["h"] - bad.scores()["h"]
    assert found["value"] == pytest.approx(gain, abs=1e-4)
    assert min(found["draws"]) > 0 and len(set(found["draws"])) > 50


def test_references_come_with_the_gates_figures(part, monkeypatch):
    few = tuple(r for r in part.REFERENCES if r.name in ("chance", "MaskCLIP, raw"))
    monkeypatch.setattr(part, "REFERENCES", few)
    found = part.references("references", 0, "tiny", {})
    assert [row["row"] for row in found["rows"]] == ["chance", "MaskCLIP, raw"]
    assert set(found["gates"]) == {*LIMITS, *NO_LIMIT}
    assert all(row["gate"] is (not found["closed"]) for row in found["rows"])


def test_parts_are_the_methods_and_what_they_are_read_against():
    masks = [n for n, home in METHODS.items() if home.startswith("segmentation.")]
    assert list(dense.EXPERIMENT.parts) == ["references", *masks]
    for name in ("references", "LSeg"):
        assert dense.EXPERIMENT.hash(name)


def test_stored_rows_are_told_as_they_are():
    row = {
        "method": "one",
        "row": "one, hidden",
        "table": "free",
        "by_seed": {"S": [0.5, 0.6], "U": [0.1], "h": [0.2]},
        "checks": [
            {
                "name": "it helps",
                "verdict": "reproduced",
                "score": "h",
                "value": 0.1,
                "low": 0.02,
                "high": 0.2,
                "by_seed": [0.1, 0.1],
            }
        ],
    }
    other = row | {"method": "two"}
    assert stored_results([row, other], ["one"]).splitlines() == [
        "one, hidden (free)",
        "    S 55.0 [50.0–60.0]  U 10.0  h 20.0",
        "  REPRODUCED: it helps",
        "    h +10.0 [+2.0, +20.0], seeds: 2",
    ]
