"""Every claim that was checked, and what is left of it after so many checks.

A check that is wrong one time in ten is wrong ten times in a hundred.  Holm's
correction bounds the chance of a single wrong one, Benjamini and Hochberg's the
share of wrong ones among those that are kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ... import stored
from ...verdict import (
    BUDGET_LIMITED,
    DISCOVERY,
    INCONCLUSIVE,
    NOT_REPRODUCED,
    REPRODUCED,
    survivors,
)
from .tidy import DETECTION, SEGMENTATION

VERDICTS = (REPRODUCED, NOT_REPRODUCED, INCONCLUSIVE, BUDGET_LIMITED)
FAMILY = DISCOVERY  # chance of one wrong claim among all, for Holm
STAGES = {  # of the course → the experiments whose claims it has
    "pre-training": (
        "02_frameworks",
        "03_contrastive",
        "05_alignment",
        "06_pretraining",
        "warm_start",
    ),
    "transfer": (
        "08_prompt_tuning",
        "09_visual_and_unified_prompts",
        "10_adapters",
        "10b_labels_and_pixels",
        "forgetting",
    ),
    "small student": ("11_distil_a_student",),
    SEGMENTATION: (SEGMENTATION,),
    DETECTION: (DETECTION,),
    "what comes next": ("19_what_comes_next",),
}


def claims(*experiments: str) -> list[dict]:
    """The checks of stored experiments, each with its "task" and "old" or not.

    As :func:`vlmtutor.verdict.judge` gives them, with "method", "backbone" and
    "name"; "old" are those of an earlier program and rule.  An experiment
    without a file has none.
    """
    found = []
    for name in experiments:
        try:
            told = stored.load(name)
        except FileNotFoundError:
            continue
        checks = [
            (check, row["method"], row["backbone"], _old(row["rule"]))
            for row in told.get("rows", ())
            for check in row.get("checks") or ()
        ]
        if "rows" not in told:  # it has not been run by today's program
            old = told.get("old checks", ())
            checks = [(c, c["method"], c["backbone"], True) for c in old]
        found += [
            {**c, "method": method, "backbone": backbone, "task": name, "old": old}
            for c, method, backbone, old in checks
        ]
    return found


def _old(rule: str | None) -> bool:
    return (rule or "").startswith("old")


def holm(p: Sequence[float]) -> np.ndarray:
    """Holm's adjusted p-values (1979): the smallest times n, the next n - 1, …

    None is below an earlier one, nor above 1.
    """
    p = np.asarray(p, float)
    order, n = np.argsort(p, kind="stable"), len(p)
    raised = np.maximum.accumulate(p[order] * np.arange(n, 0, -1))
    adjusted = np.empty(n)
    adjusted[order] = np.minimum(raised, 1)
    return adjusted


def corrected(checks: Sequence[dict]) -> list[dict]:
    """The same checks, each with whether its verdict survives "holm" and "bh".

    All with a p-value are corrected together; only "reproduced" and "not
    reproduced" can survive.
    """
    tested = [k for k, check in enumerate(checks) if check.get("p") is not None]
    adjusted = dict(zip(tested, holm([checks[k]["p"] for k in tested]), strict=True))
    kept = survivors(checks)
    sure = (REPRODUCED, NOT_REPRODUCED)
    return [
        {
            **check,
            "holm": check["verdict"] in sure and bool(adjusted.get(k, 1) <= FAMILY),
            "bh": kept[k],
        }
        for k, check in enumerate(checks)
    ]


def counts(checks: Sequence[dict]) -> list[tuple[str, int, int, int]]:
    """(verdict, how many, of them after Holm, after Benjamini-Hochberg).

    ``checks`` are :func:`corrected`; the last row is of all.
    """
    rows = []
    names = dict.fromkeys([*VERDICTS, *(check["verdict"] for check in checks)])
    for verdict in names:
        own = [check for check in checks if check["verdict"] == verdict]
        left = (sum(check[k] for check in own) for k in ("holm", "bh"))
        rows.append((verdict, len(own), *left))
    total = tuple(sum(row[k] for row in rows) for k in (1, 2, 3))
    return [*rows, ("all", *total)]


def signs(check: dict) -> str:
    """ "+++-++++": on which side of its bar each seed lies."""
    bar = -(check.get("effect") or 0) if check.get("at_least") else 0.0
    sides = np.sign(np.array(check["by_seed"]) - bar).astype(int)
    return "".join("0+-"[side] for side in sides)
