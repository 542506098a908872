"""Prompts from pictures without labels, and what a mere correction does."""

from __future__ import annotations

import numpy as np
import torch

from ...transfer import coop, upl
from ...transfer.base import HAND_PROMPT, ZeroShot
from ...transfer.tasks import make_task
from ...verdict import Check, resample
from ..answers import answers, scores_of
from ..experiment import open_backbone
from ..lessons import rounded
from ..transfer import PHRASECLIP
from .shared import measured

TASKS = (("mixed", "sketch"), ("vehicles", "night"), ("faces", "pixel"))
SHOTS, N_TEST = 16, 12  # pictures a class: unlabelled or labelled, and of tests
UNLABELLED = (
    Check("UPL beats the prompt it starts from", "UPL", "hand prompt"),
    Check("UPL beats the correction of the prior", "UPL", "prior corrected"),
)
GAP = Check("CoOp's gap from training to test is wider", "CoOp", "UPL", "gap")


def without_labels(name: str, seed: int, backbone: str) -> dict:
    """UPL, the correction of the prior, and CoOp with labels, on three tasks."""
    clip, rows, checks = open_backbone(PHRASECLIP), [], []
    for task_name, domain in TASKS:
        words = f"{task_name}, {domain}"
        task = make_task(clip, task_name, domain, n_test=N_TEST)
        task.encode((seed,), splits=("test",))
        pool = task.shots(SHOTS, seed, "base")  # of these alone, when first asked
        base, novel = (task.test(half, seed) for half in ("base", "novel"))
        found = {}
        for arm, learner in arms(pool, seed).items():
            found[arm] = answers(learner, base, novel, pool=pool)
            scores = scores_of(found[arm])
            scores["gap"] = round(scores["pool"] - scores["base"], 4)
            own = {"row": f"{arm}, {words}", "arm": arm, "task": words}
            rows.append({**own, "scores": scores})
        right, kept = pseudo_labelled(pool)
        own = {"row": f"pseudo-labels, {words}", "arm": "pseudo-labels", "task": words}
        rows.append({**own, "scores": rounded({"right": right}), "pictures": kept})
        checks += judged_on(found, seed, f" ({words})")
    return {"rows": rows, "checks": checks}


def arms(pool, seed: int) -> dict:
    """Predictors from the same pool, most of them without its labels."""
    given = pool.pictures.clip, pool.pictures, pool.labels, pool.classes
    clip, pictures, _, classes = given
    return {
        "zero-shot": ZeroShot(clip, classes),
        "hand prompt": ZeroShot(clip, classes, [HAND_PROMPT]),
        "prior corrected": upl.Unbiased(clip, classes, pictures),
        "UPL": upl.fit(*given, seed),
        "UPL's pictures, true labels": upl.fit(*given, seed, oracle=True),
        "CoOp": coop.fit(*given, seed),
    }


def pseudo_labelled(pool) -> tuple[float, int]:
    """How many of UPL's labels are right, and how many pictures have one."""
    hand = ZeroShot(pool.pictures.clip, pool.classes, [HAND_PROMPT])
    picked, labels = upl.pseudo_labels(hand(pool.pictures))
    return float((pool.labels[picked] == labels).float().mean()), len(picked)


def judged_on(found: dict, seed: int, words: str) -> list[dict]:
    """The checks of one task; a gap is resampled on both sides."""
    right = {arm: torch.as_tensor(a["base"][0]).float() for arm, a in found.items()}
    checks = measured(UNLABELLED, right, seed, words)
    compared, groups = [found[arm] for arm in (GAP.better, GAP.worse)], ("pool", "base")
    sizes = [len(compared[0][group][0]) for group in groups]

    def gap(own, weights: np.ndarray) -> np.ndarray:
        seen, unseen = np.split(weights, sizes[:1], axis=1)
        a, b = (own[group][0].astype(float) for group in groups)
        return seen @ a / seen.sum(1) - unseen @ b / unseen.sum(1)

    wider = resample(lambda w: gap(compared[0], w) - gap(compared[1], w), sizes, seed)
    return [*checks, {**GAP.measured(wider), "name": f"{GAP.sentence}{words}"}]
