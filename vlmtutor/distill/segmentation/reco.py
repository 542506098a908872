"""ReCo: fetch pictures by name, and see what they have in common.

Shin, Xie and Albanie 2022, "ReCo: Retrieve and Co-segment for Zero-shot
Transfer", arXiv 2206.07045.  Nothing is trained: CLIP ranks an unlabelled
archive by name; in the best pictures the patch that has a like one in every
other picture is the seed, and the mean of the seeds is what the name looks
like, in features that no text was ever compared with.  The map is that
likeness times CLIP's dense map.  ReCo+ trains a student on it.  Simplified:
the middle of CLIP's own picture tower for a second encoder, centred on the
archive's mean; the world's places for the five contexts; the sigmoid of the
dense map is moved to where this CLIP's cosines are.  Weights of columns are
taken from the columns' own pictures, as the paper means it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.inside import as_map
from ...verdict import Check
from ..methods import Info
from ..parts.dense_student import Student, pseudo_labels, train_student
from ..parts.refine import upsample
from ..parts.texts import BIAS, background_classifier, text_classifier
from ..pictures import DensePictures
from ..supervision import Unlabeled

SHARP = 10.0  # of the dense map's sigmoid, as published
# The cosine at which it is a half.  The paper has 0; this CLIP's patches reach
# 0.6 with their name, where that sigmoid is flat and likeness alone decides.
# Chosen on pseudo-novel classes of validation scenes.
MIDDLE = 0.3

_FACTS = {
    "paper": "ReCo: Retrieve and Co-segment for Zero-shot Transfer",
    "year": 2022,
    "arxiv": "2206.07045",
    "table": "free",
    "needs": Unlabeled,
    "frozen": "CLIP",
    "told": ("names",),
}
INFO = Info(
    name="ReCo",
    tuned="nothing",
    settings={"student": False},
    simplified="CLIP's middle states for a second encoder",
    knobs={"layer": (2, 4)},
    reading=("use",),
    **_FACTS,
)
PLUS = Info(
    name="ReCo+",
    tuned="a student, on ReCo's answers",
    simplified="a small student for DeepLabv3+",
    **_FACTS,
)
ROWS = (INFO, PLUS)


def coseg_reference(
    features: Tensor, weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """What n pictures share: a unit vector [d], and its seed patches [n].

    ``features`` [n, T, d] unit vectors; ``weights`` [n, T] say how much a
    patch may count as somebody's like.  Every patch looks for its best like
    in each picture; the patch that finds one everywhere is the seed.
    """
    n, T, _ = features.shape
    flat = features.flatten(0, 1)
    alike = flat @ flat.T  # [n T, n T]
    if weights is not None:
        alike = alike * weights.flatten()
    best = alike.unflatten(1, (n, T)).amax(-1)  # [n T, n]
    seeds = best.mean(1).unflatten(0, (n, T)).argmax(1)  # [n]
    reference = features[torch.arange(n), seeds].mean(0)
    return F.normalize(reference, dim=0), seeds


@dataclass(frozen=True)
class ReCo:
    """``references`` [C, d] of ``names``; ``places`` [B, d] of contexts.

    ``use``: "both" maps, or the "text" map or the "visual" one alone.
    """

    clip: object
    layer: int
    mean: Tensor
    names: tuple[str, ...]
    references: Tensor
    places: Tensor
    use: str = "both"
    bias: float = BIAS
    trained: int = 0

    def features(self, pictures: DensePictures) -> Tensor:
        """Visual features of the patches: [N, T, d], L2-normalised."""
        return features(pictures, self.layer, self.mean)

    def scores(self, pictures, names, seen=None) -> Tensor:
        rows = [self.names.index(name) for name in names]
        looks = self.features(pictures)
        W = text_classifier(self.clip, names)
        contexts = background_classifier(self.clip)
        named = self._product(looks @ self.references[rows].T, pictures.dense @ W.T)
        ground = self._product(
            looks @ self.places.T, pictures.dense @ contexts.T + self.bias
        )
        maps = torch.cat([named, ground.amax(-1, keepdim=True)], -1)
        return upsample(as_map(maps), pictures.images.shape[1])

    def _product(self, visual: Tensor, text: Tensor) -> Tensor:
        visual, text = visual.sigmoid(), likely(text, MIDDLE)
        if self.use == "both":
            return visual * text
        return text if self.use == "text" else visual


def likely(cosine: Tensor, middle: float) -> Tensor:
    """How likely a patch is to fit a text, from 0 to 1: [...] → [...]."""
    return (SHARP * (cosine - middle)).sigmoid()


def features(pictures: DensePictures, layer: int, mean: Tensor) -> Tensor:
    """Hidden states of the patches without their mean: [N, T, d], normalised."""
    return F.normalize(pictures.hidden(layer)[:, 1:] - mean, dim=-1)


def fit(
    clip,
    data: Unlabeled,
    seed=0,
    *,
    names=(),
    student=True,
    n=16,
    layer=4,
    guided=True,
    context=True,
    use="both",
    steps=120,
):
    """Build references of ``names`` from the archive, without any label.

    ``n`` pictures are fetched a name; ``guided`` weighs patches by the dense
    map, ``context`` against likeness to places.
    """
    archive, names = data.pictures, tuple(names)
    states = archive.hidden(layer)[:, 1:]
    mean = states.mean((0, 1))
    looks = features(archive, layer, mean)  # [M, T, d]
    W, contexts = text_classifier(clip, names), background_classifier(clip)

    def references(vectors: Tensor, avoid: Tensor | None) -> Tensor:
        found = []
        for vector in vectors:
            rows = (archive.image_embeds @ vector).topk(n).indices
            weights = None
            if guided:
                weights = likely(archive.dense[rows] @ vector, MIDDLE)
            if avoid is not None:
                unlike = 1 - (looks[rows] @ avoid.T).sigmoid()  # [n, T, B]
                plain = 1.0 if weights is None else weights
                weights = plain * unlike.prod(-1)
            found.append(coseg_reference(looks[rows], weights)[0])
        return torch.stack(found)

    places = references(contexts, None)
    reco = ReCo(
        clip,
        layer,
        mean,
        names,
        references(W, places if context else None),
        places,
        use,
    )
    if not student:
        return reco
    labels = pseudo_labels(reco, archive, list(names), Student(clip).fine)
    return train_student(clip, archive, labels, list(names), steps=steps, seed=seed)


def checks(trial) -> list[Check]:
    full = trial.result(INFO)
    return [
        Check(
            "likeness times the text map beats the text map alone",
            full,
            trial.result(INFO, use="text"),
            score="all",
        ),
        Check(
            "context elimination helps",
            full,
            trial.result(INFO, context=False),
            score="all",
        ),
        Check(
            "language-guided co-segmentation beats the plain one",
            full,
            trial.result(INFO, guided=False),
            score="all",
        ),
        Check(
            "sixteen fetched pictures beat four",
            full,
            trial.result(INFO, n=4),
            score="all",
        ),
        Check("ReCo+ beats ReCo", trial.result(PLUS), full, score="all"),
    ]
