"""What the study of 09_visual_and_unified_prompts compares.

Every step of a visual prompt runs the picture encoder forwards and backwards:
a dozen steps of 16 pictures, and fewer shots and test pictures than elsewhere.
"""

from __future__ import annotations

from .plans import Claim, Method

STEPS = {"steps": 12}
METHODS = {
    "zero-shot": Method("zero-shot", learns=False),
    "hand prompt": Method("hand prompt", learns=False),
    "CoOp": Method("CoOp", {"steps": 50}, {"lr": (3e-3, 1e-2)}),
    "VP": Method("VP", STEPS, {"lr": (0.03, 0.1, 0.3, 1.0)}),
    "VPT-shallow": Method("VPT-shallow", STEPS, {"lr": (5e-3, 1e-2)}),
    "VPT-deep": Method("VPT-deep", STEPS, {"lr": (1e-2, 3e-2)}),
    "UPT": Method("UPT", STEPS, {"lr": (2e-3, 5e-3)}),
    "MaPLe": Method("MaPLe", STEPS, {"lr": (5e-3, 1e-2)}),
    # MaPLe with visual tokens of their own (the paper's IVLP)
    "independent": Method("MaPLe", {"coupled": False, **STEPS}, {"lr": (1e-2, 3e-2)}),
}
SEARCH_DOMAIN, SEARCH_SHOTS, SEARCH_PICTURES = "sketch", (4,), 4
TASKS = {("mixed", "sketch"): (1, 16), ("faces", "pixel"): (1, 16)}
N_TEST, N_KEPT = 6, 4  # pictures a class: of the task, and of stickers

# Does VP help more, the further away the pictures are?  Strengths of sketch.
DISTANCES = (0.0, 0.5, 1.0)

CLAIMS = (
    Claim("VP beats zero-shot on the classes it learned", "VP", "zero-shot", "base"),
    Claim(
        "shallow VPT beats zero-shot on the classes it learned",
        "VPT-shallow",
        "zero-shot",
        "base",
    ),
    Claim("deep VPT beats shallow VPT", "VPT-deep", "VPT-shallow", "base"),
    Claim(
        "deep VPT beats CoOp, prompts of pictures those of text",
        "VPT-deep",
        "CoOp",
        "base",
    ),
    Claim("UPT beats CoOp", "UPT", "CoOp", "base"),
    Claim("UPT beats shallow VPT", "UPT", "VPT-shallow", "base"),
    Claim(
        "MaPLe beats CoOp on the balance of old and new classes", "MaPLe", "CoOp", "H"
    ),
    Claim(
        "MaPLe beats independent prompts on that balance", "MaPLe", "independent", "H"
    ),
    Claim("CoOp falls below zero-shot on new classes", "zero-shot", "CoOp", "novel"),
    Claim(
        "deep VPT falls below zero-shot on new classes",
        "zero-shot",
        "VPT-deep",
        "novel",
    ),
)
