"""How the comparison is read: orders, costs, ledgers, ingredients, literature."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from vlmtutor.distill import METHODS, get_method
from vlmtutor.distill.box_supervision import CaptionedPool, TaggedPool
from vlmtutor.distill.comparison import (
    costs,
    frame,
    ingredients,
    ledger,
    order,
    published,
)
from vlmtutor.distill.comparison.tidy import Score
from vlmtutor.distill.supervision import BoxedCaptioned, Captioned, Tagged

PACKAGE = Path(__file__).resolve().parents[1] / "vlmtutor"


def seeds(**means):
    """{method: {seed: value}} of three seeds around each mean."""
    return {m: {k: v + 0.01 * (k - 1) for k in range(3)} for m, v in means.items()}


@pytest.mark.parametrize("tied", [False, True])
def test_tau_is_scipys(tied):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 5, 9))
    if tied:
        x, y = x.round(), y.round()
    expected = [stats.kendalltau(a, b).statistic for a, b in zip(x, y, strict=True)]
    assert np.allclose(order.tau_b(x, y), expected)


def test_tau_of_no_order_is_none():
    assert np.isnan(order.tau_b(np.ones(4), np.arange(4.0)))


def test_equal_orders_agree_and_turned_pairs_are_named():
    a = seeds(p=0.1, q=0.3, r=0.5, s=0.7)
    same = order.agreement(a, a, (order.SEEDS,))
    assert (same.tau, same.low, same.high, same.flips) == (1, 1, 1, ())
    b = seeds(p=0.1, q=0.5, r=0.3, s=0.7)
    found = order.agreement(a, b, (order.SEEDS,))
    assert found.tau == pytest.approx(4 / 6)
    assert found.flips == (("q", "r"),) and found.pairs == 6


def test_methods_drawn_again_widen_the_interval():
    a = seeds(p=0.1, q=0.3, r=0.5, s=0.7, t=0.9, u=0.2)
    b = seeds(p=0.1, q=0.5, r=0.3, s=0.9, t=0.7, u=0.2)
    narrow = order.agreement(a, b, (order.SEEDS,))
    wide = order.agreement(a, b)
    assert wide.low < narrow.low <= narrow.tau <= narrow.high <= wide.high
    assert order.agreement(a, b) == wide  # drawn from a seed of its own


def test_noise_that_swaps_two_methods_shows_in_the_interval():
    a = seeds(p=0.1, q=0.3, r=0.5, s=0.7)
    close = dict(a, q={0: 0.1, 1: 0.3, 2: 0.5}, r={0: 0.5, 1: 0.3, 2: 0.1})
    found = order.agreement(a, close, (order.SEEDS,))
    assert found.low < found.high


def test_groups_ask_only_pairs_within():
    a, b = seeds(p=1, q=2, r=3, s=4), seeds(p=1, q=2, r=-3, s=-2)
    groups = {"p": "x", "q": "x", "r": "y", "s": "y"}
    found = order.agreement(a, b, (order.SEEDS,), groups)
    assert found.tau == 1 and found.pairs == 2 and found.flips == ()
    assert order.agreement(a, b, (order.SEEDS,)).tau < 0


def test_seeds_that_differ_and_few_methods():
    a = seeds(p=0.1, q=0.3, r=0.5, s=0.7)
    b = {m: {7: v[0]} for m, v in a.items()}
    assert order.agreement(a, b).tau == 1
    assert order.agreement(seeds(p=1, q=2, r=3), seeds(p=1, q=2, r=3)) is None
    some = dict(a, p={0: 0.1})  # a method with fewer seeds than the others
    assert order.agreement(some, a).tau == 1


def test_ranks():
    assert order.ranks(seeds(p=0.1, q=0.9, r=0.5)) == {"q": 1, "r": 2, "p": 3}


def test_holm_by_hand():
    # .01 * 4, .02 * 3, .03 * 2, then none below an earlier one
    p = [0.03, 0.01, 0.5, 0.02]
    assert np.allclose(ledger.holm(p), [0.06, 0.04, 0.5, 0.06])
    assert ledger.holm([0.9, 0.8]).tolist() == [1, 1]
    assert len(ledger.holm([])) == 0


def check(name, verdict, p, **more):
    return {"name": name, "verdict": verdict, "p": p, "by_seed": [0.1, -0.2], **more}


def test_what_is_left_after_correction():
    checks = [
        check("a", "reproduced", 0.001),
        check("b", "reproduced", 0.06),
        check("c", "inconclusive", 0.001),
        check("d", "not reproduced", 0.09),
        check("e", "no verdict", None),
    ]
    found = ledger.corrected(checks)
    assert [c["holm"] for c in found] == [True, False, False, False, False]
    assert [c["bh"] for c in found] == [True, True, False, True, False]
    assert ledger.counts(found) == [
        ("reproduced", 2, 1, 2),
        ("not reproduced", 1, 0, 1),
        ("inconclusive", 1, 0, 0),
        ("budget-limited", 0, 0, 0),
        ("no verdict", 1, 0, 0),
        ("all", 5, 1, 3),
    ]


def test_signs_are_told_from_the_bar():
    assert ledger.signs(check("a", "", 1)) == "+-"
    loses = check("a", "", 1, at_least=True, effect=0.3)
    assert ledger.signs(loses) == "++"


def test_claims_of_stored_experiments_know_their_rule():
    found = ledger.claims("segmentation", "08_prompt_tuning", "no such file")
    tasks = {c["task"] for c in found}
    assert tasks == {"segmentation", "08_prompt_tuning"}
    assert all({"method", "backbone", "old", "name"} <= set(c) for c in found)
    new = [c for c in found if not c["old"] and c["verdict"] == "reproduced"]
    assert all(c["p"] is not None for c in new)


def test_the_front_by_hand():
    #  cheapest, better, worse and dearer, equal and dearer, best
    assert costs.front([1, 2, 3, 4, 5], [0.2, 0.5, 0.3, 0.5, 0.9]) == [0, 1, 4]
    assert costs.front([2, 1, 1], [0.5, 0.5, 0.1]) == [1]


def score(method, kind, value, scenes="clean", seed=0, row=None):
    head = method, row or method, "segmentation", "free", "phraseclip", "today"
    return Score(*head, scenes, seed, kind, value)


SCORES = [
    *(score("ReCo", "U", v, seed=k) for k, v in enumerate((0.2, 0.4))),
    *(score("ReCo", "U, true names", v, seed=k) for k, v in enumerate((0.5, 0.7))),
    *(score("ReCo", "ms", 4.0, "", k) for k in (0, 1)),
    *(score("ReCo", "fit s", v, "", k) for k, v in enumerate((3.0, 5.0))),
    *(score("ReCo", "shared s", 1.0, "", k) for k in (0, 1)),
    score("SSIW", "U", 0.1),
    score("Fusioner", "U", 0.5),
    score("Fusioner", "U", 0.1, row="Fusioner (start as published)"),
]


def test_costs_are_stacked_and_what_is_unmeasured_left_out():
    before = costs.pretraining_seconds("phraseclip")
    assert before > 60
    assert costs.pretraining_seconds("stickerclip") > 1000  # both of its runs
    with pytest.raises(KeyError, match="no such model"):
        costs.pretraining_seconds("no such model")
    spent = costs.seconds(SCORES, "segmentation", "phraseclip")
    parts = {"pre-training": before, "shared s": 1, "teacher s": 0, "fit s": 4}
    assert spent == {"ReCo": parts}
    (point,) = costs.points(SCORES, "segmentation", "phraseclip", "U")
    assert (point["name"], point["table"], point["ms"]) == ("ReCo", "free", 4)
    assert (point["seconds"], point["value"]) == (5, pytest.approx(0.3))
    assert costs.stacked(parts) == f"{before:.0f} + 1 + 0 + 4 s"


def test_room_is_what_a_truth_brings():
    found = ingredients.rooms(SCORES, "segmentation", "phraseclip")
    assert found == {"ReCo": {"true names": pytest.approx(30)}}


def test_every_method_is_in_the_table_and_every_source_is_there():
    pairs = itertools.product(METHODS, ingredients.INGREDIENTS)
    told = [ingredients.has(method, ingredient) for method, ingredient in pairs]
    assert len(told) == 33 * 9
    assert all((PACKAGE / ingredients.source(m)).is_file() for m in METHODS)


def main_info(method):
    rows = get_method(method).ROWS
    return next((info for info in rows if info.name == method), rows[0])


@pytest.mark.parametrize("method", METHODS)
def test_ingredients_are_those_of_the_main_row(method):
    info = main_info(method)
    needs = info.needs if isinstance(info.needs, tuple) else (info.needs,)
    listed = bool(info.told) or any(n in (Tagged, TaggedPool) for n in needs)
    assert ingredients.has(method, "list of names") == listed
    spoken = any(n in (Captioned, BoxedCaptioned, CaptionedPool) for n in needs)
    if method != "RO-ViT":  # its captions are those of its pre-training
        assert ingredients.has(method, "sentences") == spoken
    frozen = info.frozen.startswith("CLIP") and "tower" not in info.frozen
    assert ingredients.has(method, "CLIP frozen") == frozen


@pytest.mark.parametrize("table", [ingredients.SWITCHES, published.ABLATIONS])
def test_checks_are_those_of_the_methods(table):
    for method, sentence in table:
        text = (PACKAGE / ingredients.source(method)).read_text(encoding="utf-8")
        assert f'"{sentence}"' in text, (method, sentence)


def test_pairs_are_rows_of_one_method():
    known = {info.name: m for m in METHODS for info in get_method(m).ROWS}
    assert all(known[a] == known[b] for a, b in ingredients.PAIRS)
    assert {*ingredients.PAIRS.values()} <= set(ingredients.INGREDIENTS)


def test_what_a_check_switches_is_known_and_it_asks_for_novel_names():
    for (method, _), (first, *also) in ingredients.SWITCHES.items():
        assert first in ingredients.INGREDIENTS
        assert all(ingredients.has(method, one) for one in also)
    scores = {
        (c["method"], c["name"]): c["score"]
        for c in ledger.claims("segmentation", "detection")
    }
    own = [scores[key] for key in ingredients.SWITCHES if key in scores]
    assert own and set(own) == {"U"}  # so that one axis serves all


def test_a_pair_of_rows_and_a_check_are_paired_effects():
    told = {"method": "F-VLM", "name": "CLIP at test helps novel names"}
    told |= {"backbone": "phraseclip", "value": 0.2, "by_seed": [0.2], "old": False}
    other = told | {"backbone": "stickerclip"}
    found = ingredients.paired([told, other], SCORES, "phraseclip")
    assert [e["value"] for e in found["CLIP at test"]] == [0.2]
    assert found["CLIP at test"][0]["also"] == []
    more = told | {"method": "VLDet", "name": "sentences help novel names beside boxes"}
    (both,) = ingredients.paired([more], [], "phraseclip")["sentences"]
    assert both["also"] == ["own labels"]
    (effect,) = found["agrees at first"]
    assert effect["value"] == pytest.approx(0.4) and effect["verdict"] is None
    assert effect["task"] == "segmentation"


def test_the_naive_difference_has_two_sides_or_none():
    looked = dict(
        zip(["SSIW", "ZSSeg", "ReCo", "F-VLM"], (0.2, 0.4, 0.2, 0.4), strict=True)
    )
    others = dict(
        zip(["LSeg", "ZegCLIP", "ViLD", "Detic"], (0.1, 0.5, 0.1, 0.5), strict=True)
    )
    values = {method: {0: value} for method, value in (looked | others).items()}
    found = ingredients.naive(values, "CLIP at test")
    assert found["value"] == pytest.approx(0.0)
    assert (found["with"], found["without"]) == (4, 4)
    assert found["low"] < 0 < found["high"]
    assert ingredients.naive(values, "crops teach") is None  # ViLD alone has it
    with pytest.raises(KeyError, match="no ingredient"):
        ingredients.has("SSIW", "luck")


def test_published_rows_have_a_source_and_blanks_stay_blank():
    for row in published.ROWS:
        assert row.method in METHODS and row.read, row
        assert row.protocol in published.PROTOCOLS
        figures = [
            f for f in (row.novel, row.base, row.all, row.rerun) if f is not None
        ]
        assert figures and all(0 < f < 100 for f in figures), row
    told = published.order_of(published.OV_COCO)
    for unread in ("DetPro", "OWL-ViT", "ZSD-YOLO", "P3OVD"):
        assert unread not in told
    assert told["OADP"] == {0: pytest.approx(0.313)}
    assert "OWL-ViT" in published.without(METHODS)
    assert "ViLD" not in published.without(METHODS)
    assert all(gap > 0 for gap in published.reruns().values())


def test_unseen_and_seen_stand_in_their_columns_and_doubt_leaves_a_blank():
    own = {(row.method, row.protocol): row for row in published.SEGMENTERS}
    phrases = own["CLIPSeg", "PhraseCut"]
    assert (phrases.base, phrases.novel) == (35.7, 43.1)
    doubtful = own["FreeSeg", "VOC"]
    assert doubtful.novel is None and "left out" in doubtful.note


def test_gains_are_counted_from_the_untrained_model():
    raw = score("references", "U", 0.1, row="MaskCLIP, raw")
    found = frame.gains([raw, *SCORES], ("phraseclip", "stickerclip"))
    (own,) = found
    assert (own["name"], own["stage"], own["seconds"]) == ("ReCo", "segmentation", 4)
    assert own["points"] == pytest.approx(20)

    def line(method, shots, kind, value, scenes="mixed, sketch"):
        row = f"mixed, sketch, {shots} shots"
        head = method, row, "transfer", "08_prompt_tuning", "stickerclip", "earlier"
        return Score(*head, scenes, 0, kind, value)

    lines = [
        line("zero-shot", 0, "base", 0.5),
        line("CoOp", 16, "base", 0.8),
        line("CoOp", 16, "fit s", 2.0, ""),
        line("CoOp", 1, "base", 0.6),
        line("TPT", 0, "base", 0.6),
    ]
    (own,) = frame.gains(lines, ("phraseclip", "stickerclip"))
    assert (own["name"], own["backbone"], own["program"]) == (
        "CoOp",
        "stickerclip",
        "earlier",
    )
    assert own["points"] == pytest.approx(30) and own["seconds"] == 2
