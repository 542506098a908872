"""Results stored before there was one rule, in the form of today's rows.

Each row says "old rule, 3 seeds", or "one run"; what was not noted is None.
This module shrinks as experiments are run again, and goes with the last.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from .. import stored
from ..transfer import claims, report
from ..verdict import ONE_RUN
from .rows import SCHEMA

OLD_RULE = "old rule, {} seeds"

# Lists of flat rows: what names a row, in each list of a file.
NAMED_BY = {
    "01_why_vlms": {"rows": ("method", "labels")},
    "02_frameworks": {"rows": ("framework", "steps")},
    "03_contrastive": {"rows": ("objective",)},
    "05_alignment": {"matching": ("name",), "regions": ("name", "encoder")},
    "06_pretraining": {
        "data": ("scenes",),
        "batch": ("batch", "steps"),
        "noise": ("noise", "kept"),
        "objectives": ("second",),
    },
    "11_distil_a_student": {
        "arms": ("arm",),
        "tries": ("tried", "layers", "optimizer", "lr", "batch", "steps"),
        "shapes": ("layers", "neurons", "lr"),
        "schools": ("scenes", "steps", "lr"),
        "table": ("name",),
    },
}
BESIDE_TABLES = {
    "distances": ("strength",),
    "WiSE-FT": ("shots", "alpha"),
    "DualCoOp": ("known",),
    "TaI-DPT": (),
    "DenseCLIP": (),
}
NO_SCORES = ("seed", "lr", "seconds", "parameters", "curve")
CHECKS = {
    "08_prompt_tuning": claims.PROMPTS,
    "09_visual_and_unified_prompts": claims.VISUAL,
    "10_adapters": claims.ADAPTERS,
}


def old_rows(stem: str) -> list[dict]:
    """The rows of ``notebooks/results/STEM.json``."""
    notes = stored.load(stem)
    if "methods" in notes:
        found = _dense(notes)
    elif "tables" in notes:
        found = _transfer(notes, CHECKS[stem])
    else:
        found = _lists(notes, NAMED_BY[stem])
    model = notes.get("model", notes.get("teacher"))
    backbone = model["name"] if isinstance(model, dict) else model
    return [{**row, "backbone": backbone} for row in found]


def _row(method: str, name: str, runs: Sequence[dict], scores, **more) -> dict:
    """A row of runs, one a seed; ``scores`` names those of their figures."""
    seeds = [run.get("seed", 0) for run in runs]
    by_seed = {s: [_number(r[s]) for r in runs] for s in scores if s in runs[0]}
    one = len(seeds) == 1
    return {
        **dict.fromkeys(SCHEMA),
        "method": method,
        "row": name,
        "scores": {s: round(statistics.mean(v), 4) for s, v in by_seed.items()},
        "by_seed": by_seed,
        "seeds": seeds,
        "checks": [],
        "rule": ONE_RUN if one else OLD_RULE.format(len(seeds)),
        **more,
    }


def _number(value) -> float:
    """A figure; of [mean, least, most] the mean."""
    return value[0] if isinstance(value, list) else value


def _mean(runs: Sequence[dict], key: str) -> float | None:
    values = [run[key] for run in runs if key in run]
    return round(statistics.mean(values), 4) if values else None


def _lists(notes: dict, named_by: dict) -> Iterator[dict]:
    for part, names in named_by.items():
        groups: dict[str, list[dict]] = {}
        for run in notes.get(part, ()):
            groups.setdefault(", ".join(str(run[n]) for n in names), []).append(run)
        for name, runs in groups.items():
            scores = [
                key
                for key, value in runs[0].items()
                if key not in (*names, *NO_SCORES) and isinstance(value, (float, list))
            ]
            yield _row(part, name or part, runs, scores, fit_s=_mean(runs, "seconds"))


def _dense(notes: dict) -> Iterator[dict]:
    apart = ("seed", "trained", "fit_s", "ms_per_picture")
    methods = {
        name: (method["rows"], method["checks"], method["chosen"])
        for name, method in notes["methods"].items()
    }
    for row in notes["references"]:
        methods[row["method"]] = [row], [], {}
    for method, (rows, checks, chosen) in methods.items():
        for k, row in enumerate(rows):
            runs = row["runs"]
            told = [
                {**check, "name": check["claim"], "value": check["difference"]}
                for check in (checks if k == 0 else ())
            ]
            yield _row(
                method,
                row["method"],
                runs,
                [key for key in runs[0] if key not in apart],
                table=row.get("table", "reference"),
                supervision=row["needs"],
                chosen=chosen.get(row["method"]),
                fit_s=_mean(runs, "fit_s"),
                ms=_mean(runs, "ms_per_picture"),
                trained=runs[0].get("trained"),
                checks=told,
            )


def _transfer(notes: dict, checks: Sequence) -> Iterator[dict]:
    scores = ("base", "novel", "kept", "base ECE", "novel ECE")
    told = {}
    for check in checks:
        verdict, by_seed = report.judge(notes, check)
        found = {"name": check.sentence, "score": check.score, "verdict": verdict}
        found |= {"value": statistics.mean(by_seed), "by_seed": by_seed}
        told.setdefault(check.better[0], []).append(
            {**found, "low": None, "high": None}
        )
    for title, table in notes["tables"].items():
        for method, every in table.items():
            for shots in dict.fromkeys(run["shots"] for run in every):
                runs = [run for run in every if run["shots"] == shots]
                yield _row(
                    method,
                    f"{title}, {shots} shot{'s' * (shots != 1)}",
                    runs,
                    scores,
                    supervision=f"{shots} pictures a class" if shots else "names",
                    chosen=notes["settings"][method],
                    grid=notes["search"].get(method),
                    trained=notes["parameters"][method],
                    fit_s=_mean(runs, "seconds"),
                    ms=_mean(runs, "ms a picture"),
                    checks=told.pop(method, []),
                )
    yield from _lists({**notes, **notes.get("scenes", {})}, BESIDE_TABLES)
