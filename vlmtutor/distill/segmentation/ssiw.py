"""SSIW: explain the label, then segment the one picture by itself.

Zabari and Hoshen 2021, "Semantic Segmentation In-the-Wild Without Seeing Any
Segmentation Examples", arXiv 2112.03185.  Nothing is trained across pictures.
For each name of the picture, attention relevance (a gradient) gives a rough
map; maps of several views of the picture are averaged; pixels drawn from their
sure parts are clicks, and a classifier of colour and place, fitted to the
clicks of this one picture, answers for the rest.  No code was published, so
views, number of clicks and classifier (nearest clicks) are choices of ours.
Names come from CLIP, or from a person: two rows, which do not compare.  CLIP's
are those that come near the best one's cosine; how near, validation says, and
how many things a picture shows nobody knows.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from ...models.inside import as_map, hidden_states, relevance
from ...verdict import Check
from ..methods import Info
from ..parts.explain import min_max
from ..parts.refine import tta, upsample
from ..parts.texts import text_classifier
from ..pictures import DensePictures
from ..supervision import Unlabeled

SHARE = 0.7  # of the best name's cosine that others must reach
LAST = 2  # blocks whose attention counts
NEIGHBORS = 3
VIEWS = ("as is", "flip", "contrast")
PLACE = 2.0  # how much the two coordinates weigh against the three colours

_FACTS = {
    "paper": "Semantic Segmentation In-the-Wild Without Seeing Any "
    "Segmentation Examples",
    "year": 2021,
    "arxiv": "2112.03185",
    "table": "free",
    "needs": Unlabeled,
    "frozen": "CLIP",
    "tuned": "a classifier of pixels, anew for each test picture",
    "simplified": "nearest clicks in colour and place",
    "reading": ("share", "views", "finish", "clicks", "level"),
    "start": None,
}
INFO = Info(
    name="SSIW (predicted labels)",
    labels="predicted",
    knobs={"share": (0.6, 0.7, 0.8), "level": (0.35, 0.5), "clicks": (16, 48)},
    **_FACTS,
)
ORACLE = Info(
    name="SSIW (oracle labels)", labels="oracle", settings={"oracle": True}, **_FACTS
)
ROWS = (INFO, ORACLE)


@dataclass(frozen=True)
class SSIW:
    """``finish`` "clicks" is the method, "threshold" stops at the maps.

    ``share``: part of the best name's cosine that a name must reach to count
    as present; ``oracle`` takes ``pictures.tags`` instead.  ``level``: how high
    a map must be to be a click's source, and below how much all must be for
    the background's.
    """

    clip: object
    share: float = SHARE
    oracle: bool = False
    views: tuple[str, ...] = VIEWS
    finish: str = "clicks"
    clicks: int = 16
    level: float = 0.5
    trained: int = 0

    def present(self, pictures: DensePictures, names: list[str]) -> Tensor:
        """Which names to look for: bool [N, C]; the best one in any case."""
        cosine = pictures.image_embeds @ text_classifier(self.clip, names).T
        if self.oracle:
            return pictures.tags
        best = cosine.amax(1, keepdim=True)
        return (cosine == best) | (cosine >= self.share * best)

    def maps(self, pictures: DensePictures, names, asked: Tensor) -> Tensor:
        """Relevance of asked names, each from 0 to 1: [N, K, S, S].

        ``asked`` [N, K] are indices of names; -1 is nothing, and gives 0.
        """
        W = text_classifier(self.clip, names)
        texts = W[asked.clamp(min=0)]  # [N, K, D]
        start = len(self.clip.model.vision_model.encoder.layers) - LAST

        def look(pixels: Tensor) -> Tensor:
            with torch.no_grad():
                states = hidden_states(self.clip, pixels)[start]
            found = [
                relevance(self.clip, states, lambda z, t=t: (z * t).sum(-1), start)
                for t in texts.unbind(1)
            ]
            return as_map(torch.stack(found, -1))

        heat = tta(look, pictures.pixel_values, self.views)
        heat = min_max(heat.flatten(2)).view_as(heat)
        heat = upsample(heat, pictures.images.shape[1])
        return heat * (asked >= 0)[..., None, None]

    def scores(self, pictures, names, seen=None) -> Tensor:
        here = self.present(pictures, names)
        most = max(int(here.sum(1).max()), 1)
        ranked = here.float().sort(dim=1, descending=True, stable=True)
        asked = torch.where(ranked.values > 0, ranked.indices, -1)[:, :most]
        heat = self.maps(pictures, names, asked)
        N, S = len(pictures), pictures.images.shape[1]
        result = torch.zeros(N, len(names) + 1, S, S)
        for i in range(N):
            known = asked[i] >= 0
            columns, maps = asked[i][known], heat[i][known]
            if self.finish == "threshold":
                answers = F.pad(maps, (0, 0, 0, 0, 0, 1), value=self.level)
            else:
                answers = self.by_clicks(pictures.images[i], maps)
            result[i, columns] = answers[:-1]
            result[i, -1] = answers[-1]
            # among names alone the surer map decides where no click does
            result[i, columns] += 1e-3 * maps
        return result

    def by_clicks(self, image: Tensor, maps: Tensor) -> Tensor:
        """Probabilities of names and background from clicks: [K + 1, S, S].

        Where they fall depends on the picture ``image`` [S, S, 3] and maps of
        its names [K, S, S] alone, whatever pictures come with it.
        """
        K, S = len(maps), image.shape[0]
        rng = np.random.default_rng(zlib.crc32(image.numpy().tobytes()))
        lead = maps - _best_other(maps)  # rivals take each other's clicks
        weights = (
            torch.cat(
                [
                    lead.clamp(min=0) * (maps > self.level),
                    ((maps < self.level / 2).all(0)[None]).float(),
                ]
            )
            .flatten(1)
            .double()
            .numpy()
        )  # [K + 1, S S]
        picked, labels = [], []
        for k, weight in enumerate(weights):
            if weight.sum() > 0:
                n = min(self.clicks * (2 if k == K else 1), (weight > 0).sum())
                picked.append(
                    rng.choice(S * S, n, replace=False, p=weight / weight.sum())
                )
                labels += [k] * n
        features = pixel_features(image)
        answers = np.zeros((S * S, K + 1), np.float32)
        model = KNeighborsClassifier(min(NEIGHBORS, len(labels)), weights="distance")
        model.fit(features[np.concatenate(picked)], labels)
        answers[:, model.classes_] = model.predict_proba(features)
        return torch.from_numpy(answers).T.unflatten(1, (S, S))


def _best_other(maps: Tensor) -> Tensor:
    """For each map [K, S, S] the highest of the others; 0 if it is alone."""
    if len(maps) < 2:
        return torch.zeros_like(maps)
    own = torch.eye(len(maps), dtype=torch.bool)[:, :, None, None]
    return maps[None].masked_fill(own, -torch.inf).amax(1)


def pixel_features(image: Tensor) -> np.ndarray:
    """Red, green, blue and place of each pixel, of like weight: [S S, 5]."""
    S = image.shape[0]
    place = torch.linspace(0, PLACE, S)
    y, x = torch.meshgrid(place, place, indexing="ij")
    color = image.float() / 255
    features = torch.cat([color, y[..., None], x[..., None]], -1)
    return features.flatten(0, 1).numpy()


def fit(
    clip,
    data: Unlabeled,
    seed=0,
    *,
    share=SHARE,
    oracle=False,
    views=VIEWS,
    finish="clicks",
    clicks=16,
    level=0.5,
) -> SSIW:
    """Nothing is learned before a test picture comes."""
    return SSIW(clip, share, oracle, views, finish, clicks, level)


def checks(trial) -> list[Check]:
    full = trial.result(INFO)
    rough = trial.result(INFO, finish="threshold")
    return [
        Check(
            "maps of several views beat those of one",
            rough,
            trial.result(INFO, finish="threshold", views=VIEWS[:1]),
            score="all",
        ),
        Check("clicks beat maps cut at a level", full, rough, score="all"),
        Check(
            "labels from a person beat predicted ones",
            trial.result(ORACLE),
            full,
            score="all",
        ),
    ]
