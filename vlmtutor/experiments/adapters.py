"""Few-shot tables of the adapters of notebook 10, and WiSE-FT's bargain."""

from __future__ import annotations

from ..transfer.claims import ADAPTERS
from ..transfer.few_shot import first
from ..transfer.tasks import SHOTS
from ..verdict import Check
from . import grid, scenes
from .experiment import Experiment, Seconds
from .transfer import (
    TUNING_SEED,
    Method,
    Study,
    answers,
    difference,
    learn,
    packed,
    prepared,
    scores_of,
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

# WiSE-FT runs the picture encoder: the first task, two numbers of shots.
WISE_FT = Method("WiSE-FT", {"blocks": 2, "steps": 20}, {"lr": (1e-4, 3e-4, 1e-3)})
WISE_FT_SHOTS = (1, 16)
ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)
FEW = 6  # pictures a class, each for the target and for stickers


def choose_wise_ft(name: str, backbone: str) -> dict:
    """The step size, by validation accuracy of the fine-tuned end."""
    task = prepared(backbone, "development", "sketch", STUDY.target)
    halves = [first(task.val(12, half=half), FEW) for half in ("base", "novel")]
    train = task.shots(max(WISE_FT_SHOTS), TUNING_SEED, "base")

    def score(**knobs) -> float:
        predictor = learn(WISE_FT, train, TUNING_SEED, alpha=1.0, **knobs)
        return scores_of(answers(predictor, *halves))["base"]

    return grid.choose(WISE_FT.grid, score)


def measure_wise_ft(name: str, seed: int, backbone: str, chosen: dict) -> dict:
    """Accuracies on the target and on stickers along the line of weights."""
    target = next(iter(STUDY.tasks))
    task = prepared(backbone, *target, STUDY.target, STUDY.n_test)
    halves = [first(task.test(half, seed), FEW) for half in ("base", "novel")]
    clean, rows, found = stickers(backbone, target[0], FEW, seed), [], {}
    for k in WISE_FT_SHOTS:
        seconds = Seconds()
        with seconds("fit_s"):
            train = task.shots(k, seed, "base")
            predictor = learn(WISE_FT, train, seed, **chosen)
        for alpha in ALPHAS:
            found[k, alpha] = answers(predictor.at(alpha), *halves, clean)
            rows.append(
                {
                    "row": f"{title(*target, k)}, alpha {alpha}",
                    "shots": k,
                    "alpha": alpha,
                    "scores": scores_of(found[k, alpha]),
                    "step0": scores_of(found[k, ALPHAS[0]]),
                    "steps": WISE_FT.steps,
                    "trained": predictor.parameters_trained,
                    **seconds,
                }
            )
    half_way = [
        Check(sentence, 0.5, end, "base").measured(
            difference(packed(found[1, 0.5]), packed(found[1, end]), "base")
        )
        for sentence, end in (
            ("half-way beats zero-shot, 1 shot", 0.0),
            ("half-way beats the fine-tuned end, 1 shot", 1.0),
        )
    ]
    return {"rows": rows, "checks": half_way}


OTHERS = {
    "WiSE-FT": (choose_wise_ft, measure_wise_ft),
    **{name: (scenes.choose, scenes.measure) for name in scenes.METHODS},
}


def choose(name: str, backbone: str) -> dict:
    own = OTHERS[name][0] if name in OTHERS else STUDY.choose
    return own(name, backbone)


def code(name: str) -> list[str]:
    if name not in OTHERS:
        return STUDY.code(name)
    module = "wise_ft" if name == "WiSE-FT" else scenes.METHODS[name].module
    return [f"vlmtutor.transfer.{module}", "vlmtutor.transfer.scene_sets"]


EXPERIMENT = Experiment(
    name="10_adapters",
    about="CLIP-Adapter, Tip-Adapter, TaskRes, CALIP, WiSE-FT; scenes of many things",
    parts={
        **dict.fromkeys(STUDY.methods, STUDY.measure),
        **{name: measure for name, (_, measure) in OTHERS.items()},
    },
    choose=choose,
    compare=STUDY.compare,
    code=code,
)
