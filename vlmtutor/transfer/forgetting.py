"""What notebook 08 shows of the stored experiment on forgetting.

That a learned context loses names that it was not tuned with was found by Zhou
et al. 2022, "Conditional Prompt Learning for Vision-Language Models", arXiv
2203.05557.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from .. import stored
from ..table import table
from ..verdict import report as verdict_report

NAME = "forgetting"
START = 25  # where a logarithmic axis of steps shows none
MISSING = "not run yet: python -m vlmtutor experiment {}"

# kind of shift, label of a task → method → number of steps → seed → points
Points = dict[tuple[str, str], dict[str, dict[int, dict[int, float]]]]


def points(score: str = "novel", name: str = NAME) -> Points:
    """Points of ``score`` above the zero-shot ensemble of the same seed.

    0 steps are a method's start.  Kinds of shift stand together.  Raises
    FileNotFoundError where nothing is stored.
    """
    runs = stored.runs(name)
    zero = {
        (row["task"], row["seed"]): row[score]
        for row in runs
        if row["part"] == "zero-shot"
    }
    found: Points = {}
    for row in runs:
        key = row["task"], row["seed"]
        if row["part"] == "zero-shot" or key not in zero:
            continue
        task = row["kind"], row.get("label", row["task"])
        own = found.setdefault(task, {}).setdefault(row["part"], {})
        values = {row["steps"]: row[score]}
        if "step0" in row:
            values[0] = row["step0"][score]
        for steps, value in values.items():
            own.setdefault(steps, {})[row["seed"]] = 100 * (value - zero[key])
    return {task: found[task] for task in sorted(found, key=lambda task: task[0])}


def text(score: str = "novel", name: str = NAME) -> str:
    """A line a task and method: mean points above zero-shot, by steps.

    Says how to run the experiment where nothing is stored.
    """
    try:
        found = points(score, name)
    except FileNotFoundError:
        return MISSING.format(name)
    arms = [own for methods in found.values() for own in methods.values()]
    columns = sorted({steps for own in arms for steps in own})
    lines = []
    for (kind, task), methods in found.items():
        for method, own in methods.items():
            cells = [
                f"{statistics.mean(own[k].values()):+.1f}" if k in own else None
                for k in columns
            ]
            seeds = min(map(len, own.values()))
            lines.append([f"{kind}: {task}", method, *cells, str(seeds)])
    return table(
        lines, ["", "method", *(f"{steps:,} steps" for steps in columns), "seeds"]
    )


def checks(name: str = NAME) -> list[dict]:
    """The stored verdicts, task by task; FileNotFoundError without any."""
    return [check for row in stored.load(name)["rows"] for check in row["checks"]]


def verdicts(name: str = NAME) -> str:
    """The same, a line each."""
    try:
        return verdict_report(checks(name))
    except FileNotFoundError:
        return MISSING.format(name)


def plot(axes, methods: Sequence[str], score: str = "novel", name: str = NAME) -> None:
    """An axes a task: mean points above zero-shot over steps, and each seed's.

    ``axes`` are as many as there are tasks (four).
    """
    for ax, ((kind, task), own) in zip(axes, points(score, name).items(), strict=True):
        for method in filter(own.__contains__, methods):
            steps = sorted(own[method])
            means = [statistics.mean(own[method][k].values()) for k in steps]
            at = [k or START for k in steps]
            (line,) = ax.plot(at, means, label=method)
            for x, k in zip(at, steps, strict=True):
                values = list(own[method][k].values())
                ax.plot([x] * len(values), values, "_", color=line.get_color(), ms=5)
        ax.axhline(0, color="black", ls=":", marker="")
        every = sorted({k for steps in own.values() for k in steps})
        ax.set_xscale("log")
        ax.minorticks_off()
        ax.set_xticks([k or START for k in every], [f"{k:,}" for k in every])
        ax.set_title(f"{kind}:\n{task}", fontsize=10)
        ax.set_xlabel("steps")
