"""``python -m vlmtutor experiment NAME``: run, go on, show, verify."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ..console import fail
from . import EXPERIMENTS, get_experiment
from .experiment import Experiment, open_notes
from .rows import as_json, as_text, mark_changed, rows
from .run import Failed
from .run import run as run_parts
from .verify import verify

USAGE, FAILURE = 2, 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="without it: which there are")
    parser.add_argument("--only", nargs="+", metavar="PART", default=[])
    parser.add_argument("--seeds", type=int, metavar="N", help="0 to N - 1")
    parser.add_argument("--backbones", nargs="+", metavar="MODEL", default=[])
    parser.add_argument("--workers", type=int, metavar="N", default=1)
    parser.add_argument("--out", type=Path, help="a file in place of the course's")
    for flag, about in (
        ("--again", "run also what is stored"),
        ("--stored", "show what is stored, run nothing"),
        ("--json", "with --stored: as JSON"),
        ("--verify", "refit a seed where code has changed"),
    ):
        parser.add_argument(flag, action="store_true", help=about)


def run(args: argparse.Namespace) -> int:
    if not args.name:
        print(listing())
        return 0
    try:
        experiment = get_experiment(args.name)
        _check(args, experiment)
    except (KeyError, ValueError) as error:
        fail(error.args[0])
        return USAGE
    try:
        if args.stored:
            return _show(args, experiment)
        if args.verify:
            print(verify(experiment, args.only, args.workers, args.out))
            return 0
        keys = experiment.keys(args.only, args.seeds, args.backbones)
        notes = run_parts(experiment, keys, args.workers, args.again, args.out)
    except (Failed, OSError, ValueError) as error:
        fail(error)
        return FAILURE
    mark_changed(experiment, notes, notes["rows"])
    print(as_text(notes["rows"]))
    return 0


def listing() -> str:
    wide = max(map(len, EXPERIMENTS), default=0) + 2
    lines = [f"{n:{wide}}{get_experiment(n).about}" for n in EXPERIMENTS]
    return "\n".join(lines) or "there are no experiments"


def _check(args: argparse.Namespace, experiment: Experiment) -> None:
    """Raise ValueError for arguments that do not fit the experiment."""
    unknown = [part for part in args.only if part not in experiment.parts]
    if unknown:
        known = ", ".join(experiment.parts)
        raise ValueError(f"{experiment.name} has no part {unknown[0]!r}: {known}")
    for name in ("seeds", "workers"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name} is 1 or more, not {value}")
    if args.json and not args.stored:
        raise ValueError("--json goes with --stored")


def _show(args: argparse.Namespace, experiment: Experiment) -> int:
    notes = open_notes(experiment, args.out)
    found = rows(experiment, notes)
    mark_changed(experiment, notes, found)
    found = [row for row in found if not args.only or row["method"] in args.only]
    if args.json:
        print(json.dumps(as_json(experiment.name, found), ensure_ascii=False))
    else:
        print(as_text(found) if found else f"nothing is stored of {experiment.name}")
    return 0
