"""Where a run begins that does not begin with nothing."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from transformers import CLIPModel

from .. import stored
from ..models.hub import load_clip
from .build import build_model
from .config import PretrainConfig
from .forward import encode_texts
from .teacher import TextTargets

BESIDE = ("bank", "to_teacher.weight", "to_teacher.bias")
LOG = "log.json"  # what a run knows of itself, in its folder
TRAINING = "training.json"  # the same beside the model that came out
FITTED = 4096  # texts that show how the text tower's state reads to the teacher


def weights(
    folder: Path,
    checkpoint: str,
    config: PretrainConfig,
    tokenizer,
    targets: TextTargets | None,
) -> tuple[CLIPModel, dict[str, Tensor]]:
    """A model, and what training keeps beside it, by name.

    ``folder`` is that of a run, whose ``checkpoint`` has both, or a model's
    folder as ``load_clip`` opens it.  Raises FileNotFoundError where it is
    neither, ValueError where the tokenizer or the shape is another.
    """
    if folder.is_file():
        raise FileNotFoundError(f"{folder} is a file: give its folder, {folder.parent}")
    if (folder / "config.json").exists() and not (folder / checkpoint).exists():
        return _of_model(folder, config, tokenizer, targets)
    state = torch.load(folder / checkpoint, weights_only=True, map_location="cpu")
    model = build_model(config, len(tokenizer), state["size"])
    model.load_state_dict(state["averaged"])
    return model, {name: state["trainer"][name] for name in BESIDE}


def notes(folder: Path) -> dict | None:
    """What is noted of the training of a run or a model, without its losses."""
    for path in (folder / TRAINING, folder / LOG):
        if path.exists():
            return {k: v for k, v in stored.read(path).items() if k != "log"}
    return None


def _of_model(folder, config, tokenizer, targets):
    clip = load_clip(folder)
    if clip.tokenizer.get_vocab() != tokenizer.get_vocab():
        raise ValueError(f"{folder} has another tokenizer than this recipe")
    size = clip.model.config.vision_config.image_size
    model = build_model(config, len(tokenizer), size)
    given = clip.model.state_dict()
    for name, own in model.state_dict().items():
        if name not in given or given[name].shape != own.shape:
            raise ValueError(f"{folder} has another shape than this recipe: {name}")
    model.load_state_dict(given)
    if targets is None:
        return model, {}
    return model, fitted_reader(model, tokenizer, targets)


@torch.no_grad()
def fitted_reader(
    model: CLIPModel, tokenizer, targets: TextTargets
) -> dict[str, Tensor]:
    """The map from text states to the teacher's embeddings, by least squares.

    A model's folder does not hold it, and a fresh one would pull the text
    tower away from what it knows.
    """
    chosen = range(0, len(targets.texts), max(1, len(targets.texts) // FITTED))
    texts = [targets.texts[i] for i in chosen]
    parts = [texts[i : i + 256] for i in range(0, len(texts), 256)]
    states = torch.cat([encode_texts(model, tokenizer, part)[1] for part in parts])
    states = torch.cat([states, torch.ones(len(states), 1)], dim=1)  # [n, W + 1]
    goal = targets.embeds[list(chosen)].float()
    ridge = 1e-3 * len(states) * torch.eye(states.shape[1])
    solved = torch.linalg.solve(states.T @ states + ridge, states.T @ goal)
    return {"to_teacher.weight": solved[:-1].T, "to_teacher.bias": solved[-1]}
