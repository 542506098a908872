"""CLIP-ES: class activation maps from CLIP's own softmax.

Lin et al. 2023, "CLIP is Also an Efficient Segmenter: A Text-Driven Approach
for Weakly Supervised Semantic Segmentation", arXiv 2212.09506.  Supervision:
which names are in a training picture.  Frozen: CLIP.  Grad-CAM of a
probability among the names present and names of the background, so that
rivals take away what they share; attention, made doubly stochastic, passes
the map on between patches inside boxes; a student learns from the sure pixels
and leaves the others out.  Simplified: the mean of the templates for the one
sharpest, no synonyms; a guided filter for the dense CRF; unsure pixels are a
share of each picture, not those below 0.95.  In small stickers' pictures the
mean patch is all background: at CLIP's own temperature a softmax would weigh
a name against places and not against the other names, so a softer one may be
chosen.  A second row goes without affinity.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...models.inside import as_map, vision_blocks
from ...verdict import Check
from ..methods import Info
from ..parts.dense_student import Student, train_student
from ..parts.explain import attention_affinity, box_mask, grad_cam, min_max, spread_cam
from ..parts.refine import color_refine, shrink_labels, upsample
from ..parts.texts import background_classifier, text_classifier
from ..pictures import DensePictures
from ..supervision import IGNORE, Tagged

# All chosen on pseudo-novel classes of validation scenes.
UNSURE = 0.1  # share of a picture's pixels that teach nothing
SCALE = 10.0  # of the softmax

INFO = Info(
    name="CLIP-ES",
    paper="CLIP is Also an Efficient Segmenter: A Text-Driven Approach for "
    "Weakly Supervised Semantic Segmentation",
    year=2023,
    arxiv="2212.09506",
    table="free",
    needs=Tagged,
    frozen="CLIP",
    tuned="a student, on its masks",
    simplified="a guided filter for the CRF; a small student; tags of all names",
    knobs={"level": (0.5, 0.6, 0.7, 0.8), "scale": (SCALE, 25.0)},
)
ALONE = replace(INFO, name="CLIP-ES (no affinity)", settings={"affinity": False})
ROWS = (INFO, ALONE)


@dataclass(frozen=True)
class Masks:
    """Maps of names that are known to be in a picture; nothing is trained.

    ``softmax``, ``rivals``: what is followed back; ``affinity``, ``boxed``:
    how maps spread; ``level``: the background is 1 - the highest map, times
    ``level`` / (1 - ``level``), so that a map above ``level`` wins.
    ``scale`` is the softmax' own.
    """

    clip: object
    softmax: bool = True
    rivals: bool = True
    affinity: bool = True
    boxed: bool = True
    refine: bool = True
    level: float = 0.5
    scale: float = SCALE
    trained: int = 0

    @property
    def layers_used(self) -> int:
        """Blocks whose attention is the affinity: the last two thirds."""
        return -(-2 * len(vision_blocks(self.clip)) // 3)

    def score(self, texts: Tensor, there: Tensor, k: int):
        """Name ``k`` of each picture, among those there and the rivals.

        ``texts`` [N, K, D], ``there`` bool [N, K].
        """
        scale, texts_k = self.scale, texts[:, k]
        if not self.softmax:
            return lambda z: scale * (z * texts_k).sum(-1)

        def probability(z: Tensor) -> Tensor:
            logits = scale * (texts @ z[..., None])[..., 0]  # [N, K]
            mine = logits[:, k]
            logits = logits.masked_fill(~there, -torch.inf)
            if self.rivals:
                places = background_classifier(self.clip)
                logits = torch.cat([logits, scale * z @ places.T], 1)
            return (mine - logits.logsumexp(1)).exp() * there[:, k]

        return probability

    def maps(self, pictures: DensePictures, W: Tensor, tags: Tensor):
        """From 0 to 1: [N, C, S, S]; 0 where a name is not tagged."""
        most = max(int(tags.sum(1).max()), 1)
        order = tags.float().sort(dim=1, descending=True, stable=True)
        asked, there = order.indices[:, :most], order.values[:, :most] > 0
        hidden = pictures.hidden(len(vision_blocks(self.clip)) - 1)
        cams = torch.stack(
            [
                grad_cam(self.clip, hidden, self.score(W[asked], there, k))
                for k in range(most)
            ],
            1,
        )  # [N, K, T]
        cams = min_max(cams)
        if self.affinity:
            friends = attention_affinity(pictures.attention, self.layers_used)
            cams = torch.stack(
                [
                    spread_cam(cam, friends, box_mask(cam) if self.boxed else None)
                    for cam in cams.unbind(1)
                ],
                1,
            )
            cams = min_max(cams)
        cams = upsample(as_map(cams.transpose(1, 2)), pictures.images.shape[1])
        if self.refine:
            cams = color_refine(cams, pictures.rgb).clamp(0, 1)
        maps = torch.zeros(len(W), len(pictures), *cams.shape[2:])
        for k in range(most):
            rows = there[:, k].nonzero()[:, 0]
            maps[asked[rows, k], rows] = cams[rows, k]
        return maps.transpose(0, 1)

    def labels(
        self,
        pictures: DensePictures,
        names: list[str],
        tags: Tensor,
        unsure: float = 0.0,
    ) -> Tensor:
        """The best tagged name or background [N, S, S]; unsure pixels 255."""
        pictures.prepare("attention")
        W, parts = text_classifier(self.clip, names), []
        for i in range(0, len(pictures), 32):
            rows = slice(i, i + 32)
            maps = self.maps(pictures[rows], W, tags[rows])
            ground = 1 - maps.amax(1, keepdim=True)
            ground = ground * self.level / (1 - self.level)
            both = torch.cat([maps, ground], 1)
            sure, best = both.max(1)
            if unsure:
                bar = sure.flatten(1).quantile(unsure, 1)[:, None, None]
                best = torch.where(sure < bar, IGNORE, best)
            parts.append(best)
        return torch.cat(parts)


def fit(
    clip,
    data: Tagged,
    seed=0,
    *,
    student=True,
    unsure=UNSURE,
    steps=120,
    **settings,
):
    """Masks of the tagged names teach a student, or are all there is.

    ``settings`` are the fields of :class:`Masks`.
    """
    masks = Masks(clip, **settings)
    if not student:
        return masks
    labels = masks.labels(data.pictures, data.names, data.tags, unsure)
    labels = shrink_labels(labels, Student(clip).fine)
    return train_student(
        clip, data.pictures, labels, list(data.names), steps=steps, seed=seed
    )


def judged(trial, **changes):
    """Masks of the test pictures, told which names are there."""
    masks, bench = trial.model(INFO, student=False, **changes), trial.bench
    pictures, tags = bench.test_pictures, bench.oracle_tags
    return bench.judge(masks.labels(pictures, bench.names, tags))


def checks(trial) -> list[Check]:
    raw = {"affinity": False, "refine": False}
    return [
        Check(
            "a softmax over rivals beats the plain logit",
            judged(trial, **raw),
            judged(trial, softmax=False, **raw),
            score="all",
        ),
        Check(
            "attention as affinity helps",
            judged(trial),
            judged(trial, affinity=False),
            score="all",
        ),
        Check(
            "leaving unsure pixels out does the student no harm",
            trial.result(INFO),
            trial.result(INFO, unsure=0.0),
            at_least=True,
            score="all",
        ),
    ]
