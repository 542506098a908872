"""The study of notebook 09: ``python -m vlmtutor.transfer.study_visual``.

Prompts in pixels, in patches and in both encoders, beside CoOp and zero-shot.
About eighteen minutes on one core; writes
``notebooks/results/09_visual_and_unified_prompts.json``.
"""

from __future__ import annotations

import functools
import sys

from . import get_fit
from . import plans_visual as plan
from .few_shot import accuracy
from .study import SEEDS, learn
from .study_tables import development, main, run_task, search
from .tasks import make_task

NAME = "09_visual_and_unified_prompts"


def choose(clip, notes, say=print) -> None:
    """Settings of all methods."""
    task = development(clip, plan.SEARCH_DOMAIN)
    notes["settings"], notes["search"] = search(
        plan.METHODS, task, plan.SEARCH_SHOTS, plan.SEARCH_PICTURES, say
    )


def table(clip, notes, name: str, say=print) -> None:
    """The runs on one task."""
    ((domain, shots),) = [
        (domain, shots) for (own, domain), shots in plan.TASKS.items() if own == name
    ]
    run_task(
        clip,
        notes,
        plan.METHODS,
        name,
        domain,
        shots,
        SEEDS,
        n_test=plan.N_TEST,
        n_kept=plan.N_KEPT,
        say=say,
    )


def add_distances(clip, notes, say=print) -> None:
    notes["distances"] = distances(clip, notes["settings"]["VP"], say)


def distances(clip, settings: dict, say=print) -> list[dict]:
    """VP's gain on base classes for sketches of several strengths."""
    rows = []
    for strength in plan.DISTANCES:
        task = make_task(clip, "mixed", "sketch", strength=strength, n_test=plan.N_TEST)
        test = task.test("base")
        before = get_fit("zero-shot")(clip, None, None, test.classes)
        zero_shot = accuracy(before, test)
        for seed in SEEDS:
            train = task.shots(16, seed, "base")
            predictor, _ = learn(plan.METHODS["VP"], train, seed, **settings)
            rows.append(
                {
                    "strength": strength,
                    "seed": seed,
                    "zero_shot": round(zero_shot, 4),
                    "VP": round(accuracy(predictor, test), 4),
                }
            )
        say(f"VP: {rows[-1]}")
    return rows


PARTS = {
    "search": choose,
    "mixed": functools.partial(table, name="mixed"),
    "faces": functools.partial(table, name="faces"),
    "distances": add_distances,
}

if __name__ == "__main__":
    sys.exit(main(NAME, PARTS, __doc__))
