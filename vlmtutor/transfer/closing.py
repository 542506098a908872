"""One table of all transfer methods: what each costs, brings and keeps.

``python -m vlmtutor.transfer.closing`` reads the stored studies of notebooks
08, 09 and 10, measures what those of 08 did not (``kept``), and writes the
table into ``notebooks/results/10_adapters.json`` under "closing".

Figures are means over seeds on the task that all three studies share.  The
studies use different numbers of test pictures, so gains are counted from
zero-shot on the same pictures, in percentage points.
"""

from __future__ import annotations

import html
import statistics
import sys

from .. import stored
from .few_shot import accuracy
from .plans import PLANS, Method
from .study import SEEDS, learn
from .study_tables import ordinary
from .tasks import make_task

TITLE = "mixed, sketch"
MANY = 16
PROMPTS = ("CoOp", "KgCoOp", "ProGrad", "CoCoOp")
STUDIES = ("08_prompt_tuning", "09_visual_and_unified_prompts", "10_adapters")
COLUMNS = {
    "parameters": "trainable",
    "seconds": "seconds",
    "one": "1 shot",
    "many": "16 shots",
    "novel": "novel",
    "kept": "kept",
}


def mean_of(rows: list[dict], what: str, shots: int) -> float | None:
    """Mean over seeds of a figure; None where no row has it.

    Rows of methods that learn nothing, with shots 0, count for any shots.
    """
    found = [row[what] for row in rows if row["shots"] in (shots, 0) and what in row]
    return statistics.mean(found) if found else None


def table_row(name: str, rows, parameters: int, reference: dict) -> dict:
    """One line of the table: costs, and points above ``reference``."""

    def gain(what, shots):
        value = mean_of(rows, what, shots)
        if value is None:
            return None
        return round(100 * (value - reference[what]), 1)

    return {
        "method": name,
        "parameters": parameters,
        "seconds": round(mean_of(rows, "seconds", MANY), 2),
        "one": gain("base", 1),
        "many": gain("base", MANY),
        "novel": gain("novel", MANY),
        "kept": gain("kept", MANY),
    }


def zero_shot_row(rows: list[dict]) -> dict:
    """The baseline itself, in per cent."""
    figures = {k: round(100 * rows[0][k], 1) for k in ("base", "novel")}
    return {
        "method": "zero-shot",
        "parameters": 0,
        "seconds": 0.0,
        "one": figures["base"],
        "many": figures["base"],
        "novel": figures["novel"],
        "kept": round(100 * rows[0]["kept"], 1),
    }


def study_rows(notes: dict, names, kept: dict | None = None) -> list[dict]:
    """Lines of one study.

    ``kept`` gives what its rows lack: {method: rows with "kept"}, with those
    of "zero-shot" among them.
    """
    tables = dict(notes["tables"][TITLE])
    for name, rows in (kept or {}).items():
        tables[name] = tables[name] + rows
    reference = {}
    for row in tables["zero-shot"]:
        reference |= row
    return [
        table_row(name, tables[name], notes["parameters"][name], reference)
        for name in names
    ]


def wise_row(notes: dict) -> dict:
    """WiSE-FT's line, half-way between its ends."""
    ends = [row for row in notes["WiSE-FT"] if row["alpha"] == 0]
    half = [row for row in notes["WiSE-FT"] if row["alpha"] == 0.5]
    return table_row("WiSE-FT", half, half[0]["parameters"], ends[0])


def prompt_settings(notes: dict) -> dict:
    """What CoOp and its kin were fit with: fixed, or chosen."""
    methods = PLANS[STUDIES[0]].methods
    return {
        name: {**notes["settings"][name], **methods[name].fixed} for name in PROMPTS
    }


def kept_by_prompts(clip, notes: dict, seeds=SEEDS, n: int = 6) -> dict:
    """What CoOp and its kin keep on stickers: fits with their settings."""
    task, settings = notes["tasks"][TITLE], prompt_settings(notes)
    world = make_task(
        clip, task["name"], task["domain"], strength=task["strength"]
    ).encode(seeds, splits=("train",))
    clean = ordinary(clip, task["name"], n)
    methods = {"zero-shot": (0,), **dict.fromkeys(PROMPTS, seeds)}
    found = {}
    for name, own in methods.items():
        found[name] = []
        for seed in own:
            train = world.shots(MANY, seed, "base")
            predictor, _ = learn(Method(name), train, seed, **settings.get(name, {}))
            kept = round(accuracy(predictor, clean), 4)
            shots = 0 if name == "zero-shot" else MANY
            found[name].append({"shots": shots, "kept": kept})
    return found


def as_html(rows: list[dict], by: str = "many", marked: str = "") -> str:
    """The table, sorted by a column (the baseline first)."""
    head = "".join(f"<th>{name}</th>" for name in COLUMNS.values())
    lines = [f"<tr><th>method</th>{head}</tr>"]
    for row in ordered(rows, by):
        cells = "".join(f"<td>{shown(row, key)}</td>" for key in COLUMNS)
        name = html.escape(row["method"])
        name = f"<b>→ {name}</b>" if row["method"] == marked else name
        lines.append(f"<tr><td>{name}</td>{cells}</tr>")
    return f"<table>{''.join(lines)}</table>"


def as_text(rows: list[dict], by: str = "many") -> str:
    """The same in letters that stand below each other."""
    lines = [f"{'method':26}" + "".join(f"{n:>10}" for n in COLUMNS.values())]
    for row in ordered(rows, by):
        cells = "".join(f"{shown(row, key):>10}" for key in COLUMNS)
        lines.append(f"{row['method']:26}{cells}")
    return "\n".join(lines)


def race(studies: dict[str, dict], shots: int) -> list[tuple[str, float]]:
    """Points above zero-shot after ``shots`` pictures a class, best first.

    Of each method the study that comes last counts; those that were not run
    with so many pictures are left out.
    """
    gains = {}
    for notes in studies.values():
        table = notes["tables"][TITLE]
        start = table["zero-shot"][0]["base"]
        for name, rows in table.items():
            own = [row for row in rows if row["shots"] == shots]
            if own:
                gains[name] = 100 * (mean_of(own, "base", shots) - start)
    return sorted(gains.items(), key=lambda item: -item[1])


def race_html(gains: list[tuple[str, float]]) -> str:
    """Bars of text, so that a reader without colours sees them too."""
    lines = [
        f"{name:26}{gain:+6.1f} {'█' * max(0, round(gain))}" for name, gain in gains
    ]
    return f"<pre>{html.escape(chr(10).join(lines))}</pre>"


def ordered(rows: list[dict], by: str) -> list[dict]:
    """Zero-shot, then the best first; costs with the smallest first."""
    sign = 1 if by in ("parameters", "seconds") else -1

    def key(row):
        missing = row[by] is None
        return missing, 0 if missing else sign * row[by], row["method"]

    baseline = [row for row in rows if row["method"] == "zero-shot"]
    others = [row for row in rows if row["method"] != "zero-shot"]
    return baseline + sorted(others, key=key)


def shown(row: dict, column: str) -> str:
    value = row[column]
    if value is None:
        return "–"
    if column == "parameters":
        return f"{value:,}"
    if column == "seconds":
        return f"{value:.1f}"
    return f"{value:.0f}" if row["method"] == "zero-shot" else f"{value:+.0f}"


def closing_rows(prompts, visual, adapters, kept: dict) -> list[dict]:
    """The whole table, from three studies and what CoOp and its kin keep."""
    tables = adapters["tables"][TITLE]
    own = [n for n in tables if n != "zero-shot"]
    seen = [
        n
        for n in visual["tables"][TITLE]
        if n not in ("zero-shot", "hand prompt", "CoOp")
    ]
    return [
        zero_shot_row(tables["zero-shot"]),
        *study_rows(prompts, PROMPTS, kept),
        *study_rows(visual, seen),
        *study_rows(adapters, own),
        wise_row(adapters),
    ]


def main() -> int:
    import torch

    from ..models.hub import load_clip

    torch.set_num_threads(1)
    prompts, visual, notes = map(stored.load, STUDIES)
    settings = prompt_settings(prompts)  # measured anew when these change
    known = notes.get("prompts kept", {})
    if known.get("settings") != settings:
        kept = kept_by_prompts(load_clip(), prompts)
        notes["prompts kept"] = known = {"settings": settings, "rows": kept}
    notes["closing"] = closing_rows(prompts, visual, notes, known["rows"])
    stored.save(notes, STUDIES[-1])
    print(as_text(notes["closing"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
