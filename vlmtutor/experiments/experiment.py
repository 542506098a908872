"""What an experiment is, and where its results are kept."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .. import stored
from .code_hash import code_hash

STICKERCLIP = "stickerclip"
CLOSED = "seen names are not learned well enough to speak of unseen ones"
CARRIED = "carried over"  # marks records of an earlier program and its rule
Key = tuple[str, str, int | None]  # part, backbone, seed; a choice has no seed


@dataclass(frozen=True)
class Experiment:
    """What is measured, as plain functions of a module.

    ``parts``: name → ``part(name, seed, backbone)``, which returns plain JSON:
    ``rows`` (or the fields of a single row: see :mod:`.rows`) and ``checks``,
    measured ones of :mod:`vlmtutor.verdict`.  ``seeds`` are 0 to N - 1;
    ``fewer`` gives parts or backbones less; with ``by_seed`` all parts of a
    seed come before those of the next, for parts that share what takes long
    to make.  ``choose(name, backbone)``
    returns what :func:`.grid.choose` does, once for all seeds of a part, which
    then gets "chosen" as a fourth argument.  ``compare(found)`` measures
    checks between parts: it gets {part: what it returned} of one seed.
    ``code(name)`` names the modules that compute a part, for the hash of its
    code; by default that of its function.  ``closed`` tells why nothing is
    concluded of a row whose gate is closed.
    """

    name: str
    about: str
    parts: Mapping[str, Callable[..., dict]]
    seeds: int = 8
    backbones: tuple[str, ...] = (STICKERCLIP,)
    fewer: Mapping[str, int] = field(default_factory=dict)
    by_seed: bool = False
    choose: Callable[[str, str], dict] | None = None
    compare: Callable[[dict[str, dict]], list[dict]] | None = None
    code: Callable[[str], Sequence[str]] | None = None
    closed: str = CLOSED

    def path(self) -> Path:
        return stored.FOLDER / f"{self.name}.json"

    def hash(self, part: str) -> str:
        """Of the code that computes a part."""
        modules = self.code(part) if self.code else [self.parts[part].__module__]
        return code_hash(*modules)

    def keys(self, only=(), seeds: int | None = None, backbones=()) -> list[Key]:
        """The parts to run: one after another, all of their seeds.

        With ``by_seed`` one seed after another, all of its parts.
        """
        keys = [
            (part, backbone, seed)
            for part in only or self.parts
            for backbone in backbones or self.backbones
            for seed in range(seeds or self._seeds(part, backbone))
        ]
        if self.by_seed:
            keys.sort(key=lambda key: key[1:])  # stable: parts keep their order
        return keys

    def _seeds(self, part: str, backbone: str) -> int:
        fewer = (self.fewer.get(name, self.seeds) for name in (part, backbone))
        return min(self.seeds, *fewer)


OPENED: dict[str, str] = {}  # backbones of this process, and their fingerprints


@functools.cache
def open_backbone(name: str):
    """A CLIP, once a process."""
    from ..models.hub import load_clip

    clip = load_clip(None if name == STICKERCLIP else name)
    OPENED[name] = stored.fingerprint(clip)
    return clip


def forget_names(clip) -> None:
    """Drop the texts that a CLIP has encoded.

    A text's last digit depends on those encoded beside it, and training makes
    points of it: a part must not see which names were asked for before.
    """
    from ..distill.parts.texts import PLACE_TEMPLATES, TEMPLATES
    from ..distill.pictures import once

    for templates in (TEMPLATES, PLACE_TEMPLATES, ("{}",)):
        once(clip, ("names", *templates), dict).clear()


class Seconds(dict):
    """Seconds by name: ``with seconds("fit_s"): …`` adds to what is there."""

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        spent = time.perf_counter() - begun
        self[name] = round(self.get(name, 0.0) + spent, 2)


def open_notes(experiment: Experiment, path: Path | None = None) -> dict:
    """What is stored of an experiment; empty notes where nothing is."""
    path = path or experiment.path()
    if not path.exists():
        return {"name": experiment.name, "choices": [], "parts": []}
    way_on = f"move it away, and python -m vlmtutor experiment {experiment.name}"
    return stored.read(path, f"{way_on} makes it again")


def key_of(record: dict) -> Key:
    return record["part"], record["backbone"], record.get("seed")


def keep(experiment: Experiment, path: Path, *records: dict) -> dict:
    """Write records in place of older ones of the same keys.

    What is stored is read again, as another command may have added to it.
    """
    with stored.alone(path):
        notes = open_notes(experiment, path)
        _put(notes, records, list(experiment.parts))
        stored.write(notes, path)
    return notes


def _put(notes: dict, records: Sequence[dict], order: list[str]) -> None:
    for name in ("choices", "parts"):
        own = [r for r in records if ("seed" in r) == (name == "parts")]
        again = {key_of(r)[:2] for r in own}  # what was carried over goes
        kept = [r for r in notes[name] if not (CARRIED in r and key_of(r)[:2] in again)]
        known = {key_of(r): r for r in (*kept, *own)}
        found = sorted(known.items(), key=lambda pair: _place(order, pair[0]))
        notes[name] = [record for _, record in found]


def _place(order: list[str], key: Key) -> tuple:
    part, backbone, seed = key
    rank = order.index(part) if part in order else len(order)
    return rank, part, backbone, seed or 0
