"""What notebooks show of a stored study: curves, halves, verdicts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .plans import Claim
from .study import figures, judge


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
    """A table of :func:`halves`: mean and standard deviation, in percent."""
    wide = max(map(len, found))
    lines = [" " * wide + "".join(f"{k:>14}" for k in ("base", "novel", "H"))]
    for method, values in found.items():
        cells = [f"{100 * run.mean():8.1f} ± {100 * run.std():3.1f}" for run in values]
        lines.append(f"{method:{wide}}" + "".join(f"{c:>14}" for c in cells))
    return "\n".join(lines)


def plot_halves(ax, found: dict[str, Tensor]) -> None:
    """Base and novel accuracy by method; dotted: those of the first."""
    looks = (("base", "o", "C0"), ("novel", "^", "C1"))
    for row, (label, marker, color) in enumerate(looks):
        means = [float(values[row].mean()) for values in found.values()]
        ax.plot(means, list(found), marker, ls="", color=color, label=label)
        ax.axvline(means[0], color=color, ls=":", marker="")
    ax.invert_yaxis()
    ax.legend(loc="best")


def verdicts_text(notes: dict, claims: Sequence[Claim]) -> str:
    """A line a claim: verdict, the seeds' differences in points, sentence."""
    lines = []
    for claim in claims:
        verdict, differences = judge(notes, claim)
        shown = " ".join(f"{100 * d:+5.1f}" for d in differences)
        lines.append(f"{verdict:15} {shown}  {claim.sentence}")
    return "\n".join(lines)
