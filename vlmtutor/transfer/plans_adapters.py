"""What the study of 10_adapters compares."""

from __future__ import annotations

from .plans import Claim, Method

METHODS = {
    "zero-shot": Method("zero-shot", learns=False),
    "linear probe": Method("linear probe", grid={"C": (1, 10, 100, 1000)}),
    "CLIP-Adapter": Method(
        "CLIP-Adapter", grid={"ratio": (0.2, 0.5), "lr": (3e-4, 1e-3, 3e-3)}
    ),
    # the paper's own numbers, nothing searched
    "Tip-Adapter, as published": Method("Tip-Adapter", {"alpha": 1.0, "beta": 5.5}),
    "Tip-Adapter": Method(
        "Tip-Adapter", grid={"alpha": (1, 3, 10, 30), "beta": (1, 3, 5.5, 10)}
    ),
    "Tip-Adapter-F": Method(
        "Tip-Adapter-F",
        grid={"alpha": (1, 3, 10), "beta": (3, 5.5), "lr": (1e-3, 3e-3)},
    ),
    "TaskRes": Method("TaskRes", grid={"alpha": (0.5, 1.0), "lr": (5e-4, 2e-3, 5e-3)}),
    "CALIP": Method(
        "CALIP", grid={"beta2": (0, 0.5, 2), "beta3": (0, 0.25, 0.5, 1)}, learns=False
    ),
}
# Tasks and test pictures are those of the study of 08_prompt_tuning.
TASKS = (("mixed", "sketch"), ("vehicles", "night"), ("faces", "pixel"))
SHOTS = (1, 2, 4, 8, 16)
SEARCH_DOMAIN, SEARCH_SHOTS = "sketch", (1, 16)
N_TEST, N_KEPT = 12, 6  # pictures a class: of the task, and of stickers

# WiSE-FT runs the picture encoder: the first task, two numbers of shots.
WISE_FT = {"blocks": 2, "steps": 20}
WISE_FT_LR = (1e-4, 3e-4, 1e-3)
WISE_FT_SHOTS = (1, 16)
WISE_FT_ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)
WISE_FT_PICTURES = 6  # a class, each for the target and for stickers

# Scenes of several stickers, sketched: multi-label and dense methods.
SCENE_DOMAIN = "sketch"
SCENE_CLASSES = 24
SCENES = {"train": 160, "val": 120, "test": 200}
CAPTIONS = 400
KNOWN = (0.1, 0.5, 1.0)
DUALCOOP = {"negative": None, "steps": 60}  # a random negative context
DUALCOOP_LR = (1e-3, 3e-3, 1e-2, 3e-2)
TAI_DPT = {"steps": 100}
TAI_DPT_LR = (5e-4, 2e-3, 5e-3)
DENSECLIP = {"steps": 60}
DENSECLIP_LR = (2e-3, 5e-3)

CLAIMS = (
    Claim(
        "a linear probe of one picture a class loses to zero-shot",
        "zero-shot",
        "linear probe",
        "base",
        1,
    ),
    Claim("with 16 pictures a class it wins", "linear probe", "zero-shot", "base", 16),
    Claim(
        "CLIP-Adapter beats zero-shot from one picture a class on",
        "CLIP-Adapter",
        "zero-shot",
        "base",
        1,
    ),
    Claim(
        "CLIP-Adapter beats a linear probe at few shots",
        "CLIP-Adapter",
        "linear probe",
        "base",
        1,
    ),
    Claim(
        "Tip-Adapter beats zero-shot without any training, 1 shot",
        "Tip-Adapter, as published",
        "zero-shot",
        "base",
        1,
    ),
    Claim(
        "Tip-Adapter-F beats Tip-Adapter", "Tip-Adapter-F", "Tip-Adapter", "base", 16
    ),
    Claim("TaskRes beats CLIP-Adapter", "TaskRes", "CLIP-Adapter", "base", 16),
    Claim("TaskRes beats zero-shot at one shot", "TaskRes", "zero-shot", "base", 1),
    Claim(
        "adapting to a domain costs accuracy on stickers",
        "zero-shot",
        "CLIP-Adapter",
        "kept",
        16,
    ),
)
