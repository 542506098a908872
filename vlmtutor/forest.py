"""Checks as a forest plot: each difference, its interval and its seeds."""

from __future__ import annotations

from collections.abc import Sequence

from .figures import PALETTE
from .verdict import BUDGET_LIMITED, INCONCLUSIVE, NOT_REPRODUCED, REPRODUCED

# marker and colour of a verdict; its words stand beside it as well
LOOKS = {
    REPRODUCED: ("o", PALETTE["green"]),
    NOT_REPRODUCED: ("X", PALETTE["red"]),
    INCONCLUSIVE: ("D", PALETTE["orange"]),
    BUDGET_LIMITED: ("s", PALETTE["purple"]),
}
OTHER = ("s", PALETTE["black"])  # too few seeds for a verdict


def forest(checks: Sequence[dict], title: str = ""):
    """A matplotlib figure of stored checks, a row each, in points.

    Of each its "name", "value", "low", "high", "by_seed" and "verdict", as
    :func:`vlmtutor.verdict.judge` gives them: a line for the 90 % interval,
    small dots for the seeds, one mark for their mean.  The broken line is the
    bar: 0, or what "at_least" allows to lose.  Raises ValueError without a
    check.
    """
    import matplotlib.pyplot as plt

    if not checks:
        raise ValueError("no check to draw")
    figure, ax = plt.subplots(figsize=(7, 0.9 + 0.62 * len(checks)))
    ax.axvline(0, color="grey", marker="", linestyle="-", linewidth=1)
    for row, check in enumerate(checks):
        y = len(checks) - 1 - row
        marker, color = LOOKS.get(check["verdict"], OTHER)
        plain = {"color": color, "linestyle": "-", "marker": ""}
        if None not in (check["low"], check["high"]):
            ax.plot([100 * check["low"], 100 * check["high"]], [y, y], **plain)
        points = [100 * value for value in check["by_seed"]]
        ax.plot(points, [y] * len(points), ".", color="black", markersize=3, zorder=3)
        ax.plot(100 * check["value"], y, marker, color=color, markersize=9)
        if check.get("at_least"):
            bar = -100 * check.get("effect", 0)
            ax.plot([bar, bar], [y - 0.3, y + 0.3], "--", color="grey", marker="")
        words = f"{check['name']} ({check.get('score') or 'value'}): {check['verdict']}"
        ax.annotate(
            words, (0, y + 0.22), xycoords=("axes fraction", "data"), fontsize=9
        )
    ax.set(ylim=(-0.5, len(checks) - 0.2), yticks=[], title=title)
    ax.set_xlabel("difference in points; mean, 90 % interval, a dot a seed")
    ax.grid(False, axis="y")
    return figure


def in_words(checks: Sequence[dict]) -> str:
    """The same as sentences, for the figure's description."""
    said = []
    for check in checks:
        ends = check["low"], check["high"]
        interval = "" if None in ends else " [{:+.1f}, {:+.1f}]"
        interval = interval.format(*(100 * (end or 0) for end in ends))
        value = f"{100 * check['value']:+.1f}{interval} points"
        said.append(f"{check['name']}: {value}, {check['verdict']}")
    return "; ".join(said) + "."
