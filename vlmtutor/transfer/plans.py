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
class Plan:
    """Methods by name; (task, domain) pairs; domains of the search.

    ``shots`` says which numbers of shots a task is limited to; ``target`` is
    the accuracy that the domains' strengths leave to zero-shot on all classes
    (on half of them it has it easier).
    """

    methods: dict[str, Method]
    tasks: tuple[tuple[str, str], ...]
    search_domains: tuple[str, ...] = ("sketch", "night")
    n_test: int = 12
    shots: dict[tuple[str, str], tuple[int, ...]] = field(default_factory=dict)
    target: float = 0.5


LEARNING_RATES = (3e-3, 1e-2, 3e-2)
PROMPTS = Plan(
    methods={
        "zero-shot": Method("zero-shot", learns=False),
        "hand prompt": Method("hand prompt", learns=False),
        "CoOp": Method("CoOp", grid={"lr": LEARNING_RATES}),
        "CoOp, five classes": Method("CoOp", classes=5, like="CoOp"),
        "CoOp, random start": Method(
            "CoOp", {"context": None}, {"lr": LEARNING_RATES}
        ),
        "KgCoOp": Method(
            "KgCoOp", grid={"lr": LEARNING_RATES, "weight": (1, 8)}
        ),
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
        "TPT, no step": Method(
            "hand prompt", pictures=2, learns=False, draws=True
        ),
    },
    tasks=(("mixed", "sketch"), ("vehicles", "night"), ("faces", "pixel")),
    shots={("vehicles", "night"): (1, 4, 16), ("faces", "pixel"): (1, 4, 16)},
    target=0.44,
)
PLANS = {"08_prompt_tuning": PROMPTS}
