"""Short runs that change one knob at a time, before the long run.

``python -m vlmtutor.experiments.recipe``: every row sees the same number of
scenes of every fourth category at 64 px and is judged on validation scenes.
CPU seconds are counted, not wall-clock, so that other work beside it does not
matter.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import torch

from ..pretrain.config import PretrainConfig
from ..pretrain.run import Pretraining
from ..world import load_categories
from .evaluate import local_naming, retrieval, top1
from .unseen import Evaluation

SCENES = 25_600

ROWS: dict[str, dict] = {
    "baseline": {},
    "lr 2e-3": {"lr": 2e-3},
    "batch 32, twice the steps": {"batch_size": 32},
    "no local loss": {"local_weight": 0.0},
    "sigmoid loss": {"loss": "sigmoid"},
    "vision 256 wide": {"vision_width": 256},
    "batch 128, half the steps": {"batch_size": 128},
    "no curriculum": {"curriculum": 0.0},
    "false negatives kept": {"false_negatives": "none"},
    "no teacher, no bank": {"bank_weight": 0.0, "teacher_weight": 0.0},
    "no augmentation": {"augment": 0.0},
    "vision 4 layers": {"vision_layers": 4},
    "patches of 16 px": {"patch_size": 16},
    "text 128 wide, 2 layers": {"text_width": 128, "text_layers": 2},
    "no memes or descriptions": {"meme_share": 0.0, "description_share": 0.0},
    "half memes and descriptions": {"meme_share": 0.4, "description_share": 0.3},
    "no weight average": {"average": 0.0},
    "fp32": {"bf16": False},
    "96 px from the start": {"first_size": 96},
    "lr 5e-4": {"lr": 5e-4},
}


def try_row(name: str, changes: dict, folder: Path) -> dict:
    """Train one row and write its model."""
    base = PretrainConfig(every_category=4, final_share=0.0, warmup=50, average=0.99)
    config = replace(base, **changes)
    config = replace(config, steps=SCENES // config.batch_size)
    training = Pretraining(folder / name.replace(" ", "-"), config)
    started = time.process_time()
    training.run()
    seconds = time.process_time() - started
    training.export(training.folder / "model")
    return {"row": name, "cpu_seconds": round(seconds)}


def judge_row(name: str, folder: Path) -> dict:
    """What the model of a row can do on validation scenes."""
    from ..models.hub import load_clip

    clip = load_clip(str(folder / name.replace(" ", "-") / "model"))
    names = [c.name for c in load_categories()[::4]]
    e = Evaluation("val", 0, 500, clip.image_size, tuple(names))
    return {
        "top1": round(top1(clip, e), 3),
        **{k: round(v, 3) for k, v in retrieval(clip, e).items()},
        **{k: round(v, 3) for k, v in local_naming(clip, e).items()},
        "parameters": sum(p.numel() for p in clip.model.parameters()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", default="runs/search")
    parser.add_argument("--rows", nargs="*", default=list(ROWS))
    args = parser.parse_args()
    torch.set_num_threads(1)
    folder = Path(args.folder)
    folder.mkdir(parents=True, exist_ok=True)
    table = folder / "table.json"
    done = json.loads(table.read_text()) if table.exists() else []
    for name in args.rows:
        if any(row["row"] == name for row in done):
            continue
        done.append(try_row(name, ROWS[name], folder))
        table.write_text(json.dumps(done, indent=1) + "\n")
        print(done[-1], flush=True)
    for row in done:
        if "top1" not in row:
            row |= judge_row(row["row"], folder)
            table.write_text(json.dumps(done, indent=1) + "\n")
            print(row, flush=True)


if __name__ == "__main__":
    main()
