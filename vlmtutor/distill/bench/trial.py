"""A bench for one method, which keeps what has been fitted and predicted."""

from __future__ import annotations

import dataclasses
import time

from ..methods import Info, predict_both
from .protocol import Bench
from .score import Result


class Trial:
    """A bench for one method: the same attributes, and results of its rows.

    What has been fitted or predicted once is kept, so that checks and tables
    share it.  ``chosen`` has the knobs of each row, by the row's name.
    """

    def __init__(self, bench: Bench, fit, chosen: dict | None = None):
        self.bench, self._fit = bench, fit
        self.chosen = chosen or {}
        self._fitted: dict = {}
        self._results: dict = {}

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.bench, name)

    def settings(self, info: Info, changes: dict) -> dict:
        """What ``fit`` gets: the row's settings, its knobs, then changes."""
        knobs = self.chosen.get(info.name, {})
        return {**info.settings, **knobs, **changes}

    def segmenter(self, info: Info, **changes):
        """A row's segmenter, with some settings changed."""
        settings = self.settings(info, changes)
        reading = {k: v for k, v in settings.items() if k in info.reading}
        rest = {k: v for k, v in settings.items() if k not in info.reading}
        segmenter = self._fitted_with(info, rest)[0]
        return dataclasses.replace(segmenter, **reading) if reading else segmenter

    def _fitted_with(self, info: Info, settings: dict) -> tuple:
        key = info.name, repr(sorted(settings.items()))
        if key not in self._fitted:
            bench = self.bench
            knows = info.table != "inductive"
            data = bench.data(info.needs)
            for part in data if isinstance(data, tuple) else (data,):
                part.pictures.prepare()  # shared by all, so not timed
            begun = time.perf_counter()
            segmenter = self._fit(
                bench.clip,
                data,
                bench.protocol.seed,
                names=list(bench.names if knows else bench.base),
                novel=list(bench.novel) if knows else [],
                **settings,
            )
            self._fitted[key] = segmenter, time.perf_counter() - begun
        return self._fitted[key]

    def result(self, info: Info, **changes) -> Result:
        """How a row does on the test pictures, with some settings changed."""
        key = info.name, repr(sorted(self.settings(info, changes).items()))
        if key not in self._results:
            segmenter = self.segmenter(info, **changes)
            seen = self.bench.seen if info.split else None
            pictures = self.bench.test_pictures
            if info.labels == "oracle":
                pictures = pictures[:]
                pictures.tags = self.bench.oracle_tags
            begun = time.perf_counter()
            answers = predict_both(segmenter, pictures, self.bench.names, seen)
            seconds = time.perf_counter() - begun
            self._results[key] = self.bench.judge(*answers), seconds
        return self._results[key][0]

    def row(self, info: Info) -> dict:
        """Plain numbers of a row."""
        result = self.result(info)
        settings = self.settings(info, {})
        rest = {k: v for k, v in settings.items() if k not in info.reading}
        segmenter, fitting = self._fitted_with(info, rest)
        key = info.name, repr(sorted(settings.items()))
        seconds = self._results[key][1]
        scores = {k: round(v, 4) for k, v in result.scores().items()}
        return {
            "seed": self.bench.protocol.seed,
            **scores,
            "trained": int(segmenter.trained),
            "fit_s": round(fitting, 1),
            "ms_per_picture": round(1000 * seconds / len(result), 1),
        }
