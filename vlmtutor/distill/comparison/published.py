"""What papers and their repositories report, as far as it has been read.

``published.toml`` has the figures, each with where it was read.  What is only
remembered is left out: a blank means "not found", not "not reported".  Points,
0 to 100.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_suffix(".toml")
_DATA = tomllib.loads(FILE.read_text(encoding="utf-8"))
PROTOCOLS: dict[str, str] = _DATA["protocols"]  # short name → what it is
OV_COCO, COCO_STUFF = "OV-COCO", "COCO-Stuff"


@dataclass(frozen=True)
class Row:
    """What is reported of a method under one of :data:`PROTOCOLS`.

    ``novel``, ``base`` and ``all`` may be None: where nothing is held back all
    names are in ``all``; of VOC and COCO-Stuff that is the harmonic mean.
    ``told`` is what it learned from besides base labels, ``read`` where the
    figures stand, ``rerun`` what the authors' repository reaches.
    """

    method: str
    protocol: str
    novel: float | None = None
    base: float | None = None
    all: float | None = None
    backbone: str = ""
    told: str = ""
    read: str = ""
    rerun: float | None = None
    note: str = ""


DETECTORS, SEGMENTERS = (
    tuple(Row(**own) for own in _DATA["rows"][task])
    for task in ("detection", "segmentation")
)
ROWS = (*DETECTORS, *SEGMENTERS)
ABLATIONS = {  # (method, check) → what its paper reports of the same question
    (method, check): told
    for method, own in _DATA["ablations"].items()
    for check, told in own.items()
}


def order_of(protocol: str) -> dict[str, dict[int, float]]:
    """{method: {0: figure of novel classes}} of a protocol, reruns for blanks."""
    found = {}
    for row in ROWS:
        figure = row.rerun if row.novel is None else row.novel
        if row.protocol == protocol and figure is not None:
            found[row.method] = {0: figure / 100}
    return found


def without(methods: Iterable[str]) -> list[str]:
    """Methods of which no figure has been read."""
    told = {row.method for row in ROWS}
    return [method for method in methods if method not in told]


def reruns() -> dict[str, float]:
    """{what: points between two figures that authors give of one thing}."""
    return {
        "RKD: README of July 2022 and a later one": 40.3 - 36.6,
        "BARON, captions: repository and paper": 35.1 - 33.1,
        "BARON, CLIP: repository and paper": 34.6 - 34.0,
        "CLIMS: repository and paper": 70.3 - 69.3,
    }
