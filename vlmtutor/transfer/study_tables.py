"""Tables of a study in which picture encoders run: dear, so kept small.

Does what :mod:`.study` does, with the same rows, and asks one thing more:
``kept``, the accuracy on ordinary stickers of the classes learned, after a
method was adapted to another domain.  Shots may differ from task to task.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from pathlib import Path

import torch

from .. import stored
from ..metrics import harmonic_mean
from ..models.hub import load_clip
from . import get_fit
from .few_shot import accuracy
from .plans import Method
from .study import SEARCH_SEED, SEEDS, first, learn, score
from .tasks import Split, Task, calibrate, make_task

# Accuracy left to zero-shot on all classes, as in the study of notebook 08:
# on half of the classes it has it easier.
TARGET = 0.44


def heading(clip, seeds) -> dict:
    """An empty study: where and with what it was measured."""
    return {
        **stored.heading(),
        "model": {"name": clip.name, "fingerprint": stored.fingerprint(clip)},
        "seeds": list(seeds),
        "search": {},
        "settings": {},
        "parameters": {},
        "tasks": {},
        "tables": {},
    }


def development(clip, domain: str) -> Task:
    """Other classes, to choose settings by; features computed."""
    strength, _ = calibrate(clip, "development", domain, TARGET)
    task = make_task(clip, "development", domain, strength=strength, n_val=12)
    return task.encode((SEARCH_SEED,), splits=("train",)).encode(splits=("val",))


def search(
    methods: dict[str, Method], task: Task, shots, per_class: int, say=print
) -> tuple[dict, dict]:
    """Settings of each method, and every combination that was scored.

    The score is the harmonic mean of validation accuracies on the classes
    learned and on the others; on the former alone for methods that know no
    other names.
    """
    settings, found = {}, {}
    halves = [first(task.val(12, half=half), per_class) for half in ("base", "novel")]
    for name, method in methods.items():
        settings[name] = {}
        if method.like:
            settings[name] = settings[method.like]
        if not method.grid:
            continue
        rows = []
        for values in itertools.product(*method.grid.values()):
            tried = dict(zip(method.grid, values, strict=True))
            scores = []
            for k in shots if method.learns else shots[:1]:
                train = task.shots(k, SEARCH_SEED, "base")
                predictor, _ = learn(method, train, SEARCH_SEED, **tried)
                both = score(predictor, *halves)
                a, b = both["base"], both.get("novel")
                scores.append(a if b is None else harmonic_mean(a, b))
            rows.append({**tried, "score": round(statistics.mean(scores), 4)})
        best = max(rows, key=lambda row: row["score"])
        settings[name] = {k: v for k, v in best.items() if k != "score"}
        found[name] = rows
        say(f"{name}: {settings[name]} scores {best['score']:.2f}")
    return settings, found


def ordinary(clip, name: str, n: int) -> Split:
    """The base classes of a task as ordinary stickers, ``n`` test pictures."""
    return make_task(clip, name, n_test=n).encode(splits=()).test("base")


def run_task(
    clip, notes, methods, name, domain, shots, seeds, *, n_test, n_kept, say=print
) -> Task:
    """Run ``methods`` on one task; what they reach goes into ``notes``."""
    title = f"{name}, {domain}"
    strength, reached = calibrate(clip, name, domain, TARGET)
    task = make_task(clip, name, domain, strength=strength, n_test=n_test)
    task.encode(seeds, splits=("train", "test"))
    clean = ordinary(clip, name, n_kept)
    zero_shot = get_fit("zero-shot")(clip, None, None, task.classes)
    base = task.test("base")
    notes["tasks"][title] = {
        "name": name,
        "domain": domain,
        "strength": strength,
        "calibrated": reached,
        "classes": len(task.classes),
        "zero_shot": accuracy(zero_shot, task.test()),
        "zero_shot_base": accuracy(zero_shot.with_classes(base.classes), base),
        "shots": list(shots),
    }
    say(f"{title}: strength {strength}, zero-shot {reached:.2f}")
    halves = base, task.test("novel")
    notes["tables"][title] = {}
    for method_name, method in methods.items():
        rows = []
        runs = itertools.product(shots, seeds) if method.learns else [(0, 0)]
        for k, seed in runs:
            train = task.shots(max(k, 1), seed, "base")
            settings = notes["settings"][method_name]
            predictor, seconds = learn(method, train, seed, **settings)
            found = score(predictor, *halves)
            found["kept"] = accuracy(predictor, clean)
            found = {key: round(value, 4) for key, value in found.items()}
            found["seconds"] = round(seconds, 2)
            rows.append({"shots": k, "seed": seed, **found})
            # some counts grow with the classes: those of the first task
            count = predictor.parameters_trained
            notes["parameters"].setdefault(method_name, count)
        notes["tables"][title][method_name] = rows
        mean = statistics.mean(row["base"] for row in rows[-len(seeds) :])
        say(f"  {method_name}: {mean:.2f} on base classes")
    return task


def merge(old: dict, new: dict) -> dict:
    """Two notes in one; of what both have, dicts are joined, new wins."""
    joined = {
        key: {**old[key], **new[key]}
        for key in old.keys() & new.keys()
        if isinstance(old[key], dict) and isinstance(new[key], dict)
    }
    return {**old, **new, **joined}


def main(name: str, parts: dict, description: str, argv=None) -> int:
    """The command of a study.

    ``parts`` are functions of a CLIP and the notes, to which each adds; the
    file is written after each.  Given ``--parts`` replaces just those of what
    is stored.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", choices=parts, default=[*parts])
    parser.add_argument("--model", help="a folder or a hub id")
    parser.add_argument("--out", type=Path, help="where to write the JSON")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    clip = load_clip(args.model) if args.model else load_clip()
    notes = {**heading(clip, SEEDS), "minutes": {}}
    path = args.out or stored.FOLDER / f"{name}.json"
    if some := args.parts != [*parts] and path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        if before["model"] != notes["model"]:
            parser.error(f"{path.name} is of another model: run all parts")
        notes = {**before, **stored.heading()}
    for part in args.parts:
        start = time.perf_counter()
        parts[part](clip, notes)
        minutes = (time.perf_counter() - start) / 60
        notes["minutes"][part] = round(minutes, 1)
        if some:  # other parts may have been run meanwhile
            now = json.loads(path.read_text(encoding="utf-8"))
            notes = merge(now, notes)
        print(f"{stored.save(notes, name, path)}: {part}, {minutes:.1f} min")
    return 0
