"""Few-shot tables of the prompts of notebook 08."""

from __future__ import annotations

from ..transfer.claims import PROMPTS
from ..transfer.tasks import SHOTS
from .experiment import Experiment
from .transfer import PHRASECLIP, Method, Study

LEARNING_RATES = (3e-3, 1e-2, 3e-2)
LR = {"lr": LEARNING_RATES}

STUDY = Study(
    methods={
        "zero-shot": Method("zero-shot", learns=False),
        "hand prompt": Method("hand prompt", learns=False),
        "CoOp": Method("CoOp", grid=LR),
        "CoOp, five classes": Method("CoOp", classes=5, like="CoOp"),
        "CoOp, random start": Method("CoOp", {"context": None}, LR),
        "KgCoOp": Method("KgCoOp", grid={**LR, "weight": (1, 8)}),
        "ProGrad": Method(
            "ProGrad",
            grid={"lr": (0.1, 0.3, 1.0), "strength": (0.5, 1.0)},  # of plain descent
        ),
        # the same descent without the projection: what that alone brings
        "plain descent": Method("ProGrad", {"strength": 0.0}, like="ProGrad"),
        "CoCoOp": Method("CoCoOp", grid=LR),
        "linear probe": Method("linear probe", grid={"C": (10, 100, 1000)}),
        "TPT": Method(
            "TPT",
            grid={"lr": (5e-3, 2e-2), "smallest": (0.5, 0.8)},
            pictures=2,
            learns=False,
        ),
        # TPT's start, on the pictures that TPT is tried on
        "TPT, no step": Method("hand prompt", pictures=2, learns=False),
    },
    tasks={
        ("mixed", "sketch"): SHOTS,
        ("vehicles", "night"): (1, 4, 16),
        ("faces", "pixel"): (1, 4, 16),
    },
    checks=PROMPTS,
)

EXPERIMENT = Experiment(
    name="08_prompt_tuning",
    about="CoOp and its kin, TPT and a linear probe: few-shot tables",
    parts=dict.fromkeys(STUDY.methods, STUDY.measure),
    backbones=(PHRASECLIP,),
    choose=STUDY.choose,
    compare=STUDY.compare,
    code=STUDY.code,
)
