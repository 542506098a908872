"""How strong the domains of the transfer tasks are, set once.

For each task the strength that leaves zero-shot at one half, on validation
pictures that no fit and no test sees; :data:`vlmtutor.transfer.tasks.STRENGTHS`
holds what was found, rounded.
"""

from __future__ import annotations

from ..transfer.tasks import (
    CALIBRATION_SEED,
    STRENGTHS,
    bisect_strength,
    make_task,
    zero_shot_halves,
)
from .experiment import Experiment, open_backbone
from .transfer import PHRASECLIP

N_VAL = 12  # pictures a class
DIGITS = 2


def measure(name: str, seed: int, backbone: str) -> dict:
    """A row for each strength tried, the one nearest to the target first."""
    clip, (task_name, domain) = open_backbone(backbone), name.split(", ")
    rows = {}

    def score(strength: float) -> float:
        strength = round(strength, DIGITS)
        task = make_task(clip, task_name, domain, strength=strength, n_val=N_VAL)
        halves = zero_shot_halves(task, CALIBRATION_SEED)
        mean = sum(halves.values()) / 2
        rows[strength] = {
            "row": f"{name}, strength {strength}",
            "strength": strength,
            "scores": {k: round(v, 4) for k, v in {**halves, "mean": mean}.items()},
        }
        return mean

    tried = bisect_strength(score)
    order = dict.fromkeys(round(strength, DIGITS) for strength, _ in tried)
    return {"rows": [rows[strength] for strength in order]}


EXPERIMENT = Experiment(
    name="domains",
    about="how strong the domains of the transfer tasks are, on validation pictures",
    parts={f"{task}, {domain}": measure for task, domain in STRENGTHS},
    seeds=1,
    backbones=(PHRASECLIP,),
    code=lambda name: ["vlmtutor.transfer.tasks"],
)
