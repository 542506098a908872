"""What notebooks 08 to 10 show of a stored study: curves, halves, verdicts."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import torch
from torch import Tensor

from .. import stored
from ..metrics import harmonic_mean
from ..table import table
from ..verdict import Check, old_rule
from ..verdict import report as verdict_report

BACKBONE = "phraseclip"


def study(name: str) -> dict:
    """A stored experiment on transfer, by what notebooks ask of it.

    "tables"[task][method] is a list of runs {shots, seed, base, novel, …,
    seconds}; methods that learn nothing have 0 shots.  "tasks"[task] tells
    strength and shots, "settings" and "parameters" go by method.  Of parts
    beside the tables there is a list of runs, by the part's name, and what
    "classes" and "sizes" their scenes have.  "backbone" is the bench's where
    its parts are all there, else the model of an earlier program; "origin"
    says of what, when and by which rule.
    """
    rows, choices = stored.runs(name), stored.load(name)["choices"]
    parts: dict[str, set] = {}
    for row in rows:
        parts.setdefault(row["backbone"], set()).add(row["part"])
    backbone = max(parts, key=lambda own: (len(parts[own]), own == BACKBONE))
    rows = [row for row in rows if row["backbone"] == backbone]
    seeds = sorted({row["seed"] for row in rows})
    old = any("carried over" in row for row in rows)
    found: dict = {
        "date": rows[0]["date"],
        "backbone": backbone,
        "origin": f"{backbone}, {rows[0]['date']}, {len(seeds)} seed"
        + "s" * (len(seeds) > 1)
        + ", an earlier model and rule" * old,
        "seeds": seeds,
        "settings": {
            c["part"]: c["chosen"] for c in choices if c["backbone"] == backbone
        },
        "checks": [] if old else _judged(name, backbone),
        "tables": {},
        "tasks": {},
        "parameters": {},
    }
    for row in rows:
        part, run = row["part"], {**row, "seconds": row.get("fit_s")}
        found |= {key: row[key] for key in ("classes", "sizes") if key in row}
        if "task" not in row:
            found.setdefault(part, []).append(run)
            continue
        task, k = row["task"], row["shots"]
        known = {"strength": row["strength"], "shots": []}
        known = found["tasks"].setdefault(task, known)
        if k and k not in known["shots"]:
            known["shots"].append(k)
        found["tables"].setdefault(task, {}).setdefault(part, []).append(run)
        # some counts grow with the classes: those of the first task
        found["parameters"].setdefault(part, row["trained"])
    for methods in found["tables"].values():
        for runs in methods.values():
            runs.sort(key=lambda run: (run["shots"], run["seed"]))
    return found


def _judged(name: str, backbone: str) -> list[dict]:
    """The stored verdicts, task by task, of the parts of a backbone."""
    rows = [r for r in stored.load(name)["rows"] if r["backbone"] == backbone]
    return [check for row in rows for check in row["checks"]]


def settings(notes: dict, method: str, task: str) -> dict:
    """What was chosen for a method, on the task where each has its own."""
    chosen = notes["settings"].get(method, {})
    return chosen.get(task, chosen)


def tried(notes: dict, checks: Sequence[Check]) -> list[Check]:
    """The checks whose arms are stored."""
    known = set.intersection(*(set(table) for table in notes["tables"].values()))
    return [c for c in checks if {c.better[0], c.worse[0]} <= known]


def measure(row: dict, what: str) -> float:
    """A run's figure of the kinds that :mod:`.claims` knows."""
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
        for runs in tables:
            rows = [r for r in runs[method] if r["shots"] in (shots, 0)]
            own = rows if len(runs[method]) == 1 else []
            own = [r for r in rows if r["seed"] == seed] or own
            found += [measure(row, what) for row in own]
        if not found:
            raise ValueError(f"no runs of {method} with {shots} shots")
        by_seed.append(statistics.mean(found))
    return by_seed


def judge(notes: dict, check: Check) -> tuple[str, list[float]]:
    """The old rule's verdict, and the differences that it rests on."""
    sides = (
        figures(notes, method, check.score, shots)
        for method, shots in (check.better, check.worse)
    )
    differences = [a - b for a, b in zip(*sides, strict=True)]
    return old_rule(differences), differences


def by_shots(rows: list[dict], kind: str = "base") -> dict[int, list[float]]:
    """Figures of one method's runs: number of shots → one a seed."""
    found: dict[int, list[float]] = {}
    for row in rows:
        found.setdefault(row["shots"], []).append(row[kind])
    return found


def plot_curves(ax, table: dict, methods: Sequence[str]) -> None:
    """Base accuracy over shots: the mean, and a band from worst to best.

    A method that looks at no label is a dotted line.
    """
    ticks = set()
    for method in methods:
        runs = by_shots(table[method])
        if list(runs) == [0]:
            ax.axhline(
                sum(runs[0]) / len(runs[0]),
                color="black",
                ls=":",
                marker="",
                label=method,
            )
            continue
        shots = list(runs)
        ticks.update(shots)
        means = [sum(run) / len(run) for run in runs.values()]
        (line,) = ax.plot(shots, means, label=method)
        low, high = (list(map(f, runs.values())) for f in (min, max))
        ax.fill_between(shots, low, high, color=line.get_color(), alpha=0.2)
    ax.set_xscale("log", base=2)
    ax.set_xticks(sorted(ticks), sorted(ticks))
    ax.set_xlabel("labelled pictures a class")
    ax.legend(fontsize=9, loc="best")


def halves(notes: dict, methods: Sequence[str], shots: int = 16) -> dict[str, Tensor]:
    """Base, novel and H of each method [3, S], means over the tasks."""
    return {
        method: torch.tensor(
            [figures(notes, method, kind, shots) for kind in ("base", "novel", "H")]
        )
        for method in methods
    }


def halves_text(found: dict[str, Tensor]) -> str:
    """A table of :func:`halves` [3, S]: mean and deviation, in percent."""
    rows = [
        [method, *(f"{100 * run.mean():.1f} ± {100 * run.std():3.1f}" for run in runs)]
        for method, runs in found.items()
    ]
    widths = max(map(len, found)), 14
    return table(rows, ["", "base", "novel", "H"], widths=widths)


def plot_halves(ax, found: dict[str, Tensor]) -> None:
    """Base and novel accuracy [3, S] by method; dotted: those of the first."""
    looks = (("base", "o", "C0"), ("novel", "^", "C1"))
    for row, (label, marker, color) in enumerate(looks):
        means = [float(values[row].mean()) for values in found.values()]
        ax.plot(means, list(found), marker, ls="", color=color, label=label)
        ax.axvline(means[0], color=color, ls=":", marker="")
    ax.invert_yaxis()
    ax.legend(loc="best")


def verdicts_text(notes: dict, checks: Sequence[Check]) -> str:
    """A line a check: verdict, the seeds' differences in points, sentence.

    Of runs of the course's rule the stored verdicts, task by task.
    """
    if notes.get("checks"):
        return verdict_report(notes["checks"])
    lines = []
    for check in tried(notes, checks):
        verdict, differences = judge(notes, check)
        shown = " ".join(f"{100 * d:+5.1f}" for d in differences)
        lines.append(f"{verdict:15} {shown}  {check.sentence}")
    return "\n".join(lines)


def losses_text(notes: dict, task: str, shots: int = 16) -> str:
    """Ten points of each method's training loss on a task, means over seeds.

    A loss that still falls at the last has not settled, one that rises has
    diverged; of neither can the method be judged.
    """
    lines = []
    for method, runs in notes["tables"][task].items():
        own = [r["losses"] for r in runs if r["shots"] == shots and "losses" in r]
        if own:
            points = torch.tensor(own).mean(0).tolist()
            lines.append([method, *(f"{loss:.2f}" for loss in points)])
    if not lines:
        return "no losses are stored"
    return table(lines, ["loss", *(f"{10 * k} %" for k in range(1, 11))])


def scene_verdicts(notes: dict) -> str:
    """The stored verdicts on scenes; nothing of runs of an earlier rule."""
    return verdict_report(notes["checks"]) if notes["checks"] else "no verdict yet"
