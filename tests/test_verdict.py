"""Verdicts: each of the rule's words, and intervals that know both lucks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from vlmtutor import verdict
from vlmtutor.verdict import Check, judge, resample, resample_mean, survivors


def seeds(values, spread: float = 0.0) -> list[dict]:
    """Differences by seed; resamples of its pictures ± ``spread``."""
    steps = np.linspace(-spread, spread, 41)
    return [{"value": v, "draws": list(v + steps)} for v in values]


GAIN = [0.04, 0.05, 0.06, 0.05, 0.04, 0.06, 0.05, 0.05]


@pytest.mark.parametrize(
    "values, told",
    [
        (GAIN, "reproduced"),
        ([-v for v in GAIN], "not reproduced"),
        ([0.002] * 8, "not reproduced"),  # surely a gain, surely below a point
        ([0.05, -0.05] * 4, "inconclusive"),
        ([0.2] * 7 + [-0.01], "reproduced"),  # one seed may disagree
        ([0.2] * 6 + [-0.01] * 2, "inconclusive"),  # two may not
        (GAIN[:7], "no verdict"),
        (GAIN[:1], "one run"),
    ],
)
def test_each_word(values, told):
    assert judge(seeds(values))["verdict"] == told


def test_at_least_may_lose_its_margin():
    level = seeds([-0.004, -0.005, -0.006, -0.005] * 2)
    assert judge(level)["verdict"] == "not reproduced"
    assert judge(level, at_least=True)["verdict"] == "reproduced"
    assert judge(level, at_least=True, effect=0.002)["verdict"] == "not reproduced"


def test_a_stated_effect_takes_the_place_of_a_point():
    assert judge(seeds([0.03] * 8), effect=0.05)["verdict"] == "not reproduced"


def test_a_small_budget_concludes_nothing():
    found = judge(seeds(GAIN), budget="1 epoch, the paper 50")
    assert found["verdict"] == "budget-limited"
    assert found["budget"] == "1 epoch, the paper 50"


def test_the_interval_of_seeds_alone_is_that_of_a_normal_mean():
    values = np.random.default_rng(1).normal(0.02, 0.01, 400)
    found = judge(seeds(values))
    half = stats.norm.ppf(0.95) * values.std() / 20
    assert found["low"] == pytest.approx(values.mean() - half, abs=2e-4)
    assert found["high"] == pytest.approx(values.mean() + half, abs=2e-4)
    assert found["value"] == pytest.approx(values.mean(), abs=1e-4)


def test_luck_of_pictures_widens_the_interval():
    narrow, wide = (judge(seeds(GAIN, spread)) for spread in (0.0, 0.1))
    assert wide["high"] - wide["low"] > 2 * (narrow["high"] - narrow["low"])
    assert wide["value"] == narrow["value"] == 0.05


def test_resamples_that_lie_lower_do_not_move_the_interval():
    level = judge(seeds(GAIN, 0.02))
    lower = [
        {"value": s["value"], "draws": [d - 0.03 for d in s["draws"]]}
        for s in seeds(GAIN, 0.02)
    ]
    found = judge(lower)
    for end in ("low", "high"):
        assert found[end] == pytest.approx(level[end], abs=1e-4)
    assert level["low"] < level["value"] < level["high"]


def test_a_verdict_is_the_same_each_time():
    assert judge(seeds(GAIN, 0.1)) == judge(seeds(GAIN, 0.1))


def test_resamples_of_a_mean_scatter_like_its_standard_error():
    hits = np.arange(100) < 30
    found = resample_mean(hits, draws=4000)
    assert found["value"] == 0.3 and len(found["draws"]) == 4000
    assert np.mean(found["draws"]) == pytest.approx(0.3, abs=0.005)
    assert np.std(found["draws"]) == pytest.approx(np.sqrt(0.21 / 100), rel=0.05)


def test_groups_are_drawn_each_for_itself():
    def ratio(weights):  # of the second group's size to the first one's
        return weights[:, 3:].sum(1) / weights[:, :3].sum(1)

    found = resample(ratio, (3, 6))
    assert found["value"] == 2 and set(found["draws"]) == {2.0}


def test_both_arms_meet_the_same_pictures():
    a = np.random.default_rng(0).random(50)
    b = a - 0.1  # 0.1 worse on every picture: the difference has no luck in it
    found = resample_mean(a - b)
    assert found["value"] == 0.1 and set(found["draws"]) == {0.1}


def test_no_pictures_and_no_seeds_are_errors():
    with pytest.raises(ValueError, match="cannot be resampled"):
        resample_mean([])
    with pytest.raises(ValueError, match="no seed"):
        judge([])


def test_benjamini_hochberg_by_hand():
    # sorted p: .01 ≤ .025, .04 ≤ .05, .09 > .075, .5: the first two survive
    kinds = ("reproduced", "inconclusive", "reproduced", "not reproduced")
    checks = [
        {"p": p, "verdict": kind}
        for p, kind in zip((0.04, 0.5, 0.09, 0.01), kinds, strict=True)
    ]
    assert survivors(checks) == [True, False, False, True]
    assert survivors([{"verdict": "reproduced"}]) == [False]


def test_a_null_says_how_large_an_effect_it_would_have_seen():
    null = {"low": -0.01, "high": 0.01, "effect": 0.01, "at_least": False}
    error = 0.01 / stats.norm.ppf(0.95)
    found = verdict.detectable(null)
    assert found == pytest.approx(error * (stats.norm.ppf(0.95) + stats.norm.ppf(0.8)))
    # with so large a difference the interval lies above the bar that often
    luck = np.random.default_rng(0).normal(found, error, 20_000)
    assert np.mean(luck - 0.01 > 0) == pytest.approx(0.8, abs=0.01)
    assert verdict.detectable({**null, "at_least": True}) == pytest.approx(found - 0.01)
    assert verdict.detectable(null, power=0.5) == pytest.approx(0.01)
    assert verdict.detectable({**null, "low": None}) is None


def test_p_is_the_chance_of_the_opposite():
    assert judge(seeds(GAIN))["p"] < 0.001
    assert judge(seeds([-v for v in GAIN]))["p"] < 0.001
    assert judge(seeds([0.05, -0.05] * 4))["p"] == pytest.approx(0.64, abs=0.03)


def test_a_check_stores_its_terms_with_the_difference():
    check = Check("a beats b", "a", "b", "U", at_least=True, effect=0.02)
    found = check.measured({"value": 0.1, "draws": [0.1]})
    assert found == {
        "name": "a beats b",
        "score": "U",
        "at_least": True,
        "effect": 0.02,
        "budget": "",
        "value": 0.1,
        "draws": [0.1],
    }


def test_the_report_counts_checks_and_survivors():
    checks = [
        {"name": "it helps", **judge(seeds(GAIN))},
        {"name": "it harms", **judge(seeds([0.05, -0.05] * 4))},
    ]
    first, second, last = verdict.report(checks).splitlines()
    assert first.startswith("reproduced    *  +5.0 [+") and first.endswith("it helps")
    assert second.startswith("inconclusive     +0.0 [")
    # half an interval of 2.5 points, and half of that again for the power
    seen = 2.5 * (1 + stats.norm.ppf(0.8) / stats.norm.ppf(0.95))
    assert second.endswith(f"[-2.5, +2.5]  it harms (seen from +{seen:.1f})")
    assert last.startswith("checks: 2, seeds: 8; * 1 survive")
