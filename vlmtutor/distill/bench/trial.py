"""One method on one bench; what was fitted and answered is kept."""

from __future__ import annotations

import dataclasses
import inspect
import time
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from ..methods import Info
from ..pictures import DensePictures, once
from .boxes import Boxes
from .kept_crops import keep_crops
from .protocol import Bench
from .references import find_reference
from .score import Result


@dataclasses.dataclass
class Trial:
    """A method's ``fit`` on a ``bench``, with knobs ``chosen`` for its rows.

    ``chosen``: the row's name → its knobs.  Rows and checks share what has
    been fitted and answered once.
    """

    bench: Bench
    fit: Callable
    chosen: Mapping[str, dict] = dataclasses.field(default_factory=dict)
    _fitted: dict = dataclasses.field(default_factory=dict, repr=False)
    _results: dict = dataclasses.field(default_factory=dict, repr=False)

    def model(self, info: Info, **changes) -> Any:
        """A row's model, with some settings changed."""
        settings = self._settings(info, changes)
        reading = {k: v for k, v in settings.items() if k in info.reading}
        model = self._fit(info, settings)[0]
        return dataclasses.replace(model, **reading) if reading else model

    def result(self, info: Info, **changes) -> Result | Boxes:
        """How a row does on the test pictures, with some settings changed."""
        return self._answer(info, changes)[0]

    def reference(self, name: str) -> Result | Boxes:
        """How a reference row does; once for all methods of the bench."""
        make = find_reference(name).result
        return once(self.bench, ("reference", name), lambda: make(self.bench))

    def row(self, info: Info) -> dict:
        """Plain numbers of a row: scores, what was trained, and times.

        Of boxes ranked in several ways, all of the scores.  ``fit_s`` is
        without the ``shared_s`` of a proposer that others use too.
        """
        result, answering = self._answer(info, {})
        model, fitting, shared = self._fit(info, self._settings(info, {}))
        figures = result.table() if hasattr(result, "table") else result.scores()
        return {
            "scores": rounded(figures),
            "trained": int(model.trained),
            "shared_s": round(shared, 1),
            "fit_s": round(fitting - shared, 1),
            "ms": round(1000 * answering / len(result), 1),
        }

    def before(self, info: Info) -> dict | None:
        """Scores of the same row before training; None where there is none."""
        if info.start is None:
            return None
        return rounded(self.result(info, **info.start).scores())

    def noisy(self, info: Info) -> dict[str, float]:
        """S, U and h on grainy pictures of the test scenes."""
        scores = self._answer(info, {}, "noisy")[0].scores()
        return rounded({name: scores[name] for name in "SUh"})

    def steps(self, info: Info) -> int | None:
        """Optimiser steps of what learns from masks, if those are counted."""
        settings = self._settings(info, {})
        wanted = inspect.signature(self.fit).parameters
        for name in ("proposer_steps", "steps"):
            if name in settings:
                return settings[name]
            if name in wanted:
                return wanted[name].default
        return None

    def seconds(self, info: Info, **changes) -> float:
        """How long the fit of a row took, with what others share."""
        return self._fit(info, self._settings(info, changes))[1]

    def pictures(self, info: Info, domain: str = "sticker") -> DensePictures:
        """The test pictures, with tags for the rows that are told."""
        pictures = self.bench.pictures("test", domain)
        if info.labels == "oracle":
            pictures = pictures.with_tags(self.bench.oracle_tags)
        return pictures

    def seen(self, info: Info) -> Tensor | None:
        """Which names had masks, bool [C], for the rows that must know."""
        return self.bench.seen if info.split else None

    def _settings(self, info: Info, changes: dict) -> dict:
        """The row's settings, its knobs, then changes."""
        return {**info.settings, **self.chosen.get(info.name, {}), **changes}

    def _fit(self, info: Info, settings: dict) -> tuple[Any, float, float]:
        """A model, the seconds of its fit, and those of them that others share.

        Knobs that matter when reading are left out.  A proposer is taken for
        shared unless the model says that it is its ``own_proposer``.
        """
        settings = {k: v for k, v in settings.items() if k not in info.reading}
        key = _key(info, settings)
        if key not in self._fitted:
            bench = self.bench
            data = bench.data(info.needs)
            for part in data if isinstance(data, tuple) else (data,):
                part.pictures.prepare()  # shared by all, so not timed
            told = {name: list(getattr(bench, name)) for name in info.told}
            begun = time.perf_counter()
            model = self.fit(bench.clip, data, bench.protocol.seed, **told, **settings)
            spent = time.perf_counter() - begun
            made = getattr(getattr(model, "proposer", None), "trained_at", None)
            at, shared = made or (0.0, 0.0)
            if at < begun:  # it was there before
                spent += shared
            if getattr(model, "own_proposer", False):
                shared = 0.0
            self._fitted[key] = keep_crops(model), spent, shared
        return self._fitted[key]

    def _answer(
        self, info: Info, changes: dict, domain: str = "sticker"
    ) -> tuple[Result | Boxes, float]:
        key = _key(info, self._settings(info, changes), domain)
        if key not in self._results:
            model, pictures = self.model(info, **changes), self.pictures(info, domain)
            begun = time.perf_counter()
            result = self.bench.answer(model, pictures, seen=self.seen(info))
            self._results[key] = result, time.perf_counter() - begun
        return self._results[key]


def rounded(figures: Mapping) -> dict:
    """Figures to four digits, nested as they are."""
    return {
        name: rounded(value) if isinstance(value, Mapping) else round(value, 4)
        for name, value in figures.items()
    }


def _key(info: Info, settings: dict, *more: str) -> tuple[str, ...]:
    return info.name, repr(sorted(settings.items())), *more
