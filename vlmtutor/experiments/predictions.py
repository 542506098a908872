"""What is expected of the methods, written down before they run.

Each row: the method, its check, the verdict expected, and why.
"""

from __future__ import annotations

from ..verdict import INCONCLUSIVE, NOT_REPRODUCED, REPRODUCED
from .predictions_change import CHANGE

_ROWS = (
    (
        "F-VLM",
        "CLIP at test helps novel names",
        REPRODUCED,
        "a head from chance calls novel things background; CLIP does not",
    ),
    (
        "F-VLM",
        "multiplying names novel things better than adding",
        NOT_REPRODUCED,
        "a product with a head that says background is as low as that head",
    ),
    (
        "F-VLM",
        "the detector helps CLIP with base names",
        REPRODUCED,
        "base names are what the head has learned",
    ),
    (
        "ViLD",
        "copied crops help novel names",
        REPRODUCED,
        "63 against 9 points in a prototype",
    ),
    (
        "ViLD",
        "copied crops do no harm to base names",
        INCONCLUSIVE,
        "base names are near their ceiling with and without",
    ),
    (
        "ViLD",
        "two heads are as good on novel names as one",
        NOT_REPRODUCED,
        "the text head's share of a novel name is nearly nothing",
    ),
    (
        "DetPro",
        "learned words help ViLD with novel names",
        INCONCLUSIVE,
        "square crops are named nearly perfectly: words have little to mend",
    ),
    (
        "DetPro",
        "crops of background look less like a name",
        REPRODUCED,
        "that is what the loss asks for",
    ),
    (
        "DetPro",
        "crops of novel things are named as well",
        INCONCLUSIVE,
        "what makes background even may make novel things even as well",
    ),
    (
        "OADP",
        "the object token names novel things better than a stretched crop",
        REPRODUCED,
        "stretched crops are the worst teacher here",
    ),
    (
        "OADP",
        "object lessons help novel names",
        INCONCLUSIVE,
        "the text head calls novel things background, and a product follows it",
    ),
    (
        "OADP",
        "lessons from blocks and the whole help novel names",
        INCONCLUSIVE,
        "five blocks hold the same few things that the crops show",
    ),
    (
        "BARON",
        "bags help novel names beside boxes alone",
        REPRODUCED,
        "alone, boxes are taught with a tenth of the weight",
    ),
    (
        "BARON",
        "bags of several boxes help more than bags of one",
        NOT_REPRODUCED,
        "for two words the mean of their vectors found the picture more often",
    ),
    (
        "HierKD",
        "crops of boxed things help novel names",
        NOT_REPRODUCED,
        "they show base things alone",
    ),
    (
        "HierKD",
        "sentences help novel names",
        REPRODUCED,
        "they are the one place where novel words are read",
    ),
    (
        "HierKD",
        "sentences help where only novel names compete",
        REPRODUCED,
        "the background and base names are out of the way",
    ),
    (
        "ZSD-YOLO",
        "boxes without a name help novel names",
        REPRODUCED,
        "a third of the things in the scenes are novel and unlabelled",
    ),
    (
        "ZSD-YOLO",
        "crops help novel names beside texts",
        REPRODUCED,
        "texts of base names say nothing of others",
    ),
    (
        "ZSD-YOLO",
        "a gate and similarity rank novel things better than the product",
        NOT_REPRODUCED,
        "quality is most of what tells things from background here",
    ),
    (
        "Detic",
        "labels of pictures help novel names",
        REPRODUCED,
        "they are the first yes that a novel name hears",
    ),
    (
        "Detic",
        "labels of pictures do no harm to base names",
        INCONCLUSIVE,
        "the largest of several things gets all of the scene's names",
    ),
    (
        "Detic",
        "the largest box is as good as the surest where things stand alone",
        REPRODUCED,
        "alone in its picture a thing is the largest box",
    ),
    (
        "VLDet",
        "pairs one to one find a noun's thing better than the best region",
        REPRODUCED,
        "a head of base names would give base things' regions to novel nouns",
    ),
    (
        "VLDet",
        "pairs one to one find a noun's thing better than the largest region",
        REPRODUCED,
        "of two to four things one alone is the largest",
    ),
    (
        "VLDet",
        "sentences help novel names beside boxes",
        REPRODUCED,
        "a third of the nouns are novel names, which boxes never say",
    ),
    (
        "PB-OVD",
        "by the root of the area more boxes are right than by the sum",
        REPRODUCED,
        "a sum never loses by a larger box",
    ),
    (
        "PB-OVD",
        "by the root of the area more boxes are right than by the mean",
        REPRODUCED,
        "a mean is best in the smallest box around the peak",
    ),
    (
        "PB-OVD",
        "boxes of its own help novel names",
        REPRODUCED,
        "boxes half of which are right say more of a name than none",
    ),
    (
        "XPM",
        "students draw novel things better than their teacher",
        REPRODUCED,
        "the teacher calls novel things background, its student is told their nouns",
    ),
    (
        "XPM",
        "who expects noise learns more from noisy masks",
        INCONCLUSIVE,
        "wrong nouns are more frequent here than wrong outlines",
    ),
    (
        "XPM",
        "noise is expected where masks are wrong",
        NOT_REPRODUCED,
        "noise only ever costs, most where logits are in doubt: there it is unlearned",
    ),
    (
        "PromptDet",
        "learned words help novel names beside hand-written ones",
        INCONCLUSIVE,
        "hand-written names of lone things leave little to mend",
    ),
    (
        "PromptDet",
        "pictures of the pool help novel names",
        REPRODUCED,
        "in a picture of one thing the best proposal is on it whatever its name",
    ),
    (
        "PromptDet",
        "pictures of the pool do no harm to base names",
        REPRODUCED,
        "nothing in the pool is a negative",
    ),
    (
        "VL-PLM",
        "labels are ranked better with the proposal's own confidence",
        REPRODUCED,
        "times quality CLIP's crops gained nine points in a prototype",
    ),
    (
        "VL-PLM",
        "labels are better when boxes were refined again and again",
        NOT_REPRODUCED,
        "the shared proposals have been moved to their things already",
    ),
    (
        "VL-PLM",
        "labels of its own help novel names beside base boxes",
        REPRODUCED,
        "CLIP names crops of novel things nearly perfectly",
    ),
    (
        "P3OVD",
        "learned prompts make better labels than CLIP as it is",
        INCONCLUSIVE,
        "patches of novel things are named nearly perfectly without",
    ),
    (
        "P3OVD",
        "a visual prompt makes better labels beside learned prompts",
        INCONCLUSIVE,
        "it learned to answer to base names alone",
    ),
    (
        "P3OVD",
        "its own labels help novel names beside base boxes",
        REPRODUCED,
        "patches name novel things nearly as well as crops do",
    ),
)
BOX_PREDICTIONS = [
    dict(zip(("method", "check", "expected", "why"), row, strict=True))
    for row in (*_ROWS, *CHANGE)
]


def fates(predictions: list[dict], checks: list[dict]) -> list[dict]:
    """Predictions with the "verdict" on their checks, None where none stands."""
    found = {(c["method"], c["name"]): c["verdict"] for c in checks}
    return [{**p, "verdict": found.get((p["method"], p["check"]))} for p in predictions]
