"""The comparison in pictures: matplotlib figures, and cards that need no kernel."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from itertools import product

from ...figures import HATCHES, PALETTE
from ...forest import LOOKS, OTHER
from ...verdict import SEEDS
from .. import METHODS, TABLES, get_method
from .costs import front
from .ingredients import INGREDIENTS, has, source
from .order import Agreement, Values, ranks

HUES = [hue for name, hue in PALETTE.items() if name != "yellow"]
SHAPES = ("o", "s", "D", "h", "p", "8")


def cost_quality(points: Sequence[dict], what: str, title: str = ""):
    """Novel score over milliseconds a picture, and over seconds of training.

    ``points`` as :func:`.costs.points` gives them.  A number beside a mark is a
    method, named beside the panels, with a star where it has fewer seeds than a
    verdict asks for; shape and colour are its table; those of the Pareto front
    are filled and joined.  Raises ValueError without a point.
    """
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    if not points:
        raise ValueError("no point to draw")
    points = sorted(points, key=lambda p: -p["value"])
    tables = list(dict.fromkeys(p["table"] for p in points))
    figure, axes = plt.subplots(
        1, 2, figsize=(10, 0.24 * len(points) + 2.6), sharey=True, layout="constrained"
    )
    y = [100 * p["value"] for p in points]
    panels = {
        "milliseconds a test picture": [max(p["ms"], 0.1) for p in points],
        "seconds of training, after CLIP's own": [
            max(p["seconds"], 0.5) for p in points
        ],
    }
    for ax, (name, x) in zip(axes, panels.items(), strict=True):
        best = front(x, y)
        ax.plot(
            [x[k] for k in best], [y[k] for k in best], ":", color="grey", marker=""
        )
        for k, point in enumerate(points):
            n = tables.index(point["table"])
            face = HUES[n] if k in best else "white"
            look = {"color": HUES[n], "markerfacecolor": face, "markersize": 9}
            ax.plot(x[k], y[k], SHAPES[n], linestyle="", **look)
        ax.set(xscale="log", xlabel=name, ylim=(0, 1.1 * max(y) + 1))
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes[0].set(ylabel=what, title=title)
    for n, kind in enumerate(tables):
        axes[1].plot([], [], SHAPES[n], color=HUES[n], linestyle="", label=kind)
    few = ["*" * (p["seeds"] < SEEDS) for p in points]
    names = "\n".join(
        f"{k}  {p['name']}{star}"
        for k, (p, star) in enumerate(zip(points, few, strict=True), start=1)
    )
    if any(few):
        names += f"\n*  fewer than {SEEDS} seeds"
    axes[1].annotate(names, (1.03, 1), xycoords="axes fraction", va="top", fontsize=9)
    axes[1].legend(loc="lower left", bbox_to_anchor=(1.0, 0), fontsize=9)
    figure.draw_without_rendering()  # lays the panels out: now distances are known
    for ax, x in zip(axes, panels.values(), strict=True):
        places = list(zip(x, y, strict=True))
        offsets = label_offsets(ax.transData.transform(places) * 72 / figure.dpi)
        for k, (place, offset) in enumerate(zip(places, offsets, strict=True), 1):
            ax.annotate(
                str(k),
                place,
                offset,
                textcoords="offset points",
                ha="center",
                va="center",
                fontsize=8,
                arrowprops={"arrowstyle": "-", "color": "grey", "linewidth": 0.5},
            )
    return figure


def label_offsets(places, apart: float = 11) -> list[tuple[float, float]]:
    """Where each mark's label goes, from the mark, so that none covers another.

    ``places`` [n, 2] and the answers are in points.  The nearest free spot around
    the mark, ``apart`` from all marks and labels; where none is free, the last tried.
    """
    taken, offsets = [tuple(p) for p in places], []
    for x, y in places:
        for r, turn in product((1, 1.6, 2.2, 3, 4), (2, 6, 1, 3, 7, 5, 0, 4)):
            dx, dy = (r * apart * f(turn * math.pi / 4) for f in (math.cos, math.sin))
            spot = (x + dx, y + dy)
            if all(math.dist(spot, other) >= 0.99 * apart for other in taken):
                break
        taken.append(spot)
        offsets.append((dx, dy))
    return offsets


def front_of(points: Sequence[dict], key: str) -> list[str]:
    """The names of the Pareto front over "ms" or "seconds", the cheapest first."""
    best = front([p[key] for p in points], [p["value"] for p in points])
    return [points[k]["name"] for k in best]


def places(a: Values, b: Values, left: str, right: str, found: Agreement):
    """Two orders beside one another, a line a method; turned pairs cross.

    Raises ValueError where the agreement is of no method.
    """
    import matplotlib.pyplot as plt

    names = found.methods
    if not names:
        raise ValueError("no method to draw")
    own = [ranks({n: side[n] for n in names}) for side in (a, b)]
    figure, ax = plt.subplots(figsize=(5.5, 0.28 * len(names) + 1.2))
    crossing = {name for pair in found.flips for name in pair}
    for name in names:
        y = [-own[0][name], -own[1][name]]
        bold = name in crossing
        hue = PALETTE["orange"] if bold else PALETTE["blue"]
        ax.plot([0, 1], y, "-" if bold else ":", color=hue, marker="o", markersize=4)
        ax.annotate(f"{name}  ", (0, y[0]), ha="right", va="center", fontsize=9)
        ax.annotate(f"  {name}", (1, y[1]), ha="left", va="center", fontsize=9)
    ax.set(xlim=(-0.7, 1.7), xticks=[0, 1], xticklabels=[left, right], yticks=[])
    ax.set_title(f"tau {found}", fontsize=10)
    ax.grid(False)
    return figure


def room_bars(rooms: Mapping[str, Mapping[str, float]], what: str):
    """Three bars a method: what each truth would bring, in points.

    ``rooms`` as :func:`.ingredients.rooms` gives them.  Raises ValueError
    without a method.
    """
    import matplotlib.pyplot as plt

    if not rooms:
        raise ValueError("no method to draw")
    told = list(dict.fromkeys(way for own in rooms.values() for way in own))
    figure, ax = plt.subplots(figsize=(7, 0.55 * len(rooms) + 1.2))
    for n, way in enumerate(told):
        spots = [k + 0.27 * (n - (len(told) - 1) / 2) for k in range(len(rooms))]
        widths = [own.get(way, 0) for own in rooms.values()]
        look = {"color": HUES[n], "hatch": HATCHES[n], "edgecolor": "white"}
        bars = ax.barh(spots, widths, 0.25, label=way, **look)
        ax.bar_label(bars, fmt="%+.0f", padding=2, fontsize=8)
    ax.axvline(0, color="black", marker="", linestyle="-", linewidth=1)
    ax.set(yticks=range(len(rooms)), yticklabels=list(rooms), xlabel=what)
    ax.margins(x=0.12)
    ax.grid(False, axis="y")
    ax.invert_yaxis()
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def grid(methods: Sequence[str]):
    """Which method has which ingredient: a filled mark, or an empty one."""
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(6, 0.22 * len(methods) + 1.4))
    for y, method in enumerate(methods):
        for x, ingredient in enumerate(INGREDIENTS):
            face = PALETTE["blue"] if has(method, ingredient) else "white"
            look = {"markersize": 7, "color": PALETTE["blue"], "markerfacecolor": face}
            ax.plot(x, y, "s", **look)
    ax.set(yticks=range(len(methods)), yticklabels=methods)
    ax.set(xticks=range(len(INGREDIENTS)))
    ax.set_xticklabels(INGREDIENTS, rotation=45, ha="left", fontsize=9)
    ax.tick_params(axis="y", labelsize=9)
    ax.xaxis.tick_top()
    ax.grid(False)
    ax.invert_yaxis()
    return figure


def effects(
    naives: Mapping[str, dict | None], pairs: Mapping[str, Sequence[dict]], what: str
):
    """Naive differences (a bar with its interval) above paired effects (marks).

    In points; a mark is empty where its switch changes other ingredients, too;
    ingredients without either are left out.  Raises ValueError where none is left.
    """
    import matplotlib.pyplot as plt

    rows = [name for name in naives if naives[name] or pairs.get(name)]
    if not rows:
        raise ValueError("no effect to draw")
    figure, ax = plt.subplots(figsize=(7, 0.7 * len(rows) + 1.2))
    ax.axvline(0, color="grey", marker="", linestyle="-", linewidth=1)
    for y, name in enumerate(rows):
        if own := naives[name]:
            ends = [100 * own["low"], 100 * own["high"]]
            line = {"color": "grey", "marker": "|", "linestyle": "-", "linewidth": 5}
            ax.plot(ends, [y - 0.2] * 2, alpha=0.5, **line)
            ax.plot(100 * own["value"], y - 0.2, "|", color="black", markersize=12)
        for effect in pairs.get(name, ()):
            marker, hue = LOOKS.get(effect["verdict"], OTHER)
            look = {"color": hue, "markersize": 8}
            look["fillstyle"] = "none" if effect["also"] else "full"
            ax.plot(100 * effect["value"], y + 0.15, marker, **look)
    ax.set(yticks=range(len(rows)), yticklabels=rows, xlabel=what)
    ax.set(ylim=(len(rows) - 0.5, -0.5))  # from above, with a single row, too
    ax.grid(False, axis="y")
    for verdict, (marker, hue) in LOOKS.items():
        ax.plot([], [], marker, color=hue, linestyle="", label=verdict)
    ax.plot([], [], OTHER[0], color=OTHER[1], linestyle="", label="no verdict")
    look = {"color": "grey", "linestyle": ""}
    ax.plot([], [], "o", fillstyle="none", label="several at once", **look)
    ax.plot([], [], "|", label="with minus without", **look)
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=9)
    return figure


def main_info(method: str):
    """What a method says of its main row."""
    rows = get_method(method).ROWS
    return next((info for info in rows if info.name == method), rows[0])


def cards(points: Sequence[dict], what: str) -> str:
    """HTML: a line a method, the best first, that opens at a click or with Enter.

    No kernel is needed; the paper also shows where the pointer rests.
    """
    order = sorted(points, key=lambda point: -point["value"])
    return "".join(_card(point, what) for point in order)


def _card(point: dict, what: str) -> str:
    name = point["name"]
    info = main_info(name)
    head = (
        f"<b>{html.escape(name)}</b> · {html.escape(what)} {100 * point['value']:.1f}"
        f" · {point['ms']:.1f} ms · {point['seconds']:.0f} s"
        f" · {point['seeds']} seed{'s' * (point['seeds'] != 1)}"
    )
    own = [ingredient for ingredient in INGREDIENTS if has(name, ingredient)]
    facts = {
        "paper": f"{info.paper}, {info.year}, arXiv {info.arxiv}",
        "table": TABLES.get(info.table, info.table),
        "frozen": info.frozen,
        "trained": info.tuned,
        "simplified here": info.simplified,
        "ingredients": ", ".join(own),
        "module": f"vlmtutor/{source(name)}",
    }
    lines = "".join(
        f"<li>{html.escape(key)}: {html.escape(value)}</li>"
        for key, value in facts.items()
    )
    hint = html.escape(f"{info.paper} ({info.year})", quote=True)
    summary = f'<summary title="{hint}">{head}</summary>'
    return f"<details>{summary}<ul>{lines}</ul></details>"


def of_task(task: str) -> list[str]:
    """The methods of a task, in the order in which the course meets them."""
    return [name for name, home in METHODS.items() if home.startswith(f"{task}.")]
