"""What the papers of notebooks 08 to 10 say, written down before measuring.

"base: CoOp > zero-shot": CoOp has the higher score "base".  Scores are the
accuracy on the "base" classes that were learned, on "novel" ones, their
harmonic mean "H" or plain mean "both", "kept" on ordinary stickers after
adapting to a domain, and "ECE", the mean of both halves' calibration errors.
Methods had 16 labelled pictures a class; one where an @1 says so.

Whether a prompt falls below zero-shot on new classes is not asked here: rates
are chosen by the balance with classes that play new ones, and so against such
a fall.  The experiment on forgetting chooses by the learned classes and asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ..verdict import Check

NO_LABELS = ("zero-shot", "TPT", "TPT, no step")


def _checks(
    said: dict[str, str], budgets: Mapping[str, str] = MappingProxyType({})
) -> tuple[Check, ...]:
    """{sentence: comparison} as checks whose arms are (method, shots).

    ``budgets``: of methods that saw too little, how little.
    """

    def arm(text: str) -> tuple[str, int]:
        method, _, shots = text.partition("@")
        return method, 0 if method in NO_LABELS else int(shots or 16)

    found = []
    for sentence, comparison in said.items():
        score, _, arms = comparison.partition(": ")
        better, worse = map(arm, arms.split(" > "))
        told = [budgets[name] for name, _ in (better, worse) if name in budgets]
        found.append(Check(sentence, better, worse, score, budget="; ".join(told)))
    return tuple(found)


PROMPTS = _checks(
    {
        "CoOp beats the zero-shot ensemble on the classes it learned": (
            "base: CoOp > zero-shot"
        ),
        "CoCoOp beats CoOp on new classes": "novel: CoCoOp > CoOp",
        "CoCoOp beats CoOp on balance": "H: CoCoOp > CoOp",
        "KgCoOp beats CoOp on new classes": "novel: KgCoOp > CoOp",
        "KgCoOp beats CoOp on balance": "H: KgCoOp > CoOp",
        "ProGrad beats CoOp where there is one picture a class": (
            "base: ProGrad@1 > CoOp@1"
        ),
        # CoOp has AdamW: of plain descent only the projection is taken away
        "ProGrad's projection helps where there is one picture a class": (
            "base: ProGrad@1 > plain descent@1"
        ),
        "TPT's one step raises accuracy": "both: TPT > TPT, no step",
        "TPT's one step makes calibration worse": "ECE: TPT > TPT, no step",
        "a linear probe of one picture a class loses to zero-shot": (
            "base: zero-shot > linear probe@1"
        ),
    },
    {"CoCoOp": "240 pictures seen, where CoOp saw 3,200"},
)
VISUAL = _checks(
    {
        "VP beats zero-shot on the classes it learned": "base: VP > zero-shot",
        "shallow VPT beats zero-shot on the classes it learned": (
            "base: VPT-shallow > zero-shot"
        ),
        "deep VPT beats shallow VPT": "base: VPT-deep > VPT-shallow",
        "deep VPT beats CoOp, prompts of pictures those of text": (
            "base: VPT-deep > CoOp"
        ),
        "UPT beats CoOp": "base: UPT > CoOp",
        "UPT beats deep VPT": "base: UPT > VPT-deep",
        "UPT beats its text arm alone": "base: UPT > UPT, text alone",
        "UPT beats its picture arm alone": "base: UPT > UPT, pictures alone",
        "MaPLe beats CoOp on the balance of old and new classes": "H: MaPLe > CoOp",
        "MaPLe beats independent prompts on that balance": "H: MaPLe > independent",
    }
)
ADAPTERS = _checks(
    {
        "a linear probe of one picture a class loses to zero-shot": (
            "base: zero-shot > linear probe@1"
        ),
        "with 16 pictures a class it wins": "base: linear probe > zero-shot",
        "CLIP-Adapter beats zero-shot from one picture a class on": (
            "base: CLIP-Adapter@1 > zero-shot"
        ),
        "CLIP-Adapter beats a linear probe at few shots": (
            "base: CLIP-Adapter@1 > linear probe@1"
        ),
        "Tip-Adapter beats zero-shot without any training, 1 shot": (
            "base: Tip-Adapter, as published@1 > zero-shot"
        ),
        "Tip-Adapter-F beats Tip-Adapter": "base: Tip-Adapter-F > Tip-Adapter",
        "TaskRes beats CLIP-Adapter": "base: TaskRes > CLIP-Adapter",
        "TaskRes beats zero-shot at one shot": "base: TaskRes@1 > zero-shot",
        "adapting to a domain costs accuracy on stickers": (
            "kept: zero-shot > CLIP-Adapter"
        ),
    }
)
