"""ReCo: fetch pictures by name, and see what they have in common.

Shin, Xie and Albanie 2022, "ReCo: Retrieve and Co-segment for Zero-shot
Transfer", arXiv 2206.07045.  Nothing is trained: CLIP ranks an unlabelled
archive by name; in the best pictures the patch that has a like one in every
other picture is the seed, and the mean of the seeds is what the name looks
like, in features that no text was ever compared with.  The map is that
likeness times CLIP's dense map.  ReCo+ trains a student on it.  Simplified:
the second encoder is a small one, trained without labels on the archive
itself, and centred on its mean; the world's places for the five contexts; the
sigmoid of the dense map is moved to where this CLIP's cosines are.  Weights of
columns are taken from the columns' own pictures, as the paper means it.
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
from ..parts.self_supervised import STEPS as ENCODER_STEPS
from ..parts.self_supervised import ArchiveEncoder, train_encoder
from ..parts.texts import BIAS, background_classifier, text_classifier
from ..pictures import BATCH, DensePictures, once, taps
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
    tuned="a second encoder, on the archive, without labels",
    settings={"student": False},
    simplified="a small encoder for DeiT-S",
    reading=("use",),
    start={"encoder_steps": 0},
    **_FACTS,
)
TWICE = Info(
    name="ReCo (CLIP's states for a second encoder)",
    tuned="nothing",
    settings={"student": False, "encoder": "clip"},
    simplified="no encoder of its own: the same CLIP twice",
    start=None,
    **_FACTS,
)
PLUS = Info(
    name="ReCo+",
    tuned="a student, on ReCo's answers",
    simplified="a small student for DeepLabv3+",
    **_FACTS,
)
ROWS = (INFO, TWICE, PLUS)


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


class Looks:
    """What patches look like, without the archive's mean: [N, T, d].

    By an encoder of its own, or by CLIP's middle states where ``net`` is None.
    """

    def __init__(self, net: ArchiveEncoder | None, archive: DensePictures):
        self.net, self.mean = net, 0.0
        self.mean = self.states(archive).mean((0, 1))

    def states(self, pictures: DensePictures) -> Tensor:
        """Features of the patches as they are: [N, T, d]."""
        if self.net is None:
            return pictures.hidden(taps(pictures.clip)[1])[:, 1:]
        parts = pictures.pixel_values.split(BATCH)
        with torch.no_grad():
            return torch.cat([self.net(part) for part in parts])

    def __call__(self, pictures: DensePictures) -> Tensor:
        return F.normalize(self.states(pictures) - self.mean, dim=-1)


@dataclass(frozen=True)
class ReCo:
    """``references`` [C, d] of ``names``; ``places`` [B, d] of contexts.

    ``use``: "both" maps, or the "text" map or the "visual" one alone.
    """

    clip: object
    look: Looks
    names: tuple[str, ...]
    references: Tensor
    places: Tensor
    use: str = "both"
    bias: float = BIAS

    @property
    def trained(self) -> int:
        net = self.look.net
        return sum(p.numel() for p in net.parameters()) if net else 0

    def features(self, pictures: DensePictures) -> Tensor:
        """Visual features of the patches: [N, T, d], L2-normalised."""
        return self.look(pictures)

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


def fit(
    clip,
    data: Unlabeled,
    seed=0,
    *,
    names=(),
    student=True,
    n=16,
    encoder="own",
    guided=True,
    context=True,
    use="both",
    steps=120,
    encoder_steps=ENCODER_STEPS,
):
    """Build references of ``names`` from the archive, without any label.

    ``n`` pictures are fetched a name; ``guided`` weighs patches by the dense
    map, ``context`` against likeness to places.  ``encoder`` "clip" takes
    CLIP's own middle states for the second one.
    """
    archive, names, net = data.pictures, tuple(names), None
    if encoder == "own":
        key = "archive encoder", seed, encoder_steps
        net = once(archive, key, lambda: train_encoder(archive, seed, encoder_steps))
    look = Looks(net, archive)
    looks = look(archive)  # [M, T, d]
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
        look,
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
        Check("ReCo+ beats ReCo", trial.result(PLUS), full, score="all"),
    ]
