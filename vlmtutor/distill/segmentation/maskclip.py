"""MaskCLIP and MaskCLIP+: dense labels that a CLIP gives away for free.

Zhou, Loy and Dai 2022, "Extract Free Dense Labels from CLIP", arXiv
2112.01071.  The last block's attention mixes the patches; with the identity in
its place each patch keeps what it saw itself, and can be compared with names.
MaskCLIP+ trains a student on those hard answers.  Simplified: a student of
0.2 M parameters for DeepLabv2, 7 templates for 85, and a background that is
the best of 18 phrases.  Key smoothing compares keys channel by channel, as
the paper says; the released code normalises across the patches.  The paper
hands over to self-training after a tenth of 20,000 steps; a tenth of 150 is a
student that knows nothing, so it comes later here, and the published share
has a row of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.inside import as_map, as_tokens
from ...verdict import Check
from ...world import load_categories
from ..methods import STEPS, Info
from ..parts.dense_student import OPEN, Student, pseudo_labels, train_student
from ..parts.refine import upsample
from ..parts.texts import BIAS, background_classifier, class_scores, text_classifier
from ..pictures import DensePictures
from ..supervision import IGNORE, Partial, Unlabeled

ABSENT = -100.0  # the logit of a class that is not in the picture
LEAST = 1e-3  # of a vote: unlike keys have negative cosines

_PAPER = "Extract Free Dense Labels from CLIP"

INFO = Info(
    name="MaskCLIP",
    paper=_PAPER,
    year=2022,
    arxiv="2112.01071",
    table="free",
    needs=Unlabeled,
    frozen="CLIP",
    tuned="nothing",
    simplified="7 templates; background phrases",
    settings={"student": False, "denoise": 0.5},
    knobs={"denoise": (0.0, 0.5), "smooth": (False, True)},
    reading=("denoise", "smooth"),
    start=None,
)
PLUS = Info(
    name="MaskCLIP+",
    paper=_PAPER,
    year=2022,
    arxiv="2112.01071",
    table="free",
    needs=Unlabeled,
    frozen="CLIP",
    tuned="a student, on its teacher's answers",
    simplified="student: 4 convolutions on pixels and hidden states",
    knobs={"steps": (75, 150)},
    told=("names",),
)
ZERO_SHOT = replace(
    PLUS,
    name="MaskCLIP+ (zero-shot)",
    table="transductive",
    needs=Partial,
    tuned="a student, on base masks and its teacher's novel names",
    simplified="4 convolutions; what is unlabelled is novel, as in the paper",
    told=("names", "novel"),
    knobs={"steps": STEPS, "hand_over": (0.5, 0.7)},
)
AS_PUBLISHED = replace(
    ZERO_SHOT,
    name="MaskCLIP+ (zero-shot, handed over as published)",
    settings={"hand_over": 0.1},
    knobs={"steps": STEPS},
)
ROWS = (INFO, PLUS, ZERO_SHOT, AS_PUBLISHED)


@dataclass(frozen=True)
class MaskCLIP:
    """Nothing is trained.

    ``path`` "value" is MaskCLIP, "attention" the last block as it is.
    ``denoise``: names whose probability stays below it in every patch are
    taken for absent; 0 is off.  ``smooth``: patches with like keys vote
    together.
    """

    clip: object
    path: str = "value"
    denoise: float = 0.0
    smooth: bool = False
    bias: float = BIAS
    trained: int = 0

    def logits(self, pictures: DensePictures, names: list[str]) -> Tensor:
        """Scaled cosines [N, C + 1, g, g], after prompt denoising."""
        dense = pictures.dense
        if self.path == "attention":
            dense = pictures.patch_tokens
        W = text_classifier(self.clip, names)
        places = background_classifier(self.clip)
        scale = self.clip.logit_scale
        logits = scale * class_scores(dense, W, places, self.bias)
        if self.denoise:
            best = logits.softmax(1)[:, :-1].amax((2, 3))  # [N, C]
            absent = F.pad(best < self.denoise, (0, 1), value=False)
            logits = logits.masked_fill(absent[:, :, None, None], ABSENT)
        return logits

    def scores(self, pictures, names, seen=None) -> Tensor:
        coarse = self.logits(pictures, names)
        if self.smooth:  # back to logarithms: what is enlarged must not differ
            voted = smooth_by_keys(coarse.softmax(1), pictures.keys)
            coarse = voted.clamp_min(LEAST).log()
        return upsample(coarse, pictures.images.shape[1])


def smooth_by_keys(probabilities: Tensor, keys: Tensor) -> Tensor:
    """Each patch sums the answers [N, C, g, g] of patches with like keys.

    ``keys`` [N, T, W] of the last block; the weights are their cosines, as
    they are: they need not sum to 1.
    """
    keys = F.normalize(keys, dim=-1)
    mixed = keys @ keys.transpose(1, 2) @ as_tokens(probabilities)
    return as_map(mixed)


def fit(
    clip,
    data,
    seed=0,
    *,
    names=(),
    novel=(),
    student=True,
    path="value",
    denoise=0.0,
    smooth=False,
    steps=150,
    hand_over=0.6,
):
    """MaskCLIP on ``Unlabeled`` or ``Partial`` data.

    With ``student``, MaskCLIP+; ``hand_over`` is the share of steps after
    which novel pixels are labelled by the student itself instead of its
    teacher (None: never).
    """
    teacher = MaskCLIP(clip, path, denoise, smooth)
    if not student:
        return teacher
    names, grid = list(names), Student(clip).fine
    if not isinstance(data, Partial):
        labels = pseudo_labels(teacher, data.pictures, names, grid)
        return train_student(clip, data.pictures, labels, names, steps=steps, seed=seed)
    # Labels count base names first; what is not labelled must be novel.
    background = data.labels == len(data.names)
    labels = data.labels.masked_fill(background, len(names))
    labels = labels.masked_fill(labels == IGNORE, OPEN)
    columns = torch.tensor([names.index(name) for name in novel])
    only = pseudo_labels(_Restricted(teacher, columns), data.pictures, names, grid)
    return train_student(
        clip,
        data.pictures,
        labels,
        names,
        guidance=columns[only],
        novel=columns,
        self_train_at=hand_over,
        steps=steps,
        seed=seed,
    )


@dataclass(frozen=True)
class _Restricted:
    """A segmenter that may only answer with some columns."""

    segmenter: MaskCLIP
    columns: Tensor

    def scores(self, pictures, names, seen=None) -> Tensor:
        return self.segmenter.scores(pictures, names)[:, self.columns]


def long_vocabulary(bench, model):
    """The result when many more names of the world may be the answer.

    Every third of the other names, to save time; they are always wrong.
    """
    others = [c.name for c in load_categories() if c.name not in bench.names]
    return bench.answer(model, names=[*bench.names, *others[::3]])


def checks(trial) -> list[Check]:
    raw = trial.model(INFO, denoise=0.0, smooth=False)
    full = trial.model(INFO, denoise=0.5, smooth=True)
    bench = trial.bench
    return [
        Check(
            "smoothing and denoising do no harm with 129 more names",
            long_vocabulary(bench, full),
            long_vocabulary(bench, raw),
            at_least=True,
        ),
        Check(
            "the student beats its teacher on new pictures",
            trial.result(PLUS),
            trial.result(INFO, denoise=0.0, smooth=False),
        ),
        Check(
            "novel names gain when the student labels them itself",
            trial.result(ZERO_SHOT),
            trial.result(ZERO_SHOT, hand_over=None),
            score="U",
        ),
    ]
