"""What cells with a tolerance print when nothing is trained.

A tolerance must not be so wide that an untrained model passes for a trained
one.  ``python tests/untrained.py`` runs the notebooks that have such cells with
optimisers that stand still, and stores what the cells then print in
``tests/untrained_outputs.json``; a test compares.  Run it again when the code
of such a notebook has changed: the test says so.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import nbformat
from nbval_near import tolerance

from vlmtutor import notebooks

STORED = Path(__file__).with_name("untrained_outputs.json")
STANDSTILL = """
import torch
def _stand_still(self, closure=None):
    return closure() if closure else None
for _kind in vars(torch.optim).values():
    if isinstance(_kind, type) and issubclass(_kind, torch.optim.Optimizer):
        _kind.step = _stand_still
"""


def code_cells(nb) -> list:
    return [cell for cell in nb.cells if cell.cell_type == "code"]


def code_hash(nb) -> str:
    """Of the code up to the last cell with a tolerance."""
    cells = code_cells(nb)
    last = max((n for n, cell in enumerate(cells) if tolerance(cell)), default=-1)
    text = "\n\n".join(cell.source for cell in cells[: last + 1])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def printed(cell) -> str:
    """A cell's stream and text outputs, or its error, as one text."""
    texts = []
    for output in cell.outputs:
        if output.output_type == "error":
            texts.append(f"{output.ename}: {output.evalue}\n")
        elif output.get("name") == "stdout":
            texts.append(output.text)
    return "".join(texts)


def with_tolerance() -> list[Path]:
    """The notebooks that have cells with a tolerance."""
    paths = notebooks.find([])
    return [p for p in paths if any(map(tolerance, code_cells(read(p))))]


def read(path: Path):
    return nbformat.read(path, as_version=4)


def run(path: Path) -> dict:
    """Run a notebook in which optimisers stand still; what cells print."""
    nb = read(path)
    kept = {"code": code_hash(nb), "cells": {}}
    numbered = [(n, c) for n, c in enumerate(code_cells(nb), 1) if tolerance(c)]
    last = nb.cells.index(numbered[-1][1])
    nb.cells = [nbformat.v4.new_code_cell(STANDSTILL), *nb.cells[: last + 1]]
    env = notebooks.environment(threads=1)
    notebooks.execute(nb, path.parent, allow_errors=True, env=env)
    kept["cells"] = {str(n): printed(cell) for n, cell in numbered}
    return kept


def main(names: list[str]) -> None:
    found = json.loads(STORED.read_text("utf-8")) if STORED.is_file() else {}
    here = with_tolerance()
    found = {path.stem: found[path.stem] for path in here if path.stem in found}
    for path in here:
        old = found.get(path.stem, {}).get("code") == code_hash(read(path))
        if path.name.startswith(tuple(names)) if names else not old:
            found[path.stem] = run(path)
            print(path.stem, *found[path.stem]["cells"].values(), sep="\n", flush=True)
            text = json.dumps(dict(sorted(found.items())), indent=1, ensure_ascii=False)
            STORED.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
