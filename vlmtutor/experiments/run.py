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
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from tqdm.auto import tqdm

from .. import stored
from .experiment import (
    CARRIED,
    OPENED,
    Experiment,
    Key,
    Seconds,
    forget_names,
    keep,
    key_of,
    open_backbone,
    open_notes,
)
from .rows import rows

__all__ = ["Experiment", "Failed", "Seconds", "open_backbone", "results", "run"]

ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"
)
KILLED = "a worker was killed (out of memory?); the same command goes on"


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

    ``again`` runs what is stored too.  In the end the rows over all seeds are
    stored beside the parts, for notebooks to read.  Raises :class:`Failed`
    where parts raised.
    """
    path = path or experiment.path()
    notes = open_notes(experiment, path)
    keys = experiment.keys() if keys is None else keys
    own = {
        name: [r for r in notes[name] if CARRIED not in r and not again]
        for name in ("choices", "parts")
    }
    done = {key_of(record) for record in own["parts"]}
    todo = [key for key in keys if key not in done]
    choices = {key_of(record): record["chosen"] for record in own["choices"]}
    try:
        for record in results(experiment, todo, choices, workers):
            keep(experiment, path, record)
    finally:
        notes = open_notes(experiment, path)
        if notes["parts"]:
            found = rows(experiment, notes)
            # Verdicts take a while, in which another command may have stored.
            with stored.alone(path):
                notes = open_notes(experiment, path) | {"rows": found}
                stored.write(notes, path)
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
    missing is chosen first; of an experiment ``by_seed`` all of it, so that
    parts of a seed run beside each other.  Raises :class:`Failed` at the end.
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
    ready: list[Key] = []
    shown = tqdm(total=len(todo) + len(waiting), unit="part", disable=not bar)
    with shown, _pool(workers) as pool:
        running = {_submit(pool, experiment, key, choices): key for key in first}
        while running:
            done = wait(running, return_when=FIRST_COMPLETED).done
            for future in [one for one in running if one in done]:  # in their order
                key = running.pop(future)
                try:
                    record = {**_head(experiment, key), **future.result()}
                except BrokenProcessPool:
                    raise Failed({key: KILLED}) from None
                except Exception as error:  # of the part: the others go on
                    failed[key] = f"{type(error).__name__}: {error}"
                    failed |= dict.fromkeys(waiting.pop(key, ()), "nothing was chosen")
                else:
                    yield record
                    if key in waiting:
                        choices[key] = record["chosen"]
                        ready += waiting.pop(key)
                finally:
                    shown.update()
                    shown.set_postfix_str(_title(key))
            if ready and not (experiment.by_seed and waiting):
                for key in sorted(ready, key=todo.index):
                    running[_submit(pool, experiment, key, choices)] = key
                ready = []
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
        return pool.submit(_work, 0, backbone, experiment.choose, part, backbone)
    arguments = [part, seed, backbone]
    if experiment.choose:
        arguments.append(choices[part, backbone, None])
    return pool.submit(_work, seed, backbone, experiment.parts[part], *arguments)


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


def _work(seed: int, backbone: str, function: Callable, *arguments) -> dict:
    """A part's result, in a worker: the same whatever ran there before."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    if backbone in OPENED:
        forget_names(open_backbone(backbone))
    begun = time.perf_counter()
    found = function(*arguments)
    seconds = round(time.perf_counter() - begun, 2)
    json.dumps(found, allow_nan=False)  # or ValueError, TypeError
    model = {"model": OPENED[backbone]} if backbone in OPENED else {}
    return {**stored.heading(), **model, "seconds": seconds, **found}
