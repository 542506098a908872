"""What is expected of methods that change the detector: see :mod:`.predictions`."""

from __future__ import annotations

from ..verdict import BUDGET_LIMITED, INCONCLUSIVE, NOT_REPRODUCED, REPRODUCED

CHANGE = (
    (
        "OWL-ViT",
        "knowing where a token lies helps all names",
        REPRODUCED,
        "in a few hundred steps no token learns its place from its state alone",
    ),
    (
        "OWL-ViT",
        "a slow text encoder names novel things better than a fast one",
        REPRODUCED,
        "twenty names pull the words of all others along",
    ),
    (
        "OWL-ViT",
        "a picture of a novel thing finds others",
        REPRODUCED,
        "patches of one kind are alike, whatever they are called",
    ),
    (
        "OV-DETR",
        "questions find more novel things than names that are told apart",
        REPRODUCED,
        "a closed decoder from chance learns twenty names and no other",
    ),
    (
        "OV-DETR",
        "six questions at a time teach more than one",
        REPRODUCED,
        "with one a step, most of what stands in a picture is not asked for",
    ),
    (
        "OV-DETR",
        "a picture of a novel thing finds others",
        REPRODUCED,
        "in training, unnamed things are asked for by their crops",
    ),
    (
        "CondHead",
        "boxes drawn for a name fit novel things better than one head's",
        NOT_REPRODUCED,
        "a word does not tell a glyph's shape, and nine in ten are nearly square",
    ),
    (
        "CondHead",
        "experts mixed by a name fit novel things better than its nearest's head",
        INCONCLUSIVE,
        "a head of one name has seen a twentieth of the boxes, and fits them worse",
    ),
    (
        "CondHead",
        "the right novel name draws better boxes than a wrong one",
        INCONCLUSIVE,
        "only where things cover each other has a name a say in where one ends",
    ),
    (
        "RKD",
        "crops of regions help novel names",
        REPRODUCED,
        "as ViLD's do",
    ),
    (
        "RKD",
        "labels of pictures help novel names",
        REPRODUCED,
        "they are the one place where novel words are read",
    ),
    (
        "RKD",
        "weights written from weights help novel names more than one for both",
        INCONCLUSIVE,
        "the paper's own second data set does not show it",
    ),
    (
        "RO-ViT",
        "cropped positions help an encoder to name novel regions",
        BUDGET_LIMITED,
        "one short pre-training, and regions of three by three patches",
    ),
    (
        "RO-ViT",
        "a focal loss helps it further",
        BUDGET_LIMITED,
        "the same",
    ),
    (
        "RO-ViT",
        "pictures are found by their captions as well as before",
        BUDGET_LIMITED,
        "the same",
    ),
)
