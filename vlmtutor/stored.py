"""Results of runs that take too long for a notebook.

A command in the repository makes them and writes ``notebooks/results/NAME.json`` with
the date, the machine and the minutes; the notebook of that name shows them
beside a smaller run of its own.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import platform
import re
from pathlib import Path

import torch

FOLDER = Path(__file__).resolve().parents[1] / "notebooks" / "results"


def machine() -> dict:
    """Where a result was measured."""
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


def save(results: dict, name: str, out: Path | None = None) -> Path:
    """Write ``notebooks/results/NAME.json``, or ``out``; the path written."""
    path = Path(out or FOLDER / f"{name}.json")
    text = json.dumps(results, indent=1, ensure_ascii=False)
    # innermost objects on one line each: a run is a row
    text = re.sub(r"\{[^{}]*\}", lambda m: re.sub(r"\s+", " ", m[0]), text)
    path.write_text(text + "\n", encoding="utf-8")
    return path


def load(name: str) -> dict:
    """What ``save`` wrote; FileNotFoundError when there is nothing."""
    path = FOLDER / f"{name}.json"
    if not path.is_file():
        raise FileNotFoundError(f"there is no stored result {path.name}")
    return json.loads(path.read_text("utf-8"))
