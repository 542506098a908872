"""ZegFormer: grouping needs no names, and naming needs no pixels.

Ding et al. 2022, "Decoupling Zero-Shot Semantic Segmentation", arXiv
2112.07910.  Frozen: both towers; trained: a proposer whose queries learn the
base names in text space, with "no object" among them.  What lies outside a
mask is set to zero *after* CLIP's normalisation, so it is the mean pixel, not
black.  Simplified: 16 queries; crops with a margin; background is what no
region claims.

What sets it apart from its relatives:

=====================  ==============  ==============  ====================
..                     ZegFormer       ZSSeg           OVSeg
=====================  ==============  ==============  ====================
outside a mask         mean pixel      mean pixel      mean, learned tokens
CLIP on seen names     their mean      as it is        as it is
exponents              seen, novel     seen, novel     one for all
offset on seen names   yes             none            none
texts for CLIP         by hand         learned         by hand
CLIP itself            frozen          frozen          adapted
=====================  ==============  ==============  ====================
"""

from __future__ import annotations

from ...verdict import Check
from ..methods import STEPS, Info
from ..parts.proposer import shared_proposer
from ..parts.two_stage import BACKGROUND, RIVAL, TwoStage, count
from ..supervision import Masked

INFO = Info(
    name="ZegFormer",
    paper="Decoupling Zero-Shot Semantic Segmentation",
    year=2022,
    arxiv="2112.07910",
    table="inductive",
    needs=Masked,
    frozen="CLIP",
    tuned="a proposer with names",
    simplified="a small MaskFormer; starts from CLIP's patches",
    knobs={
        "steps": STEPS,
        "lam": (0.5, 2 / 3, 0.8),
        "gamma": (0.0, 0.1, 0.2),
        "background": (0.03, 0.1, 0.3),
    },
    reading=("lam", "gamma", "branch", "background"),
    split=True,
)
ROWS = (INFO,)


def fit(
    clip,
    data: Masked,
    seed=0,
    *,
    lam=2 / 3,
    gamma=0.0,
    branch="both",
    background=BACKGROUND,
    steps=150,
) -> TwoStage:
    """Train the proposer on base masks."""
    proposer = shared_proposer(clip, data, seed, names=data.names, steps=steps)
    return TwoStage(
        clip,
        proposer,
        "zegformer",
        lam,
        count(proposer),
        margin=1.5,
        gamma=gamma,
        branch=branch,
        refuse=True,
        background=background,
    )


def checks(trial) -> list[Check]:
    def plain(**changes):  # one offset is not the same for scores of another scale
        return trial.result(INFO, gamma=0.0, **changes)

    return [
        # nor is one weight of the background: names alone are compared
        Check(
            "CLIP's branch helps novel names",
            plain(),
            plain(branch="query"),
            score="naming U",
        ),
        Check(
            "regions beat a classifier of pixels on novel names",
            plain(branch="query", steps=STEPS[-1]),  # as many as its rival has
            trial.reference(RIVAL),
            score="U",
        ),
        Check(
            "an offset against seen names helps the harmonic mean",
            trial.result(INFO, gamma=0.1),
            trial.result(INFO, gamma=0.0),
        ),
    ]
