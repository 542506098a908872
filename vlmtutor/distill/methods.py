"""What a method says of itself, what it gives back, and which there are.

A method is a module of :mod:`vlmtutor.distill.segmentation` or of
:mod:`vlmtutor.distill.detection` with

``ROWS``
    a tuple of :class:`Info`, one for each row of the tables that it fills;
``fit(clip, data, seed=0, **settings)``
    a :class:`Segmenter` or a :class:`Detector`.  ``data`` is what the row's
    ``needs`` asks for (a tuple where it asks for several); what the row is
    ``told`` comes by name;
``checks(trial)``
    a list of :class:`vlmtutor.verdict.Check`: what the paper says, measured on a
    :class:`vlmtutor.distill.bench.trial.Trial`;
``teach(clip, data, lesson, seed=0)``
    where a detector's teacher is asked before the fit: the seconds it took;
``prepare(clip, data, lesson, seed=0)``
    where a detector needs more of what methods share: likewise;
``PARTS``
    where a detector labels for itself: row → the part of the bench that it
    labels.  Its model has them as ``labels``.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from .pictures import DensePictures

# name → module, in the order in which the course meets them.
METHODS = {
    "MaskCLIP+": "segmentation.maskclip",
    "SSIW": "segmentation.ssiw",
    "CLIP-ES": "segmentation.clip_es",
    "CLIMS": "segmentation.clims",
    "ReCo": "segmentation.reco",
    "LSeg": "segmentation.lseg",
    "CLIPSeg": "segmentation.clipseg",
    "Fusioner": "segmentation.fusioner",
    "ZegCLIP": "segmentation.zegclip",
    "ZSSeg": "segmentation.zsseg",
    "ZegFormer": "segmentation.zegformer",
    "OVSeg": "segmentation.ovseg",
    "OpenSeg": "segmentation.openseg",
    "FreeSeg": "segmentation.freeseg",
    "F-VLM": "detection.fvlm",
    "ViLD": "detection.vild",
    "DetPro": "detection.detpro",
    "OADP": "detection.oadp",
    "BARON": "detection.baron",
    "HierKD": "detection.hierkd",
    "ZSD-YOLO": "detection.zsd_yolo",
}
TABLES = {
    "free": "annotation-free and weak",
    "inductive": "inductive: base masks, novel names unknown while training",
    "captions": "caption-supervised: novel names are among the words of captions",
    "transductive": "transductive: base masks, novel names known",
    "boxes": "base boxes and CLIP, no novel word in training",
    "sentences": "base boxes and sentences, in which novel words occur",
}
# What validation chooses from, given base masks: 15 to 24 s a hundred on one core,
# so that a fit stays below two minutes
STEPS = (150, 500)
# of the tables, those where no row knows the names
UNTOLD = ("inductive", "captions", "boxes", "sentences")
TOLD = ("names", "novel")  # what a row may be told of the bench's names


def get_method(name: str):
    """The module of a method; raises KeyError that lists the names."""
    if name not in METHODS:
        raise KeyError(f"unknown method {name!r}: {', '.join(METHODS)}")
    return importlib.import_module(f"{__package__}.{METHODS[name]}")


@dataclass(frozen=True)
class Info:
    """One row: a method in one setting.

    ``needs`` is the type of data that it is handed (or a tuple of types),
    ``settings`` what ``fit`` is called with for this row, ``knobs`` a grid
    (name → values) to be chosen on pseudo-novel classes of validation scenes.
    Knobs named in ``reading`` only matter when predicting and are fields of
    the model, a dataclass: it is not fitted again for them.  ``told`` says
    what ``fit`` may know of the test: all "names", or which are "novel";
    nothing for inductive and caption-supervised rows.  ``start`` are the
    settings of the same row before training; None where nothing is trained.
    ``labels`` tells if the row uses image labels of the test pictures ("no",
    "predicted", or "oracle": then the pictures have ``tags`` bool [N, C]),
    ``split`` if it must know which test names are novel.  ``uses`` tells what
    of CLIP it leans on besides its texts, in a few words.
    """

    name: str
    paper: str
    year: int
    arxiv: str
    table: str
    needs: type | tuple[type, ...]
    frozen: str
    tuned: str
    simplified: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    knobs: Mapping[str, tuple] = field(default_factory=dict)
    reading: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    start: Mapping[str, Any] | None = field(default_factory=lambda: {"steps": 0})
    labels: str = "no"
    split: bool = False
    uses: str = ""

    def __post_init__(self):
        if self.table not in TABLES:
            raise ValueError(f"{self.table!r} is none of {list(TABLES)}")
        if self.told and (self.table in UNTOLD or {*self.told} - {*TOLD}):
            raise ValueError(f"of {self.table!r} no row is told {self.told}")


class Segmenter(Protocol):
    """Names every pixel.  ``trained`` counts the trained parameters."""

    trained: int

    def scores(
        self, pictures: DensePictures, names: list[str], seen: Tensor | None = None
    ) -> Tensor:
        """[N, len(names) + 1, S, S], the last is the background.

        ``seen`` bool [len(names)] marks names that had masks in training.
        """
        ...


class Detector(Protocol):
    """Finds things and names them.  ``trained`` as of a :class:`Segmenter`."""

    trained: int

    def detect(
        self, pictures: DensePictures, names: list[str], seen: Tensor | None = None
    ) -> list[dict]:
        """A dict a picture: "boxes" [n, 4] as (x0, y0, x1, y1) in pixels,
        "labels" [n], places in ``names``, and "scores" [n]."""
        ...
