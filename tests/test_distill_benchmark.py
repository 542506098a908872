"""The bench's bookkeeping: what methods are told, parts, stored rows."""

from __future__ import annotations

import dataclasses
import functools
import inspect

import pytest
import torch
from distill_tiny import protocol
from told import Told
from transfer_tiny import clip

from vlmtutor.distill import METHODS, get_method
from vlmtutor.distill import supervision as data
from vlmtutor.distill.bench import regions
from vlmtutor.distill.bench.gates import LIMITS, NO_LIMIT
from vlmtutor.distill.bench.protocol import Bench
from vlmtutor.distill.bench.references import true_masks
from vlmtutor.distill.bench.score import judge
from vlmtutor.distill.bench.trial import Trial, rounded
from vlmtutor.distill.methods import STEPS, TOLD, Info
from vlmtutor.distill.parts.proposals import Proposals
from vlmtutor.distill.parts.two_stage import TwoStage
from vlmtutor.distill.supervision import Masked, Unlabeled
from vlmtutor.experiments import dense, gradients, rows, vocabulary
from vlmtutor.experiments.grid import combinations
from vlmtutor.verdict import Check

SEGMENTATION = [n for n, home in METHODS.items() if home.startswith("segmentation.")]


@dataclasses.dataclass(frozen=True)
class Dull:
    """Says the same everywhere; counts how often it is fitted."""

    value: int
    trained: int = 3

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
    assert len(SEGMENTATION) == 14


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
        own = {*row.settings, *row.knobs, *(row.start or ())}
        assert anything or own <= set(wanted)
        # what learns from base masks may take as long as validation says
        if {data.Masked, data.Partial, data.Regions} & {*kinds}:
            assert STEPS in row.knobs.values()
        assert row.frozen and row.tuned and row.simplified
        # masks mean a table of their own; and only there are names withheld
        if row.table == "free":
            assert not known
        if row.table == "inductive":
            assert not {data.Partial, data.Tagged, data.Unlabeled} & {*kinds}
        if row.table == "captions":
            assert data.Captioned in kinds
        if data.Captioned in kinds:  # with base boxes there are two tables more
            assert row.table in ("captions", "sentences", "list")


def test_there_are_four_tables_and_blind_ones_are_told_nothing():
    tables = {row.table for name in SEGMENTATION for row in get_method(name).ROWS}
    assert tables == {"free", "inductive", "captions", "transductive"}
    for table in ("inductive", "captions"):
        with pytest.raises(ValueError, match="no row is told"):
            info(table, Masked, told=("names",))


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
    assert set(trial.noisy(row)) == {"S", "U", "h"}
    begun = trial.before(dataclasses.replace(row, start={"value": 2}))
    assert begun == rounded(trial.result(row, value=2).scores())
    assert trial.before(dataclasses.replace(row, start=None)) is None


class Module:
    """A method whose answers are its one knob."""

    ROWS = (info(knobs={"value": (4, 5, 0)}, start=None),)

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
    assert opened == [{"pseudo": True}] * 2  # two validation seeds, one mean
    assert found["chosen"] == {"dull": {"value": 4}}  # the first of equals
    tried = found["grid"]["dull"]
    assert [row["value"] for row in tried] == [4, 5, 0]
    assert all({"score", "S", "U", "fit_s"} <= set(row) for row in tried)
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


def test_the_second_backbone_gives_rows_and_no_verdict(part):
    found = part.method("dull", 1, part.STICKERCLIP, {"dull": {"value": 5}})
    assert found["rows"] and not found["checks"]


def test_who_has_base_masks_must_beat_the_untrained_read_out(part):
    bench = part.open_bench(0, "tiny")
    trial = Trial(bench, Module.fit)
    row = part.full_row(trial, info("inductive", Masked, start=None))
    raw = trial.reference("MaskCLIP, raw").scores()["S"]
    assert row["gate"] == pytest.approx(row["scores"]["S"] - raw - 0.05, abs=1e-3)
    assert "gate" not in part.full_row(trial, info(start=None))


def test_region_methods_have_boxes_masks_and_three_oracles(part):
    bench = part.open_bench(0, "tiny")
    module = get_method("ZegFormer")
    row = module.ROWS[0]
    trial = Trial(bench, module.fit, {row.name: {"steps": 1}})
    found = part.full_row(trial, row)
    for way in ("boxes", "masks", "true masks", "true names", "true ranking", "noisy"):
        assert set(found["scores"][way]) == {"S", "U", "h"}, way
    assert found["steps"] == 1 and found["shared_s"] >= 0
    model = trial.model(row)
    model = dataclasses.replace(model, branch="query")
    truth = true_masks(bench)
    told = regions.with_masks(model.found(bench.test_pictures, bench.names), truth)
    assert torch.equal(told.binary, truth)
    same = regions.overlaps(truth, truth)
    there = truth.flatten(2).any(-1)
    assert (same.diagonal(dim1=1, dim2=2)[there] == 1).all()


def test_a_fit_that_finds_its_proposer_made_counts_it_all_the_same():
    from vlmtutor.distill.segmentation import zegformer, zsseg

    bench = Bench(clip(), protocol(5))
    both = []
    for module in (zsseg, zegformer):
        info = module.ROWS[0]
        trial = Trial(bench, module.fit, {info.name: {"steps": 2}})
        both.append(trial.row(dataclasses.replace(info, start=None)))
    assert both[0]["shared_s"] == both[1]["shared_s"]
    assert trial.seconds(info) >= trial.model(info).proposer.trained_at[1]


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
    assert all((row["gate"] >= 0) is (not found["closed"]) for row in found["rows"])


def test_parts_are_the_methods_and_what_they_are_read_against():
    masks = [n for n, home in METHODS.items() if home.startswith("segmentation.")]
    assert list(dense.EXPERIMENT.parts) == ["references", *masks]
    for name in ("references", "LSeg"):
        assert dense.EXPERIMENT.hash(name)


def test_a_closed_gate_leaves_no_verdict():
    assert rows.passed([0.02, -0.01]) and not rows.passed([0.01, -0.02])
    assert rows.passed([True, True]) and not rows.passed([True, False])
    assert rows.passed([]) is None
    experiment = dataclasses.replace(dense.EXPERIMENT, name="tiny")
    check = {"name": "it helps", "score": "U", "value": 0.2, "draws": [0.2] * 9}

    def notes(gate):
        one = {"row": "LSeg", "scores": {"U": 0.3}, "gate": gate}
        parts = [
            {"part": "LSeg", "backbone": "phraseclip", "seed": seed, "code": ""}
            | {"rows": [one], "checks": [check]}
            for seed in range(8)
        ]
        return {"choices": [], "parts": parts}

    verdicts = {
        gate: rows.rows(experiment, notes(gate))[0]["checks"][0]["verdict"]
        for gate in (0.01, -0.01)
    }
    assert verdicts == {0.01: "reproduced", -0.01: "budget-limited"}


def test_at_most_three_checks_a_method():
    for name in SEGMENTATION:
        text = inspect.getsource(get_method(name).checks)
        assert 1 <= text.count("Check(") <= 3, name


# ON_CLIP's steps are chosen for its own row
ACROSS_ROWS = "CLIP's states carry novel classes further than pixels"


@pytest.mark.parametrize("name", SEGMENTATION[SEGMENTATION.index("LSeg") :])
def test_arms_of_a_check_are_one_row_and_differ_in_one_setting(name, monkeypatch):
    module = get_method(name)
    if name == "CLIPSeg":
        alone = lambda trial, **changes: torch.zeros(1)  # noqa: E731
        monkeypatch.setattr(module, "false_area", alone)
    for check in module.checks(Told()):
        arms = check.better, check.worse
        if all(isinstance(arm, tuple) for arm in arms) and arms[1][1] is not None:
            (row, own), (other, others) = arms
            one = {k for k in {*own, *others} if own.get(k, ()) != others.get(k, ())}
            assert len(one) == 1, check.sentence
            assert row == other or check.sentence == ACROSS_ROWS


@pytest.mark.parametrize(
    "name, figures",
    [
        ("ZSSeg", {"both branches beat the query branch": "naming"}),
        ("ZegFormer", {"CLIP's branch helps novel names": "naming U"}),
        ("OpenSeg", {"words that ask masks": "naming U", "captions name": "naming U"}),
    ],
)
def test_arms_of_other_scales_are_compared_by_names_alone(name, figures):
    found = {c.sentence: c.score for c in get_method(name).checks(Told())}
    for start, score in figures.items():
        (own,) = (s for sentence, s in found.items() if sentence.startswith(start))
        assert own == score


@pytest.mark.parametrize("name", SEGMENTATION[SEGMENTATION.index("LSeg") :])
def test_few_fits_and_some_readings_are_tried(name):
    module = get_method(name)
    regions = {"ZSSeg", "ZegFormer", "OVSeg", "OpenSeg", "FreeSeg"}
    for info in module.ROWS:
        read = {k: v for k, v in info.knobs.items() if k in info.reading}
        fits = {k: v for k, v in info.knobs.items() if k not in info.reading}
        assert list(fits.values()) == [STEPS]  # all else needs no refit
        assert len(list(combinations(read))) <= 30
        if name in regions:
            assert {0.03, 0.1, 0.3} <= {*read["background"]}


def test_how_sure_and_how_much_off_are_searched_widely():
    for name in ("CLIPSeg", "ZegCLIP"):
        for info in get_method(name).ROWS:
            assert info.knobs["background"] == (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
    for name, knob in (("ZegCLIP", "offset"), ("ZegFormer", "gamma")):
        assert (min(o := get_method(name).INFO.knobs[knob]), max(o)) == (0.0, 0.2)
    for name in ("ZSSeg", "OVSeg", "FreeSeg"):
        assert len(get_method(name).INFO.knobs["lam"]) == 5


@pytest.mark.parametrize(
    "name, off, sentences",
    [("ZegCLIP", "offset", ("softmax",)), ("ZegFormer", "gamma", ("branch", "pixels"))],
)
def test_arms_of_other_scales_have_no_offset(name, off, sentences):
    """Which would not be the same for both."""
    for word in sentences:
        checks = get_method(name).checks(Told())
        (check,) = (c for c in checks if word in c.sentence)
        arms = [arm for arm in (check.better, check.worse) if arm[1] is not None]
        assert all(settings[off] == 0.0 for _, settings in arms), word


def test_readings_of_lseg_need_no_other_fit():
    calls = []
    module = get_method("LSeg")

    def fit(clip, data, seed=0, **settings):
        calls.append(settings)
        return module.fit(clip, data, seed, **settings)

    trial = Trial(Bench(clip(), protocol()), fit, {"LSeg": {"steps": 1}})
    trial.result(module.INFO)
    for more in ({"answers": "base"}, {"shuffled": True}):
        assert trial.result(module.INFO, **more) is not trial.result(module.INFO)
    assert calls == [{"steps": 1}]


def test_the_true_ranking_comes_before_naming_and_repetitions_stay():
    truth = torch.zeros(1, 2, 4, 4, dtype=torch.bool)
    truth[0, 0, :2], truth[0, 1, 2:, :2] = True, True
    masks = torch.zeros(1, 4, 4, 4)
    masks[0, 0, :, 3] = 1.0  # fits badly, and was the likeliest
    masks[0, 1] = masks[0, 2] = truth[0, 1].float()  # the second is a repetition
    masks[0, 3, 2:, 2:] = 1.0  # the ground's
    states = torch.arange(4.0).view(1, 4, 1)
    found = Proposals(masks, torch.tensor([[0.9, 0.5, 0.0, 0.4]]), states, states)
    told = regions.ranked(found, truth)
    assert told.states[0, :, 0].tolist()[0] == 1 and told.vectors is not None
    assert told.objectness[0, 0] == 1 and (told.objectness == 0).sum() >= 2
    assert torch.equal(told.masks[0, 0], masks[0, 1])
    own = torch.tensor([[False, False, False, True]])
    told = regions.ranked(found, truth, own)
    at = told.states[0, :, 0].tolist().index(3)
    assert told.objectness[0, at] == pytest.approx(0.4)


def test_regions_are_ranked_by_the_truth_before_they_are_named(part, monkeypatch):
    bench = part.open_bench(0, "tiny")
    module = get_method("ZegFormer")
    trial = Trial(bench, module.fit, {"ZegFormer": {"steps": 1}})
    model, asked = trial.model(module.ROWS[0]), []
    real = TwoStage.named
    monkeypatch.setattr(
        TwoStage,
        "named",
        lambda self, found, *more: asked.append(found) or real(self, found, *more),
    )
    regions.region_figures(bench, model, bench.test_pictures, bench.seen)
    sure = asked[-1].objectness  # the last way
    best = regions.overlaps(asked[-1].binary, true_masks(bench)).amax(-1)
    assert (sure[:, :-1] >= sure[:, 1:]).all()
    assert ((sure == best) | (sure == 0)).all()


def test_gradients_of_tasks_are_kept_with_the_row_of_one_network(part):
    bench = part.open_bench(0, "tiny")
    module = get_method("FreeSeg")
    knobs = {info.name: {"steps": 2} for info in module.ROWS}
    trial = Trial(bench, module.fit, knobs)
    first, second = (part.full_row(trial, info) for info in module.ROWS)
    assert "gradients" not in second
    assert set(first["gradients"]) == {"step 0", "last step"}
    for found in first["gradients"].values():
        assert set(found) == {
            "semantic, instance",
            "semantic, panoptic",
            "instance, panoptic",
        }
        for own in found.values():
            assert set(own) == set(gradients.HEADS)
            assert all(-1 <= value <= 1 for value in own.values())
    model = trial.model(module.INFO)
    data = bench.data(Masked)
    before = [p.clone() for p in model.proposer.parameters()]
    g = gradients.gradients(model, data, "semantic")
    assert not any(p.requires_grad for p in model.proposer.parameters())
    after = model.proposer.parameters()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    weights = [*model.proposer.sticker_head.parameters()]
    masks, kinds = module.task_truth(data, "semantic", model.proposer.fine)
    for p in weights:
        p.requires_grad_(True)
    pictures = data.pictures.prepare("pixel_values")
    loss = model.loss(pictures, data.names, "semantic", masks, kinds)
    own = torch.cat([x.flatten() for x in torch.autograd.grad(loss, weights)])
    for p in weights:
        p.requires_grad_(False)
    same = torch.nn.functional.cosine_similarity(own, g["sticker_head"], dim=0)
    assert same > 0.999


def test_who_sweeps_before_knobs_are_chosen_is_told_the_command(monkeypatch):
    monkeypatch.setattr(vocabulary, "open_notes", lambda experiment: {"choices": []})
    told = "python -m vlmtutor experiment segmentation --only LSeg"
    with pytest.raises(LookupError, match=told):
        vocabulary.chosen_before("LSeg", "phraseclip")
    one = {"part": "LSeg", "backbone": "phraseclip", "chosen": {"LSeg": {"steps": 1}}}
    monkeypatch.setattr(vocabulary, "open_notes", lambda experiment: {"choices": [one]})
    assert vocabulary.chosen_before("LSeg", "phraseclip") == one["chosen"]


def test_the_bench_runs_on_the_twin_first_and_with_eight_seeds():
    experiment = dense.EXPERIMENT
    assert experiment.backbones == ("phraseclip", "stickerclip")
    keys = [k for k in experiment.keys() if k[0] == "LSeg"]
    assert [k[2] for k in keys if k[1] == "phraseclip"] == list(range(8))
    assert [k[2] for k in keys if k[1] == "stickerclip"] == list(range(3))


def test_names_are_swept_at_as_many_pictures(monkeypatch):
    monkeypatch.setattr(vocabulary, "open_backbone", lambda name: clip())
    small = functools.partial(protocol)
    monkeypatch.setattr(vocabulary, "Protocol", small)
    monkeypatch.setattr(vocabulary, "chosen_before", lambda *a: {"LSeg": {"steps": 1}})
    monkeypatch.setattr(vocabulary, "BASE", protocol().base)
    monkeypatch.setattr(vocabulary, "NOVEL", protocol().novel)
    vocabulary.open_bench.cache_clear()
    row = vocabulary.measure("LSeg, 20", 0, "tiny")
    vocabulary.open_bench.cache_clear()
    assert row["row"] == "LSeg, 20 names" and row["chosen"] == {"steps": 1}
    assert 0 <= row["scores"]["U"] <= 1 and "step0" in row
    assert len(vocabulary.EXPERIMENT.keys()) == 27
