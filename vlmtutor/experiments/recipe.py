"""StickerCLIP's recipe with one thing changed at a time, in short runs.

Every part sees 25,600 scenes of every fourth category at 64 px, on one thread,
and is judged on validation scenes.  So short a run favours what learns fast at
first: it is a hint and no proof.  Needs requirements-train.txt and the texts
of :mod:`vlmtutor.pretrain.corpus`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..models.catalog import RUNS
from ..models.hub import load_clip
from ..pretrain.config import RECIPES, PretrainConfig
from ..pretrain.run import Pretraining
from ..world import load_categories
from .evaluate import local_naming, retrieval, top1
from .experiment import Experiment
from .lessons import FROM_SCRATCH, rounded
from .unseen import Evaluation

SCENES, EVERY, SIZE, VALIDATED = 25_600, 4, 64, 500

# A sixth of the batch and of what goes with it; a rate smaller by its root.
BASE = replace(
    RECIPES["stickerclip"],
    batch_size=64,
    mosaics=8,
    text_batch=170,
    free_texts=24_000,
    lr=6e-4,
    warmup=50,
    average=0.99,
    every_category=EVERY,
    first_size=SIZE,
    final_size=SIZE,
)
CHANGES: dict[str, dict] = {
    "as it is": {},
    "rate 1.5e-3": {"lr": 1.5e-3},
    "sigmoid loss": {"loss": "sigmoid"},
    "no words among patches": {"local_weight": 0.0, "naming_weight": 0.0, "mosaics": 0},
    "naming as heavy in the first half": {"naming_growth": 1.0, "naming_weight": 1.0},
    "a background's place weighs 0.5": {"ground": 0.5},
    "no texts that people wrote": {"corpus": "none"},
    "no free texts": {"bank_weight": 0.0, "teacher_weight": 0.0},
    "no large, tilted or paired things": {"posed_share": 0.0},
    "no lines about two things": {"line_share": 0.0},
    "no places in captions": {"place_share": 0.0},
    "text encoder 160 wide, 3 layers": {"text_width": 160, "text_layers": 3},
}


def config(name: str, seed: int) -> PretrainConfig:
    """The knobs of a part."""
    changed = replace(BASE, seed=seed, **CHANGES[name])
    return replace(changed, steps=SCENES // changed.batch_size)


def change(name: str, seed: int, backbone: str) -> dict:
    """Train with one change, and look at validation scenes."""
    slug = "".join(c if c.isalnum() else "_" for c in f"{name}_{seed}")
    training = Pretraining(Path(RUNS) / "recipe" / slug, config(name, seed))
    training.run()
    clip = load_clip(str(training.export(training.folder / "model")))
    names = tuple(c.name for c in load_categories()[::EVERY])
    seen = Evaluation("val", seed, VALIDATED, SIZE, names)
    scores = {"top1": top1(clip, seen), **retrieval(clip, seen)}
    scores |= local_naming(clip, seen)
    return {
        "scores": rounded(scores),
        "losses": training.log[-1],
        "parameters": sum(p.numel() for p in clip.model.parameters()),
        "steps": training.config.steps,
        "fit_s": round(training.seconds, 1),
    }


EXPERIMENT = Experiment(
    name="recipe",
    about="StickerCLIP's recipe with one thing changed at a time, in short runs",
    parts=dict.fromkeys(CHANGES, change),
    seeds=1,
    backbones=FROM_SCRATCH,
)
