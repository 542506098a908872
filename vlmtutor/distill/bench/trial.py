"""One method on one bench; what was fitted and answered is kept."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any

from ..methods import Info
from ..pictures import once
from .boxes import Boxes
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

        Of boxes ranked in several ways, all of the scores.
        """
        result, answering = self._answer(info, {})
        model, fitting = self._fit(info, self._settings(info, {}))
        figures = result.table() if hasattr(result, "table") else result.scores()
        return {
            "scores": rounded(figures),
            "trained": int(model.trained),
            "fit_s": round(fitting, 1),
            "ms": round(1000 * answering / len(result), 1),
        }

    def _settings(self, info: Info, changes: dict) -> dict:
        """The row's settings, its knobs, then changes."""
        return {**info.settings, **self.chosen.get(info.name, {}), **changes}

    def _fit(self, info: Info, settings: dict) -> tuple[Any, float]:
        """A model and the seconds of its fit; reading knobs are left out."""
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
            self._fitted[key] = model, time.perf_counter() - begun
        return self._fitted[key]

    def _answer(self, info: Info, changes: dict) -> tuple[Result | Boxes, float]:
        key = _key(info, self._settings(info, changes))
        if key not in self._results:
            model, bench = self.model(info, **changes), self.bench
            pictures = bench.test_pictures
            if info.labels == "oracle":
                pictures = pictures.with_tags(bench.oracle_tags)
            seen = bench.seen if info.split else None
            begun = time.perf_counter()
            result = bench.answer(model, pictures, seen=seen)
            self._results[key] = result, time.perf_counter() - begun
        return self._results[key]


def rounded(figures: Mapping) -> dict:
    """Figures to four digits, nested as they are."""
    return {
        name: rounded(value) if isinstance(value, Mapping) else round(value, 4)
        for name, value in figures.items()
    }


def _key(info: Info, settings: dict) -> tuple[str, str]:
    return info.name, repr(sorted(settings.items()))
