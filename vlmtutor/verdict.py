"""How a claim over seeds is judged: one rule for the whole course.

A claim compares two arms that differ in one thing.  Each seed measures their
difference on its own test pictures, and again on pictures drawn from those
with replacement (:func:`resample`).  The two-level bootstrap then draws seeds
with replacement, and for each seed drawn one of its resamples (Davison and
Hinkley 1997, *Bootstrap Methods and their Application*, section 3.8), so that
the interval knows both kinds of luck: of the seed and of the pictures.  Figures
such as IoU or a harmonic mean are lower, on average, on resampled pictures, which
hold fewer different ones; so each seed's resamples are moved to lie around its
own figure, and tell how unsure that is and no more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

SEEDS = 8  # fewer give no verdict
EFFECT = 0.01  # the smallest effect that counts, where a claim states none
MARGIN = 0.01  # what "at least as good" may lose, likewise
LEVEL = 0.90  # of the interval
DISCOVERY = 0.10  # share of false discoveries that Benjamini-Hochberg allows
POWER = 0.80  # with which chance a difference would have been seen
DRAWS = 200  # resamples of its pictures that a seed stores
RESAMPLES = 10_000  # of the seeds
TERMS = ("at_least", "effect", "budget")  # of a check, besides its arms

REPRODUCED, NOT_REPRODUCED = "reproduced", "not reproduced"
INCONCLUSIVE, BUDGET_LIMITED = "inconclusive", "budget-limited"
NO_VERDICT, ONE_RUN = "no verdict", "one run"


@dataclass(frozen=True)
class Check:
    """What a paper says: ``better`` has more of ``score`` than ``worse``.

    The arms are whatever an experiment compares: names of its rows, results
    on the same pictures, or one value a picture.  ``effect`` is the smallest
    difference that counts; with ``at_least`` the claim is that ``better`` is
    as good, and may lose ``effect``.  ``budget`` tells why nothing can be
    concluded, where a method saw far less than its paper's or its rival's.
    """

    sentence: str
    better: Any
    worse: Any
    score: str = "h"
    at_least: bool = False
    effect: float = EFFECT
    budget: str = ""

    def measured(self, difference: dict) -> dict:
        """What one seed stores: the check, and :func:`resample`'s difference."""
        terms = {name: getattr(self, name) for name in TERMS}
        return {"name": self.sentence, "score": self.score, **terms, **difference}


def resample(
    statistic: Callable[[np.ndarray], np.ndarray],
    pictures: int | Sequence[int],
    seed: int = 0,
    draws: int = DRAWS,
) -> dict:
    """A figure of one seed, and the same of resampled pictures.

    ``statistic`` maps how often each picture counts, [R, N] float, to [R]
    figures; for a difference it gives both arms the same pictures.
    ``pictures`` is N, or the sizes of groups that are drawn each for itself.
    Returns {"value": float, "draws": [draws]}.  Raises ValueError where there
    is no picture.
    """
    sizes = np.atleast_1d(pictures)
    if sizes.min() < 1:
        raise ValueError(f"{pictures} pictures cannot be resampled")
    rng = np.random.default_rng(seed)
    picks = [rng.multinomial(n, np.full(n, 1 / n), size=draws) for n in sizes]
    whole = np.ones((1, sizes.sum()))
    drawn = statistic(np.concatenate(picks, 1).astype(float))
    return {
        "value": round(float(np.ravel(statistic(whole))[0]), 4),
        "draws": [round(float(x), 4) for x in drawn],
    }


def resample_mean(values, seed: int = 0, draws: int = DRAWS) -> dict:
    """:func:`resample` of the mean of one value a picture [N]."""
    values = np.asarray(values, float).ravel()
    return resample(lambda w: w @ values / len(values), len(values), seed, draws)


def judge(
    by_seed: Sequence[dict],
    at_least: bool = False,
    effect: float = EFFECT,
    budget: str = "",
    resamples: int = RESAMPLES,
) -> dict:
    """The verdict on {"value", "draws"} of each seed, and what it rests on.

    "low" and "high" bound the 90 % interval of the mean difference.
    *Reproduced*: the interval lies above the bar, 0 (-``effect`` for claims
    of ``at_least``), and at most one seed lies below it.  *Not reproduced*:
    the interval's upper end lies below ``effect`` (the bar for ``at_least``);
    so a gain that is surely smaller than what counts is none.
    *Inconclusive* else.  "p" is the chance, by the same bootstrap, of what
    would overturn the verdict.  Raises ValueError without seeds.
    """
    if not by_seed:
        raise ValueError("no seed, no verdict")
    values = np.array([seed["value"] for seed in by_seed])
    means = _means([_around(**seed) for seed in by_seed], resamples)
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(means, [tail, 100 - tail])
    bar, ceiling = (-effect, -effect) if at_least else (0.0, effect)
    if budget:
        verdict = BUDGET_LIMITED
    elif len(values) < SEEDS:
        verdict = ONE_RUN if len(values) == 1 else NO_VERDICT
    elif high < ceiling:
        verdict = NOT_REPRODUCED
    elif low > bar and (values < bar).sum() <= 1:
        verdict = REPRODUCED
    else:
        verdict = INCONCLUSIVE
    against = means >= ceiling if verdict == NOT_REPRODUCED else means <= bar
    return {
        "verdict": verdict,
        "value": round(float(values.mean()), 4),
        "low": round(float(low), 4),
        "high": round(float(high), 4),
        "by_seed": [round(float(v), 4) for v in values],
        "p": round(float((1 + against.sum()) / (1 + len(means))), 4),
        "effect": effect,
        "at_least": at_least,
        **({"budget": budget} if budget else {}),
    }


def _around(value: float, draws: Sequence[float], **_) -> np.ndarray:
    """A seed's resamples, moved so that their mean is its own figure."""
    return np.asarray(draws, float) + (value - np.mean(draws))


def _means(draws: Sequence[Sequence[float]], resamples: int) -> np.ndarray:
    """Means over seeds drawn again, each on pictures drawn again: [R]."""
    rng = np.random.default_rng(0)
    sizes = np.array([len(own) for own in draws])
    table = np.zeros((len(draws), sizes.max()))
    for row, own in zip(table, draws, strict=True):
        row[: len(own)] = own
    seeds = rng.integers(len(draws), size=(resamples, len(draws)))
    pictures = rng.integers(sizes[seeds])
    return table[seeds, pictures].mean(1)


def detectable(check: dict, power: float = POWER) -> float | None:
    """How large a true difference a check would have called reproduced.

    With a chance of ``power``, had it been as unsure as it was: the spread is
    that of its interval, taken for normal.  So a null that was found says
    what it rules out.  None without an interval.
    """
    from scipy.stats import norm

    if None in (check["low"], check["high"]):
        return None
    half = norm.ppf((1 + LEVEL) / 2)  # of the interval, in standard errors
    error = (check["high"] - check["low"]) / 2 / half
    bar = -check["effect"] if check["at_least"] else 0.0
    return float(bar + error * (half + norm.ppf(power)))


def survivors(checks: Sequence[dict]) -> list[bool]:
    """Which verdicts survive Benjamini-Hochberg among all these checks.

    Only "reproduced" and "not reproduced" can; the others count among the
    tests that were made.
    """
    from scipy.stats import false_discovery_control

    tested = [k for k, c in enumerate(checks) if c.get("p") is not None]
    found = [False] * len(checks)
    if not tested:
        return found
    adjusted = false_discovery_control([checks[k]["p"] for k in tested])
    for k, p in zip(tested, adjusted, strict=True):
        sure = checks[k]["verdict"] in (REPRODUCED, NOT_REPRODUCED)
        found[k] = bool(sure and p <= DISCOVERY)
    return found


def report(checks: Sequence[dict]) -> str:
    """A line a check, in points, and how many survive Benjamini-Hochberg.

    What is not reproduced or inconclusive has the difference that would have
    been (:func:`detectable`).  Those that were judged by the old rule have
    neither interval nor p.
    """
    kept, lines = survivors(checks), []
    for check, survives in zip(checks, kept, strict=True):
        value, ends = 100 * check["value"], (check["low"], check["high"])
        interval = "" if None in ends else " [{:+.1f}, {:+.1f}]"
        interval = interval.format(*(100 * (end or 0) for end in ends))
        mark = "*" if survives else " "
        line = f"{check['verdict']:14}{mark} {value:+5.1f}{interval}  {check['name']}"
        if check["verdict"] in (NOT_REPRODUCED, INCONCLUSIVE) and interval:
            line += f" (seen from {100 * detectable(check):+.1f})"
        lines.append(line)
    seeds = sorted({len(check["by_seed"]) for check in checks})
    told = f"checks: {len(checks)}, seeds: {', '.join(map(str, seeds))}; "
    if any("p" in check for check in checks):
        told += f"* {sum(kept)} survive Benjamini-Hochberg at 10 %"
    else:
        told += "judged by the old rule"
    return "\n".join([*lines, told])


def old_rule(differences: Sequence[float], level: float = 0.95) -> str:
    """The rule of the results that were stored with three seeds.

    "reproduced" or "not reproduced" where the interval of ``level`` around
    their mean (Student's t) leaves out 0, else "inconclusive".  Goes when the
    last of them has been run again.  Raises ValueError for fewer than two.
    """
    from scipy import stats

    d = np.asarray(differences, float)
    if len(d) < 2:
        raise ValueError("one difference says nothing of luck")
    mean, error = d.mean(), d.std(ddof=1) / len(d) ** 0.5
    half = stats.t.ppf((1 + level) / 2, len(d) - 1) * error
    if abs(mean) <= half:
        return INCONCLUSIVE
    return REPRODUCED if mean > 0 else NOT_REPRODUCED
