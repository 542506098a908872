"""ZSSeg: regions from a segmenter, names from a frozen CLIP that sees crops.

Xu et al. 2021, "A Simple Baseline for Open-Vocabulary Semantic Segmentation
with Pre-trained Vision-language Model", arXiv 2112.14757.  Frozen: both
towers; trained: a proposer whose queries learn the base names, and a prompt
(words to start from, as in CoOp) on crops of base masks.  A region is cropped
with the mean pixel around it; its two opinions are fused, more of the trained
one for seen names, more of CLIP's for novel ones.  Simplified: four words of
context; background is what no region claims.
"""

from __future__ import annotations

import torch

from ...transfer import coop
from ...verdict import Check
from ..methods import STEPS, Info
from ..parts.proposer import shared_proposer
from ..parts.regions import crop_encode, instance_masks, region_labels
from ..parts.two_stage import BACKGROUND, RIVAL, TwoStage, count
from ..supervision import IGNORE, Masked

CROPS = 16  # a class, for the prompt
MARGIN = 1.5  # of crops, for the prompt and when naming
LAMS = (0.5, 0.6, 0.7, 0.8, 0.9)  # the release has 0.7 and 0.8

INFO = Info(
    name="ZSSeg",
    paper="A Simple Baseline for Open-Vocabulary Semantic Segmentation with "
    "Pre-trained Vision-language Model",
    year=2021,
    arxiv="2112.14757",
    table="inductive",
    needs=Masked,
    frozen="CLIP",
    tuned="a proposer with names, a prompt",
    simplified="a small MaskFormer; four words of context; starts from CLIP's patches",
    knobs={"steps": STEPS, "lam": LAMS, "background": (0.03, 0.1, 0.3)},
    start={"steps": 0, "prompt_steps": 0},
    reading=("lam", "branch", "background"),
    split=True,
)
ROWS = (INFO,)


def crop_prompt(clip, data: Masked, seed: int, steps: int) -> coop.CoOp:
    """A context for names, learned on crops of base masks."""
    E, labels = base_crops(clip, data, "mean")
    # Prompts apart, as the stored rows had them: in one row sums round otherwise.
    return coop.fit(clip, E, labels, data.names, seed, steps=steps, packed=False)


def base_crops(clip, data: Masked, fill: str):
    """Embeddings [M, D] of crops of true masks, and their classes [M]."""
    masks = instance_masks(data.regions)
    labels = region_labels(data.labels, masks)
    labels = labels.masked_fill(labels >= len(data.names), IGNORE)
    wanted = torch.zeros_like(labels, dtype=torch.bool)
    for c in range(len(data.names)):
        places = (labels == c).nonzero()[:CROPS]
        wanted[places[:, 0], places[:, 1]] = True
    E = crop_encode(
        clip, data.pictures.pixel_values, masks, fill, "cropmask", MARGIN, wanted
    )
    return E[wanted], labels[wanted]


def fit(
    clip,
    data: Masked,
    seed=0,
    *,
    prompt="learned",
    lam=0.6,
    branch="both",
    background=BACKGROUND,
    steps=150,
    prompt_steps=60,
) -> TwoStage:
    """Train the proposer and the prompt on base masks.

    ``prompt`` "learned", or "hand" for the sentence that it starts from.
    """
    proposer = shared_proposer(clip, data, seed, names=data.names, steps=steps)
    turns = prompt_steps if prompt == "learned" else 0
    learner = crop_prompt(clip, data, seed, turns)
    learner.requires_grad_(False)
    return TwoStage(
        clip,
        proposer,
        "zsseg",
        lam,
        count(proposer, learner),
        margin=MARGIN,
        branch=branch,
        background=background,
        prompts=learner,
    )


def checks(trial) -> list[Check]:
    full = trial.result(INFO)
    return [
        # a mean of two branches is smaller than one: names alone, no background
        Check(
            "both branches beat the query branch",
            full,
            trial.result(INFO, branch="query"),
            score="naming",
        ),
        Check(
            "regions and crops beat a classifier of pixels on novel names",
            trial.result(INFO, steps=STEPS[-1]),  # as many as its rival has
            trial.reference(RIVAL),
            score="U",
        ),
        Check(
            "a learned prompt does no harm to novel names",
            trial.result(INFO, branch="clip"),
            trial.result(INFO, branch="clip", prompt="hand"),
            at_least=True,
            score="U",
        ),
    ]
