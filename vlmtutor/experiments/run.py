"""The one machine for experiments: parts in processes, kept one by one.

An :class:`Experiment` is a list of parts, each a plain function that an
import finds.  A part runs in a process with one torch thread, so that its
numbers do not depend on how many run beside it; each is written as soon as it
is done, and the same command goes on where it was stopped.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

from tqdm.auto import tqdm

from .. import stored
from .code_hash import code_hash

STICKERCLIP = "stickerclip"
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"
)
KILLED = "a worker was killed (out of memory?); the same command goes on"
Key = tuple[str, str, int | None]  # part, backbone, seed; a choice has no seed


@dataclass(frozen=True)
class Experiment:
    """What is measured, as plain functions of a module.

    ``parts``: name → ``part(name, seed, backbone)``, which returns plain JSON:
    ``rows`` (or the fields of a single row: see :mod:`.rows`) and ``checks``,
    measured ones of :mod:`vlmtutor.verdict`.  ``seeds`` are 0 to N - 1;
    ``fewer`` gives parts or backbones less.  ``choose(name, backbone)``
    returns what :func:`.grid.choose` does, once for all seeds of a part, which
    then gets "chosen" as a fourth argument.  ``compare(found)`` measures
    checks between parts: it gets {part: what it returned} of one seed.
    ``code(name)`` names the modules that compute a part, for the hash of its
    code; by default that of its function.  ``old`` is the stored file that
    is shown until the experiment has been run.
    """

    name: str
    about: str
    parts: Mapping[str, Callable[..., dict]]
    seeds: int = 8
    backbones: tuple[str, ...] = (STICKERCLIP,)
    fewer: Mapping[str, int] = field(default_factory=dict)
    choose: Callable[[str, str], dict] | None = None
    compare: Callable[[dict[str, dict]], list[dict]] | None = None
    code: Callable[[str], Sequence[str]] | None = None
    old: str = ""

    def path(self) -> Path:
        return stored.FOLDER / f"{self.name}.json"

    def hash(self, part: str) -> str:
        """Of the code that computes a part."""
        modules = self.code(part) if self.code else [self.parts[part].__module__]
        return code_hash(*modules)

    def keys(self, only=(), seeds: int | None = None, backbones=()) -> list[Key]:
        """The parts to run: one after another, all of their seeds."""
        return [
            (part, backbone, seed)
            for part in only or self.parts
            for backbone in backbones or self.backbones
            for seed in range(seeds or self._seeds(part, backbone))
        ]

    def _seeds(self, part: str, backbone: str) -> int:
        fewer = (self.fewer.get(name, self.seeds) for name in (part, backbone))
        return min(self.seeds, *fewer)


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
    notes = open_notes(experiment, path)
    order = list(experiment.parts)
    for name in ("choices", "parts"):
        own = [r for r in records if ("seed" in r) == (name == "parts")]
        known = {key_of(r): r for r in (*notes[name], *own)}
        found = sorted(known.items(), key=lambda pair: _place(order, pair[0]))
        notes[name] = [record for _, record in found]
    stored.write(notes, path)
    return notes


def _place(order: list[str], key: Key) -> tuple:
    part, backbone, seed = key
    rank = order.index(part) if part in order else len(order)
    return rank, part, backbone, seed or 0


class Failed(RuntimeError):
    """Some parts raised; the others are stored.  ``why``: key → message."""

    def __init__(self, why: dict[Key, str]):
        self.why = why
        lines = [f"{_title(key)}: {message}" for key, message in why.items()]
        super().__init__("\n".join(lines))


def _title(key: Key) -> str:
    part, backbone, seed = key
    return f"{part}, {backbone}, " + ("choice" if seed is None else f"seed {seed}")


def run(
    experiment: Experiment,
    keys: Sequence[Key] | None = None,
    workers: int = 1,
    again: bool = False,
    path: Path | None = None,
) -> dict:
    """Run what is not yet stored of ``keys`` (all by default); the notes.

    ``again`` runs what is stored too.  Raises :class:`Failed` in the end where
    parts raised.
    """
    path = path or experiment.path()
    notes = open_notes(experiment, path)
    keys = experiment.keys() if keys is None else keys
    done = set() if again else {key_of(record) for record in notes["parts"]}
    todo = [key for key in keys if key not in done]
    choices = {key_of(r): r["chosen"] for r in notes["choices"] if not again}
    for record in results(experiment, todo, choices, workers):
        notes = keep(experiment, path, record)
    return notes


def results(
    experiment: Experiment,
    todo: Sequence[Key],
    choices: dict[Key, dict],
    workers: int = 1,
    bar: bool = True,
) -> Iterator[dict]:
    """Records of choices and parts, as they get done.

    ``choices``: knobs chosen before, by (part, backbone, None); what is
    missing is chosen first.  Raises :class:`Failed` at the end.
    """
    waiting: dict[Key, list[Key]] = {}
    for key in todo if experiment.choose else ():
        choice = (*key[:2], None)
        if choice not in choices:
            waiting.setdefault(choice, []).append(key)
    late = {key for keys in waiting.values() for key in keys}
    first = [*waiting, *(key for key in todo if key not in late)]
    if not first:
        return
    failed: dict[Key, str] = {}
    shown = tqdm(total=len(todo) + len(waiting), unit="part", disable=not bar)
    with shown, _pool(workers) as pool:
        running = {_submit(pool, experiment, key, choices): key for key in first}
        while running:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                key = running.pop(future)
                try:
                    record = {**_head(experiment, key), **future.result()}
                except BrokenProcessPool:
                    raise Failed({key: KILLED}) from None
                except Exception as error:  # of the part: the others go on
                    failed[key] = f"{type(error).__name__}: {error}"
                    for lost in waiting.get(key, ()):
                        failed[lost] = "nothing was chosen"
                    continue
                finally:
                    shown.update()
                    shown.set_postfix_str(_title(key))
                yield record
                if key in waiting:
                    choices[key] = record["chosen"]
                    for late_key in waiting[key]:
                        future = _submit(pool, experiment, late_key, choices)
                        running[future] = late_key
    if failed:
        raise Failed(failed)


def _head(experiment: Experiment, key: Key) -> dict:
    part, backbone, seed = key
    head = {"part": part, "backbone": backbone}
    if seed is not None:
        head["seed"] = seed
    return {**head, "code": experiment.hash(part)}


def _submit(pool, experiment: Experiment, key: Key, choices: dict) -> Future:
    part, backbone, seed = key
    if seed is None:
        return pool.submit(_work, 0, experiment.choose, part, backbone)
    arguments = [part, seed, backbone]
    if experiment.choose:
        arguments.append(choices[part, backbone, None])
    return pool.submit(_work, seed, experiment.parts[part], *arguments)


@contextlib.contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Processes with one thread each, that end with this one."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)  # read when the libraries load, over there
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, spawn, _begin)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _begin() -> None:
    """How a worker starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # end at once, and quietly
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import torch

    torch.set_num_threads(1)


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def _work(seed: int, function: Callable, *arguments) -> dict:
    """A part's result, in a worker: the same whatever ran there before."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    begun = time.perf_counter()
    found = function(*arguments)
    seconds = round(time.perf_counter() - begun, 1)
    json.dumps(found, allow_nan=False)  # or ValueError, TypeError
    return {**stored.heading(), "seconds": seconds, **found}
