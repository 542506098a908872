"""Results of runs that take too long for a notebook: one writer, one reader.

A command in the repository makes them and writes ``notebooks/results/NAME.json``
with the date and the machine; the notebook of that name shows them beside a
smaller run of its own.  A file is written whole or not at all.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import os
import platform
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from filelock import FileLock

from .verdict import SEEDS

FOLDER = Path(__file__).resolve().parents[1] / "notebooks" / "results"


def machine() -> dict:
    """Where a result was measured."""
    import torch

    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def fingerprint(clip) -> str:
    """Twelve characters that change with any weight of the model."""
    digest = hashlib.sha256()
    for name, tensor in clip.model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def heading() -> dict:
    """Date and machine, to begin a result with."""
    today = datetime.date.today().isoformat()
    return {"date": today, "machine": machine()}


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary file beside ``path`` that takes its place in one move.

    Where the block raises, what was there stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    os.close(handle)
    part = Path(name)
    try:
        yield part
        part.chmod(path.stat().st_mode if path.exists() else 0o644)
        with part.open("rb+") as file:  # on the disk before it gets its name
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def alone(path: str | Path) -> FileLock:
    """For a ``with``: one process at a time from reading a file to writing it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path.with_name(f".{path.name}.lock"))


def write(results, path: str | Path) -> Path:
    """Write JSON, whole or not at all; the path written."""
    text = json.dumps(results, indent=1, ensure_ascii=False)
    # innermost objects and lists of numbers on one line each: a run is a row
    plain = r"\{[^{}]*\}|\[[][\s\d.,e+-]*\]"
    text = re.sub(plain, lambda m: re.sub(r"\s+", " ", m[0]), text)
    with replacing(path) as part:
        part.write_text(text + "\n", encoding="utf-8")
    return Path(path)


def read(path: str | Path, way_on: str = "") -> dict:
    """What :func:`write` wrote.

    Raises FileNotFoundError where there is no file, ValueError where it is
    torn or no JSON object: both name the file and the ``way_on``.
    """
    path = Path(path)
    way_on = way_on or f"git checkout -- {path.name} brings back the course's own"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no result {path}; {way_on}") from None
    except ValueError as error:  # of JSON or of UTF-8
        raise ValueError(f"{path} is torn or no JSON ({error}); {way_on}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds no JSON object; {way_on}")
    return found


def runs(name: str) -> list[dict]:
    """What a stored experiment found: one flat dict a row and seed.

    It holds what is stored of the run ("part", "seed", "date", …), the row's
    name ("row", that of the part by default), its fields and its scores.
    """
    found = []
    for run in load(name)["parts"]:
        head = {key: value for key, value in run.items() if key != "rows"}
        for row in run.get("rows", [run]):
            scores = row.get("scores", {})
            found.append({**head, "row": run["part"], **row, **scores})
    return found


def origin(name: str, **where) -> str:
    """Where and when a stored experiment was run, as the mark of its claims.

    "stored 2026-11-25, 3 seeds, no verdict, Linux x86_64": eight seeds make a
    verdict (:mod:`vlmtutor.verdict`), one is called one run; "1 to 3 seeds" if
    parts differ.  ``where`` picks some of its runs, say ``seed=0`` or
    ``part="CLIP"``.
    """
    parts = [r for r in load(name)["parts"] if where.items() <= r.items()]
    runs = {(run["part"], run.get("backbone"), run["seed"]) for run in parts}
    of_part = Counter(run[:2] for run in runs)
    least, most = min(of_part.values()), max(of_part.values())
    many = f"{most} seeds" if least == most else f"{least} to {most} seeds"
    many += "" if most >= SEEDS else ", no verdict"
    many = "one run" if most == 1 else many
    dates = sorted({run["date"] for run in parts})
    machines = sorted({run["machine"]["system"] for run in parts})
    return f"stored {' to '.join(dates[:: len(dates) - 1 or 1])}, {many}, " + (
        " and ".join(machines)
    )


def means(rows: Sequence[dict], score: str, by: str) -> dict:
    """{value of ``by``: mean of a score over the rows that have it}."""
    found: dict = {}
    for row in rows:
        if score in row:
            found.setdefault(row[by], []).append(row[score])
    return {key: sum(values) / len(values) for key, values in found.items()}


def save(results: dict, name: str, out: Path | None = None) -> Path:
    """Write ``notebooks/results/NAME.json``, or ``out``; the path written."""
    return write(results, out or FOLDER / f"{name}.json")


def load(name: str) -> dict:
    """What :func:`save` wrote under a name; raises what :func:`read` does."""
    return read(FOLDER / f"{name}.json")
