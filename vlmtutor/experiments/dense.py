"""``python -m vlmtutor bench segmentation``: all methods, one protocol.

Three tables that are never mixed: what needs no masks, what learns from base
masks and meets novel names when predicting, and what is told them before.
Checks of papers' claims are paired: both sides answer the same test pictures,
those of all seeds pooled.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from .. import stored
from ..console import fail
from ..distill import METHODS, get_method
from ..distill.bench.gates import GateClosed, check_gates, check_types, measure
from ..distill.bench.protocol import Bench, Protocol
from ..distill.bench.references import REFERENCES
from ..distill.bench.score import Result, bootstrap_difference, pool
from ..distill.bench.tables import markdown, spread
from ..distill.bench.trial import Trial
from ..distill.methods import Check, Info

SEEDS = (0, 1, 2)
TUNING_SEED = 9  # its scenes are no run's
FILE = "segmentation"


def choose(module, bench: Bench, say=print) -> dict[str, dict]:
    """The best knobs of each row on a pseudo-novel bench, by h."""
    trial, chosen = Trial(bench, module.fit), {}
    for info in module.ROWS:
        tried = []
        for values in itertools.product(*info.knobs.values()):
            knobs = dict(zip(info.knobs, values, strict=True))
            h = trial.result(info, **knobs).scores()["h"]
            tried.append((h, knobs))
            say(f"  {info.name} {knobs}: h {100 * h:.1f}")
        if info.knobs:
            chosen[info.name] = max(tried, key=lambda pair: pair[0])[1]
    return chosen


def weigh(runs: Sequence[Sequence[Check]]) -> list[dict]:
    """Checks of several seeds → verdicts on all their pictures together."""
    verdicts = []
    for same in zip(*runs, strict=True):
        first: Check = same[0]
        if any(check.sentence != first.sentence for check in same):
            raise ValueError("checks must come in the same order each time")
        one = [bootstrap_difference(c.better, c.worse, c.score).value for c in same]
        better, worse = (
            pool(side)
            if isinstance(side[0], Result)
            else [v for part in side for v in part]
            for side in ([c.better for c in same], [c.worse for c in same])
        )
        found = bootstrap_difference(better, worse, first.score)
        verdicts.append(
            {
                "claim": first.sentence,
                "score": first.score if isinstance(better, Result) else "value",
                "verdict": found.verdict(first.at_least),
                "at_least": first.at_least,
                "difference": round(found.value, 4),
                "low": round(found.low, 4),
                "high": round(found.high, 4),
                "by_seed": [round(v, 4) for v in one],
            }
        )
    return verdicts


def describe(info: Info, knobs: dict) -> dict:
    """The fixed part of a row."""
    kinds = info.needs if isinstance(info.needs, tuple) else (info.needs,)
    return {
        "method": info.name,
        "arxiv": info.arxiv,
        "year": info.year,
        "table": info.table,
        "needs": " + ".join(kind.__name__ for kind in kinds),
        "frozen": info.frozen,
        "tuned": info.tuned,
        "simplified": info.simplified,
        "image_labels": info.labels,
        "told_which_are_novel": info.split,
        "knobs": {k: str(v) for k, v in knobs.items()},
    }


def run_method(
    module,
    benches: Sequence[Bench],
    chosen: dict,
    say=print,
    check_seeds: Sequence[int] | None = None,
) -> dict:
    """All rows of a method over seeds, and the verdicts on its checks.

    ``check_seeds``: seeds of the checks, if they are not all.
    """
    rows: dict[str, list] = {info.name: [] for info in module.ROWS}
    checked = []
    for bench in benches:
        trial = Trial(bench, module.fit, chosen)
        for info in module.ROWS:
            row = trial.row(info)
            rows[info.name].append(row)
            say(
                f"  seed {row['seed']} {info.name}: S {100 * row['S']:.1f} "
                f"U {100 * row['U']:.1f} h {100 * row['h']:.1f}, "
                f"{row['fit_s']} s"
            )
        seed = bench.protocol.seed
        if check_seeds is None or seed in check_seeds:
            checked.append(module.checks(trial))
        bench.forget()  # three seeds at once have to fit the memory
    verdicts = weigh(checked)
    for v in verdicts:
        say(
            f"  {v['verdict']}: {v['claim']} ({v['score']} "
            f"{100 * v['difference']:+.1f} "
            f"[{100 * v['low']:+.1f}, {100 * v['high']:+.1f}])"
        )
    return {
        "rows": [
            {**describe(info, chosen.get(info.name, {})), "runs": rows[info.name]}
            for info in module.ROWS
        ],
        "checks": verdicts,
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    known = "all by default: " + ", ".join(METHODS)
    parser.add_argument("what", choices=("segmentation",))
    parser.add_argument("methods", nargs="*", metavar="METHOD", help=known)
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument(
        "--check-seeds",
        nargs="+",
        type=int,
        default=None,
        help="seeds of the checks, whose fits take longest; default: all",
    )
    parser.add_argument("--model", help="folder or hub id")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--markdown", type=Path, help="write the tables here")
    for flag, about in (
        ("--small", "a tenth of the scenes, to try"),
        ("--tune", "choose knobs on pseudo-novel names first"),
        ("--no-references", "neither gates nor reference rows"),
        ("--no-methods", "gates and reference rows alone"),
    ):
        parser.add_argument(flag, action="store_true", help=about)


def run(args: argparse.Namespace) -> int:
    from ..models.hub import ModelNotFound, load_clip

    names = [] if args.no_methods else args.methods or METHODS
    try:
        modules = {name: get_method(name) for name in names}
        clip = load_clip(args.model)
    except (KeyError, ImportError, OSError, ValueError, ModelNotFound) as error:
        return fail(error)
    make = Protocol.small if args.small else Protocol
    benches = [Bench(clip, make(seed)).prepare() for seed in args.seeds]
    notes = previous(args.out, clip, args)
    begun = time.perf_counter()
    if not args.no_references:
        try:
            notes["gates"] = run_gates(benches, strict=not args.small)
        except GateClosed as error:
            return fail(error)
        print("references", flush=True)
        notes["references"] = run_references(benches)
        stored.save(notes, FILE, args.out)
    for name, module in modules.items():
        print(name, flush=True)
        started = time.perf_counter()
        chosen = notes["methods"].get(name, {}).get("chosen", {})
        if args.tune:
            chosen = choose(module, Bench(clip, make(TUNING_SEED).pseudo()))
        found = run_method(module, benches, chosen, check_seeds=args.check_seeds)
        found["chosen"] = chosen
        found["seconds"] = round(time.perf_counter() - started)
        notes["methods"][name] = found
        print(f"  {found['seconds']} s", flush=True)
        stored.save(notes, FILE, args.out)  # each method as it is done
    text = markdown(notes)
    print(text)
    if args.markdown:
        args.markdown.write_text(text, encoding="utf-8")
    print(f"{time.perf_counter() - begun:.0f} s in all")
    return 0


def run_references(benches: Sequence[Bench], say=print) -> list[dict]:
    """Every reference over the seeds, in the form of rows."""
    rows = []
    for reference in REFERENCES:
        runs = []
        for bench in benches:
            begun = time.perf_counter()
            result = reference.result(bench)
            scores = {k: round(v, 4) for k, v in result.scores().items()}
            seconds = round(time.perf_counter() - begun, 1)
            runs.append({"seed": bench.protocol.seed, **scores, "seconds": seconds})
        mean = {k: sum(r[k] for r in runs) / len(runs) for k in "SUh"}
        say(
            f"  {reference.name}: "
            + " ".join(f"{k} {100 * v:.1f}" for k, v in mean.items())
        )
        rows.append({"method": reference.name, "needs": reference.needs, "runs": runs})
    return rows


def run_gates(benches: Sequence[Bench], strict: bool, say=print) -> list:
    """Figures of each seed; GateClosed if their means are too low.

    Unless ``strict``: a tenth of the scenes need not hold every class.
    """
    say("gates")
    all_figures = []
    for bench in benches:
        figures = measure(bench)
        all_figures.append({"seed": bench.protocol.seed, **figures})
        check_types(bench)
    for name in all_figures[0]:
        if name != "seed":
            say(f"  {name}: {spread(all_figures, name)}")
    if strict:
        check_gates(
            {
                name: statistics.mean(figures[name] for figures in all_figures)
                for name in all_figures[0]
            }
        )
    return all_figures


def previous(out: Path | None, clip, args) -> dict:
    """What is stored already, to be added to.

    Results of another model or another size are dropped, knobs are kept.
    """
    heading = {
        **stored.heading(),
        "model": {"name": clip.name, "fingerprint": stored.fingerprint(clip)},
        "seeds": list(args.seeds),
        "small": args.small,
    }
    empty = {**heading, "gates": [], "references": [], "methods": {}}
    try:
        notes = stored.load(FILE) if out is None else json.loads(out.read_text("utf-8"))
    except FileNotFoundError:
        return empty
    if all(notes.get(k) == heading[k] for k in ("model", "seeds", "small")):
        return {**notes, **heading}
    for name, method in notes["methods"].items():
        kept = {"rows": [], "checks": [], "chosen": method.get("chosen", {})}
        empty["methods"][name] = kept
    return empty
