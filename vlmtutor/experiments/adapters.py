"""Few-shot tables of the adapters of notebook 10, and WiSE-FT's bargain."""

from __future__ import annotations

from ..transfer.claims import ADAPTERS
from ..transfer.few_shot import first
from ..transfer.tasks import SHOTS
from ..verdict import Check
from . import grid
from .answers import answers, difference, packed, scores_of
from .experiment import Experiment, Seconds
from .transfer import (
    N_VAL,
    PHRASECLIP,
    TUNING_SEED,
    Method,
    Study,
    learn,
    prepared,
    pseudo,
    stickers,
    title,
)

STUDY = Study(
    methods={
        "zero-shot": Method("zero-shot", learns=False),
        "linear probe": Method("linear probe", grid={"C": (1, 10, 100, 1000)}),
        "CLIP-Adapter": Method(
            "CLIP-Adapter", grid={"ratio": (0.2, 0.5), "lr": (3e-4, 1e-3, 3e-3)}
        ),
        # the paper's own numbers, nothing searched
        "Tip-Adapter, as published": Method("Tip-Adapter", {"alpha": 1.0, "beta": 5.5}),
        "Tip-Adapter": Method(
            "Tip-Adapter",
            grid={"alpha": (1, 3, 10, 30), "beta": (1, 3, 5.5, 10)},
            paper={"alpha": 1.0, "beta": 5.5},
        ),
        "Tip-Adapter-F": Method(
            "Tip-Adapter-F",
            grid={"alpha": (1, 3, 10), "beta": (3, 5.5), "lr": (1e-3, 3e-3)},
        ),
        "TaskRes": Method(
            "TaskRes", grid={"alpha": (0.5, 1.0), "lr": (5e-4, 2e-3, 5e-3)}
        ),
        "CALIP": Method(
            "CALIP",
            grid={"beta2": (0, 0.5, 2), "beta3": (0, 0.25, 0.5, 1)},
            learns=False,
        ),
    },
    # tasks and test pictures are those of the prompts
    tasks={
        ("mixed", "sketch"): SHOTS,
        ("vehicles", "night"): SHOTS,
        ("faces", "pixel"): SHOTS,
    },
    checks=ADAPTERS,
)

# WiSE-FT runs the picture encoder: the first task, two numbers of shots.  Its
# claim is about shifted test sets: the same classes in domains not tuned for.
WISE_FT = Method("WiSE-FT", {"blocks": 2, "steps": 20}, {"lr": (1e-4, 3e-4, 1e-3)})
WISE_FT_SHOTS = (1, 16)
SHIFTS = ("night", "pixel")
ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)
FEW = 6  # pictures a class, of the target, of each shift and of stickers
HALF_WAY = (
    ("half-way beats zero-shot on shifted test sets", 0.0, "shifted"),
    ("half-way beats the fine-tuned end on shifted test sets", 1.0, "shifted"),
    ("half-way beats the fine-tuned end where it was tuned", 1.0, "base"),
)


def choose_wise_ft(name: str, backbone: str) -> dict:
    """A step size for each number of shots, by the mean of half-way and end.

    On validation sketches of the base classes: no shifted picture is seen.
    """
    target = next(iter(STUDY.tasks))
    task = pseudo(backbone, *target)
    val = first(task.val(N_VAL, half="base"), FEW)
    found: dict = {"chosen": {}, "grid": []}
    for k in WISE_FT_SHOTS:
        train = task.shots(k, TUNING_SEED, "base")

        def score(train=train, **knobs) -> float:
            end = learn(WISE_FT, train, TUNING_SEED, alpha=1.0, **knobs)
            both = [scores_of(answers(p, val))["base"] for p in (end.at(0.5), end)]
            return sum(both) / 2

        own = grid.choose(WISE_FT.grid, score)
        found["chosen"][str(k)] = own["chosen"]
        found["grid"] += [{"shots": k, **row} for row in own["grid"]]
    return found


def shifted(backbone: str, seed: int) -> dict:
    """Base classes of the target in other domains, a few pictures of each."""
    name = next(iter(STUDY.tasks))[0]
    tasks = {domain: prepared(backbone, name, domain, FEW) for domain in SHIFTS}
    return {domain: task.test("base", seed) for domain, task in tasks.items()}


def measure_wise_ft(name: str, seed: int, backbone: str, chosen: dict) -> dict:
    """Accuracies on target, shifts and stickers along the line of weights."""
    target = next(iter(STUDY.tasks))
    task = prepared(backbone, *target, STUDY.n_test)
    halves = [first(task.test(half, seed), FEW) for half in ("base", "novel")]
    groups = {
        **shifted(backbone, seed),
        "kept": stickers(backbone, target[0], FEW, seed),
    }
    rows, found = [], {}
    for k in WISE_FT_SHOTS:
        seconds, knobs = Seconds(), chosen[str(k)]
        with seconds("fit_s"):
            train = task.shots(k, seed, "base")
            predictor = learn(WISE_FT, train, seed, **knobs)
        for alpha in ALPHAS:
            found[k, alpha] = answers(predictor.at(alpha), *halves, **groups)
            rows.append(
                {
                    "row": f"{title(*target, k)}, alpha {alpha}",
                    "shots": k,
                    "alpha": alpha,
                    "chosen": knobs,
                    "scores": scores_of(found[k, alpha]),
                    "step0": scores_of(found[k, ALPHAS[0]]),
                    "steps": WISE_FT.steps,
                    "views": WISE_FT.views(len(train)),
                    "trained": predictor.parameters_trained,
                    **seconds,
                }
            )
    many = WISE_FT_SHOTS[-1]
    half_way = [
        Check(sentence, 0.5, end, score).measured(
            difference(packed(found[many, 0.5]), packed(found[many, end]), score)
        )
        for sentence, end, score in HALF_WAY
    ]
    return {"rows": rows, "checks": half_way}


def choose(name: str, backbone: str) -> dict:
    own = choose_wise_ft if name == "WiSE-FT" else STUDY.choose
    return own(name, backbone)


def code(name: str) -> list[str]:
    if name == "WiSE-FT":
        return ["vlmtutor.transfer.wise_ft", "vlmtutor.transfer.tasks"]
    return STUDY.code(name)


EXPERIMENT = Experiment(
    name="10_adapters",
    about="CLIP-Adapter, Tip-Adapter, TaskRes, CALIP, WiSE-FT: few-shot tables",
    parts={
        **dict.fromkeys(STUDY.methods, STUDY.measure),
        "WiSE-FT": measure_wise_ft,
    },
    backbones=(PHRASECLIP,),
    choose=choose,
    compare=STUDY.compare,
    code=code,
)
