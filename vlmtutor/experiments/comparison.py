"""``python -m vlmtutor comparison``: one tidy file of all stored scores.

Nothing is run: ``notebooks/results/comparison.csv`` is made of what experiments
have stored, for notebook 18 and for whoever wants the figures.  The same
stored files give the same bytes.
"""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path

from .. import stored
from ..console import fail
from ..distill.bench.regions import WAYS
from ..distill.comparison.tidy import (
    BASE_ONLY,
    CLEAN,
    COLUMNS,
    DETECTION,
    EARLIER,
    FILE,
    NOISY,
    SCORES,
    SEGMENTATION,
    TODAY,
    Score,
    lines,
)
from ..table import table
from .experiment import CARRIED

SOURCES = {  # stored experiment → task
    "segmentation": SEGMENTATION,
    "detection": DETECTION,
    "08_prompt_tuning": "transfer",
    "09_visual_and_unified_prompts": "transfer",
    "10_adapters": "transfer",
    "10b_labels_and_pixels": "transfer",
    "forgetting": "transfer",
    "02_frameworks": "pre-training",
    "05_alignment": "pre-training",
    "06_pretraining": "pre-training",
    "scale": "pre-training",
    "warm_start": "pre-training",
    "11_distil_a_student": "small student",
    "19_what_comes_next": "what comes next",
}
COSTS = {
    "ms": "ms",
    "fit_s": "fit s",
    "shared_s": "shared s",
    "teacher_s": "teacher s",
    "trained": "trained",
    "steps": "steps",
}
ELSEWHERE = ", novel things elsewhere"  # ends rows of base-only box scenes
AMONG = ", novel things among the boxes"
KEPT = {  # of a segmenter's scores
    SEGMENTATION: ("S", "U", "h", "all", "foreground", "naming"),
}


def scores_of(folder: Path | None = None) -> list[Score]:
    """All scores that are stored, in the order of the files and of their runs.

    An experiment without a file is left out.
    """
    found = []
    for name, task in SOURCES.items():
        path = (folder or stored.FOLDER) / f"{name}.json"
        if path.exists():
            parts = stored.read(path)["parts"]
            found += [s for part in parts for s in of_part(part, name, task)]
    return found


def of_part(part: Mapping, name: str, task: str) -> Iterator[Score]:
    """The scores of a stored part."""
    program = EARLIER if CARRIED in part else TODAY
    dense = task in (SEGMENTATION, DETECTION)
    for row in part.get("rows", [part]):
        title = row.get("row", part["part"])
        where = row.get("task", CLEAN) if not dense else CLEAN
        for end, scenes in ((ELSEWHERE, BASE_ONLY), (AMONG, CLEAN)):
            if title.endswith(end):
                title, where = title.removesuffix(end), scenes
        of_table = row.get("table") or name
        head = part["part"], title, task, of_table, part["backbone"], program
        for score, value in figures(row, task):
            scenes = where
            if dense and score.startswith("noisy "):
                scenes, score = NOISY, score.removeprefix("noisy ")
            yield Score(*head, scenes, part["seed"], score, value)
        once = where if where == BASE_ONLY else ""  # a row may have a twin
        for key, score in COSTS.items():
            if row.get(key) is not None:
                yield Score(*head, once, part["seed"], score, row[key])
        if row.get("gate") is not None:
            yield Score(*head, once, part["seed"], "gate", float(row["gate"]))


def figures(row: Mapping, task: str) -> Iterator[tuple[str, float]]:
    """(score, value) of a row, those before training last."""
    rename = boxed if task == DETECTION else named
    kept = KEPT.get(task)
    for before in (False, True):
        own = flat(row.get("step0" if before else "scores") or {})
        for path, value in own.items():
            if value is None or (kept and len(path) == 1 and path[0] not in kept):
                continue
            yield rename(path) + ", before training" * before, value


def flat(nested: Mapping, before: tuple = ()) -> dict[tuple[str, ...], float]:
    """Nested figures by their path."""
    found = {}
    for name, value in nested.items():
        path = (*before, name)
        found |= flat(value, path) if isinstance(value, Mapping) else {path: value}
    return found


def named(path: tuple[str, ...]) -> str:
    """What a figure of a map is called."""
    first, *rest = path
    if first in ("boxes", "masks"):
        return " ".join((first.removesuffix("es" if first == "boxes" else "s"), *rest))
    if first in WAYS:
        return f"{' '.join(rest)}, {first}"
    return " ".join(path)


def boxed(path: tuple[str, ...]) -> str:
    """What a figure of boxes is called; without a rule it is the paper's own."""
    first, *rest = path
    if first in ("labels", "fates"):
        return " ".join(path)
    if first == "oracles":
        return f"own box {rest[1]}, {rest[0]}"
    noisy = "noisy " * (first == "noisy")
    own = "" if first == "common" else "own "
    last = (rest or [first])[-1].replace("_", " ")
    if last == "mask AP U":
        return f"{noisy}{own}mask U"
    return f"{noisy}{own}box {last}"


def as_csv(scores) -> str:
    """The file's text."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines(scores))
    return text.getvalue()


def as_markdown() -> str:
    """What explains the file."""
    heads = ["column", "what it holds"], ["score", "what it is"]
    parts = [
        table(list(own.items()), head, "markdown")
        for own, head in zip((COLUMNS, SCORES), heads, strict=True)
    ]
    about = (
        "Every stored score of the course's methods, one number a line, made by "
        "`python -m vlmtutor comparison` from the files beside it. Rank methods "
        "within a task, a table, a backbone and a program; never mix scores."
    )
    return "\n\n".join(["# comparison.csv", about, *parts]) + "\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=FILE, help="the file to write")
    parser.add_argument(
        "--check", action="store_true", help="write nothing: is the file up to date?"
    )


def run(args: argparse.Namespace) -> int:
    try:
        text = as_csv(scores_of())
    except ValueError as error:  # a stored file is torn
        fail(error)
        return 1
    told = {args.out: text, args.out.with_suffix(".md"): as_markdown()}
    if args.check:
        old = [p.name for p, new in told.items() if not same(p, new)]
        if old:
            fail(f"not as stored results are: {', '.join(old)}")
        return bool(old)
    for path, new in told.items():
        if not same(path, new):
            with stored.replacing(path) as part:
                part.write_text(new, encoding="utf-8", newline="\n")
    print(f"{args.out.name}: {text.count(chr(10)) - 1:,} scores")
    return 0


def same(path: Path, text: str) -> bool:
    """Whether a file is there and says this."""
    return path.exists() and path.read_bytes() == text.encode("utf-8")
