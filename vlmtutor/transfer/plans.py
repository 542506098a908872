"""Which methods, settings and tasks the study of each notebook compares."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Method:
    """``fit`` of :data:`METHODS`, what is fixed, and what is searched.

    ``pictures`` limits test pictures a class, for methods slow to predict;
    ``learns`` is False for those that look at no label.  ``classes`` limits
    the classes that have labelled pictures; ``like`` names the method whose
    settings are taken over.  ``draws`` gives a method that looks at no label
    a run for each seed all the same, each on test pictures of its own.
    """

    fit: str
    fixed: dict = field(default_factory=dict)
    grid: dict = field(default_factory=dict)
    pictures: int | None = None
    learns: bool = True
    classes: int | None = None
    like: str | None = None
    draws: bool = False


@dataclass(frozen=True)
class Claim:
    """What a paper says: ``better`` has more of ``what`` than ``than``.

    ``what`` is "base", "novel", their harmonic mean "H" or plain mean
    "both", or "ECE", the mean of both halves' calibration errors.
    """

    sentence: str
    better: str
    than: str
    what: str
    shots: int = 16


@dataclass(frozen=True)
class Plan:
    """Methods by name; (task, domain) pairs; domains of the search.

    ``shots`` says which numbers of shots a task is limited to; ``target`` is
    the accuracy that the domains' strengths leave to zero-shot on all classes
    (on half of them it has it easier).  ``claims`` are written down before
    anything is measured.
    """

    methods: dict[str, Method]
    tasks: tuple[tuple[str, str], ...]
    search_domains: tuple[str, ...] = ("sketch", "night")
    n_test: int = 12
    shots: dict[tuple[str, str], tuple[int, ...]] = field(default_factory=dict)
    target: float = 0.5
    claims: tuple[Claim, ...] = ()


LEARNING_RATES = (3e-3, 1e-2, 3e-2)
PROMPTS = Plan(
    methods={
        "zero-shot": Method("zero-shot", learns=False),
        "hand prompt": Method("hand prompt", learns=False),
        "CoOp": Method("CoOp", grid={"lr": LEARNING_RATES}),
        "CoOp, five classes": Method("CoOp", classes=5, like="CoOp"),
        "CoOp, random start": Method("CoOp", {"context": None}, {"lr": LEARNING_RATES}),
        "KgCoOp": Method("KgCoOp", grid={"lr": LEARNING_RATES, "weight": (1, 8)}),
        "ProGrad": Method(
            "ProGrad", grid={"lr": LEARNING_RATES, "strength": (0.5, 1.0)}
        ),
        "CoCoOp": Method("CoCoOp", grid={"lr": LEARNING_RATES}),
        "linear probe": Method("linear probe", grid={"C": (10, 100, 1000)}),
        "TPT": Method(
            "TPT",
            grid={"lr": (5e-3, 2e-2), "smallest": (0.5, 0.8)},
            pictures=2,
            learns=False,
            draws=True,
        ),
        # TPT's start, on the pictures that TPT is tried on
        "TPT, no step": Method("hand prompt", pictures=2, learns=False, draws=True),
    },
    tasks=(("mixed", "sketch"), ("vehicles", "night"), ("faces", "pixel")),
    shots={("vehicles", "night"): (1, 4, 16), ("faces", "pixel"): (1, 4, 16)},
    target=0.44,
    claims=(
        Claim(
            "CoOp beats the zero-shot ensemble on the classes it learned",
            "CoOp",
            "zero-shot",
            "base",
        ),
        Claim(
            "CoOp falls below zero-shot on classes it did not learn",
            "zero-shot",
            "CoOp",
            "novel",
        ),
        Claim(
            "CoOp started at random does so", "zero-shot", "CoOp, random start", "novel"
        ),
        Claim("CoCoOp beats CoOp on new classes", "CoCoOp", "CoOp", "novel"),
        Claim("CoCoOp beats CoOp on balance", "CoCoOp", "CoOp", "H"),
        Claim("KgCoOp beats CoOp on new classes", "KgCoOp", "CoOp", "novel"),
        Claim("KgCoOp beats CoOp on balance", "KgCoOp", "CoOp", "H"),
        Claim(
            "ProGrad beats CoOp where there is one picture a class",
            "ProGrad",
            "CoOp",
            "base",
            1,
        ),
        Claim("TPT's one step raises accuracy", "TPT", "TPT, no step", "both", 0),
        Claim(
            "TPT's one step makes calibration worse", "TPT", "TPT, no step", "ECE", 0
        ),
        Claim(
            "a linear probe of one picture a class loses to zero-shot",
            "zero-shot",
            "linear probe",
            "base",
            1,
        ),
    ),
)
PLANS = {"08_prompt_tuning": PROMPTS}
