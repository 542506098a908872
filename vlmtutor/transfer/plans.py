"""Which methods, settings and tasks the study of each notebook compares."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Method:
    """``fit`` of :data:`METHODS`, what is fixed, and what is searched.

    ``pictures`` limits test pictures a class, for methods slow to predict;
    ``learns`` is False for those that look at no label.  ``classes`` limits
    the classes that have labelled pictures; ``like`` names the method whose
    settings are taken over.
    """

    fit: str
    fixed: dict = field(default_factory=dict)
    grid: dict = field(default_factory=dict)
    pictures: int | None = None
    learns: bool = True
    classes: int | None = None
    like: str | None = None


@dataclass(frozen=True)
class Plan:
    """Methods by name; (task, domain) pairs; domains of the search."""

    methods: dict[str, Method]
    tasks: tuple[tuple[str, str], ...]
    search_domains: tuple[str, ...] = ("sketch", "night")
    n_test: int = 12


PROMPTS = Plan(
    methods={
        "zero-shot": Method("zero-shot", learns=False),
        "hand prompt": Method("hand prompt", learns=False),
        "CoOp": Method(
            "CoOp", grid={"lr": (1e-3, 3e-3, 1e-2), "steps": (50, 100)}
        ),
        "CoOp, five classes": Method("CoOp", classes=5, like="CoOp"),
        "CoOp, random start": Method(
            "CoOp", {"context": None}, {"lr": (1e-2, 3e-2, 6e-2)}
        ),
        "KgCoOp": Method(
            "KgCoOp", grid={"lr": (1e-3, 3e-3, 1e-2), "weight": (1, 4, 8)}
        ),
        "ProGrad": Method(
            "ProGrad",
            grid={"lr": (1e-3, 3e-3, 1e-2), "strength": (0.5, 1.0)},
        ),
        "CoCoOp": Method("CoCoOp", grid={"lr": (1e-3, 3e-3, 1e-2)}),
        "linear probe": Method("linear probe", grid={"C": (10, 100, 1000)}),
        "TPT": Method(
            "TPT",
            grid={"lr": (1e-3, 5e-3), "smallest": (0.5, 0.8)},
            pictures=3,
            learns=False,
        ),
        # TPT's start, on the pictures that TPT is tried on
        "TPT, no step": Method("hand prompt", pictures=3, learns=False),
    },
    tasks=(("mixed", "sketch"), ("mixed", "night"), ("faces", "noisy")),
)
PLANS = {"08_prompt_tuning": PROMPTS}
