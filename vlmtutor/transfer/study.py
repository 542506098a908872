"""What takes too long for a notebook: three seeds, five numbers of shots.

``python -m vlmtutor.transfer.study 08_prompt_tuning`` chooses the settings of
each method, runs everything and writes ``notebooks/results/08_prompt_tuning.json``,
with seeds, date, machine and a digest of the model.  Run it again whenever the
model or the domains change.

The search never meets what the tables report: it learns from other classes
(the task "development"), half of them, and is scored on validation pictures of
both halves.  One setting a method serves all tasks and numbers of shots.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import statistics
import sys
import time
from pathlib import Path

import torch

from .. import stored
from ..metrics import expected_calibration_error, harmonic_mean
from . import get_fit
from .base import TiedToClasses
from .few_shot import accuracy, verdict
from .plans import PLANS, Claim, Method, Plan
from .tasks import SHOTS, Split, Task, calibrate, make_task

SEEDS = (0, 1, 2)
SEARCH_SEED = 9  # its shots are no run's
SEARCH_SHOTS = (1, 16)


def first(split: Split, per_class: int | None, skip: int = 0) -> Split:
    """The first pictures of each class, after ``skip`` of them."""
    if per_class is None:
        return split
    seen: dict[int, int] = {}
    rows = []
    for row, label in enumerate(split.labels.tolist()):
        seen[label] = seen.get(label, 0) + 1
        if skip < seen[label] <= skip + per_class:
            rows.append(row)
    return Split(split.pictures[rows], split.labels[rows], split.classes)


def learn(method: Method, train: Split, seed: int, **settings):
    """A predictor, and the seconds that it took."""
    start = time.perf_counter()
    pictures, labels, classes = train.pictures, train.labels, train.classes
    if method.classes is not None:
        rows = (labels < method.classes).nonzero()[:, 0]
        pictures, labels = pictures[rows], labels[rows]
        classes = classes[: method.classes]
    predictor = get_fit(method.fit)(
        pictures.clip, pictures, labels, classes, seed, **method.fixed, **settings
    )
    return predictor, time.perf_counter() - start


def score(predictor, base: Split, novel: Split) -> dict[str, float]:
    """Accuracy and calibration error on classes learned, and on others."""
    found = {}
    for half, split in (("base", base), ("novel", novel)):
        try:
            other = predictor.with_classes(split.classes)
        except TiedToClasses:
            continue
        probabilities = other.probabilities(split.pictures)
        right = probabilities.argmax(1) == split.labels
        found[half] = float(right.float().mean())
        found[f"{half} ECE"] = expected_calibration_error(probabilities, split.labels)
    return found


def search(method: Method, tasks: list[Task]) -> tuple[dict, list[dict]]:
    """The best settings of a grid, and all scores: [{settings, score, …}].

    The score is the harmonic mean of both halves' validation accuracies (that
    of the base half alone where a method is tied to its classes), averaged
    over tasks and numbers of shots; "base" and "novel" are the means of what
    it is made of.
    """
    rows = []
    shots = SEARCH_SHOTS if method.learns else SEARCH_SHOTS[:1]
    for values in itertools.product(*method.grid.values()):
        settings = dict(zip(method.grid, values, strict=True))
        scores, parts = [], {"base": [], "novel": []}
        for task, k in itertools.product(tasks, shots):
            halves = [
                first(task.val(12, half=half), method.pictures)
                for half in ("base", "novel")
            ]
            train = task.shots(k, SEARCH_SEED, "base")
            predictor, _ = learn(method, train, SEARCH_SEED, **settings)
            found = score(predictor, *halves)
            a, b = found["base"], found.get("novel")
            scores.append(a if b is None else harmonic_mean(a, b))
            for half, values in parts.items():
                values += [found[half]] if half in found else []
        means = {k: statistics.mean(v) for k, v in parts.items() if v}
        rows.append({**settings, "score": statistics.mean(scores), **means})
    best = max(rows, key=lambda row: row["score"])
    return {k: best[k] for k in method.grid}, rows


def run(clip, plan: Plan, seeds=SEEDS, shots=SHOTS, say=print, known=None) -> dict:
    """Everything a notebook shows of a plan, as plain numbers.

    ``known`` holds "tasks" of earlier notes, whose strengths are kept.

    ``tables[task][method]`` is a list of {shots, seed, base, novel, …};
    methods that learn nothing have shots 0, and one run unless they draw.
    """
    notes: dict = {
        **stored.heading(),
        "model": {"name": clip.name, "fingerprint": stored.fingerprint(clip)},
        "seeds": list(seeds),
        "shots": list(shots),
        "search": {},
        "settings": {name: {} for name in plan.methods},
        "parameters": {},
        "tasks": {},
        "tables": {},
    }
    development = []
    for domain in plan.search_domains:
        strength, _ = calibrate(clip, "development", domain, plan.target)
        task = make_task(clip, "development", domain, strength=strength, n_val=12)
        task.encode((SEARCH_SEED,), splits=("train",)).encode(splits=("val",))
        development.append(task)
    for name, method in plan.methods.items():
        if method.grid:
            chosen, rows = search(method, development)
            notes["settings"][name], notes["search"][name] = chosen, rows
            say(f"{name}: {chosen}")
        elif method.like:
            notes["settings"][name] = notes["settings"][method.like]
    for name, domain in plan.tasks:
        title = f"{name}, {domain}"
        old = (known or {}).get(title)
        if old:
            strength, reached = old["strength"], old["calibrated"]
        else:
            strength, reached = calibrate(clip, name, domain, plan.target)
        task = make_task(
            clip, name, domain, strength=strength, n_test=plan.n_test
        ).encode(seeds, splits=("train", "test"))
        tried = plan.shots.get((name, domain), shots)
        notes["tasks"][title] = {
            "name": name,
            "domain": domain,
            "strength": strength,
            "calibrated": reached,
            "classes": len(task.classes),
            "shots": list(tried),
            "zero_shot": accuracy(
                get_fit("zero-shot")(clip, None, None, task.classes), task.test()
            ),
        }
        say(f"{title}: strength {strength}, zero-shot {reached:.2f}")
        notes["tables"][title] = {
            method: table(how, task, notes, method, seeds, tried, say)
            for method, how in plan.methods.items()
        }
    return notes


def table(method, task, notes, name, seeds, shots, say) -> list[dict]:
    """The runs of one method on one task."""
    if method.learns:
        runs = list(itertools.product(shots, seeds))
    else:
        runs = [(0, seed) for seed in (seeds if method.draws else (0,))]
    rows = []
    for k, seed in runs:
        skip = seeds.index(seed) * method.pictures if method.draws else 0
        halves = [
            first(task.test(half), method.pictures, skip) for half in ("base", "novel")
        ]
        train = task.shots(max(k, 1), seed, "base")
        settings = notes["settings"][name]
        predictor, seconds = learn(method, train, seed, **settings)
        start = time.perf_counter()
        found = score(predictor, *halves)
        pictures = sum(len(half) for half in halves)
        each = (time.perf_counter() - start) / pictures
        found = {key: round(value, 4) for key, value in found.items()}
        rows.append(
            {
                "shots": k,
                "seed": seed,
                **found,
                "seconds": round(seconds, 2),
                "ms a picture": round(1000 * each, 2),
            }
        )
        notes["parameters"][name] = predictor.parameters_trained
    base = statistics.mean(row["base"] for row in rows[-len(seeds) :])
    say(f"  {name}: {base:.2f} on base classes")
    return rows


def measure(row: dict, what: str) -> float:
    """A row's figure of the kinds that :class:`Claim` knows."""
    if what == "H":
        return harmonic_mean(row["base"], row["novel"])
    if what == "both":
        return (row["base"] + row["novel"]) / 2
    if what == "ECE":
        return (row["base ECE"] + row["novel ECE"]) / 2
    return row[what]


def figures(notes: dict, method: str, what: str, shots: int) -> list[float]:
    """One figure a seed, each the mean over the tasks tried with ``shots``.

    A method that ran once, without shots, counts for every seed.  Raises
    ValueError when there is no such run.
    """
    tables = [
        notes["tables"][title]
        for title, task in notes["tasks"].items()
        if not shots or shots in task["shots"]
    ]
    by_seed = []
    for seed in notes["seeds"]:
        found = []
        for table in tables:
            rows = [r for r in table[method] if r["shots"] in (shots, 0)]
            own = rows if len(table[method]) == 1 else []
            own = [r for r in rows if r["seed"] == seed] or own
            found += [measure(row, what) for row in own]
        if not found:
            raise ValueError(f"no runs of {method} with {shots} shots")
        by_seed.append(statistics.mean(found))
    return by_seed


def judge(notes: dict, claim: Claim) -> tuple[str, list[float]]:
    """The verdict on a claim, and the differences that it rests on."""
    pairs = zip(
        figures(notes, claim.better, claim.what, claim.shots),
        figures(notes, claim.than, claim.what, claim.shots),
        strict=True,
    )
    differences = [a - b for a, b in pairs]
    return verdict(differences), differences


def merge(old: dict, new: dict) -> dict:
    """Notes with the methods of ``new`` in place of the old ones'.

    Raises ValueError where the two differ in model, seeds or tasks.
    """
    for key in ("model", "seeds", "shots", "tasks"):
        if old[key] != new[key]:
            raise ValueError(f"stored results have another {key}: run all")
    notes = {**old, **new, "minutes": round(old["minutes"] + new["minutes"])}
    for key in ("search", "settings", "parameters"):
        notes[key] = {**old[key], **new[key]}
    notes["tables"] = {
        title: {**table, **new["tables"][title]}
        for title, table in old["tables"].items()
    }
    return notes


def main(argv: list[str] | None = None) -> int:
    from ..models.hub import load_clip

    parser = argparse.ArgumentParser(
        prog="python -m vlmtutor.transfer.study",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", choices=sorted(PLANS))
    parser.add_argument("--model", help="a folder or a hub id")
    parser.add_argument("--out", type=Path, help="where to write the JSON")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="METHOD",
        help="measure these anew and keep what is stored of the others",
    )
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    clip = load_clip(args.model) if args.model else load_clip()
    start = time.perf_counter()
    plan, known = PLANS[args.name], None
    if args.only:
        known = stored.load(args.name)["tasks"]
        methods = {name: plan.methods[name] for name in args.only}
        plan = dataclasses.replace(plan, methods=methods)
    notes = run(clip, plan, known=known)
    notes["minutes"] = round((time.perf_counter() - start) / 60, 1)
    if args.only:
        notes = merge(stored.load(args.name), notes)
    out = stored.save(notes, args.name, args.out)
    print(f"{out} written after {notes['minutes']} minutes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
