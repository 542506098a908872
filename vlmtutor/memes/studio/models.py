"""The models that the studio can switch between.

A distilled student, or any other CLIP, can be chosen if it is a folder in
the hub's format (``config.json`` of type "clip", ``model.safetensors``,
tokenizer and preprocessor), as ``save_pretrained`` and ``load_clip`` have
it, and stands in one of two places: beside the shipped StickerCLIP, or in
``runs``, the folder for what you train yourself (looked for where the
studio looks for pictures: here, one up, in the project). So a student that
a notebook saves as ``../runs/student`` is offered as "student".
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import huggingface_hub as hf
from huggingface_hub import constants

from ...models import hub
from .pictures import find_folder

OPENAI = hub.DEFAULT_HUB_NAME
RUNS = "runs"


def ready_models() -> dict[str, str]:
    """What opens without a network: label → name for ``load_clip``.

    StickerCLIP, the CLIP folders beside it and in ``runs`` (a distilled
    student), and OpenAI's CLIP if it is in the cache.
    """
    models = {"StickerCLIP": "StickerCLIP"}
    for parent in (hub.STICKERCLIP.parent, find_folder(RUNS)):
        for folder in sorted(parent.iterdir()) if parent.is_dir() else ():
            if folder != hub.STICKERCLIP and _is_clip(folder):
                label = folder.name.replace("_", " ")
                if label in models:
                    label = str(folder)
                models[label] = str(folder)
    if hub.is_cached(OPENAI):
        models["OpenAI's CLIP, ViT-B/32"] = OPENAI
    return models


def _is_clip(folder: Path) -> bool:
    """Whether it looks like one; opening it tells whether it is."""
    if not (folder / "model.safetensors").is_file():
        return False  # nor one that is still being written
    try:
        text = (folder / "config.json").read_text(encoding="utf-8")
        return json.loads(text)["model_type"] == "clip"
    except (OSError, ValueError, KeyError, TypeError):
        return False


def download_size() -> int:
    """Megabytes that OpenAI's CLIP still has to be downloaded; 0 if none."""
    return 0 if hub.is_cached(OPENAI) else hub.download_size_mb(OPENAI) or 0


def download_openai(progress: Callable[[float], None]) -> None:
    """Fetch OpenAI's CLIP into the cache; ``progress(megabytes so far)``.

    The hub is asked in a thread, and its own progress bar is silenced: what
    a button of a widget prints appears nowhere. Raises ModelNotFound within
    seconds if the hub cannot be reached.
    """
    errors: list[Exception] = []

    def fetch() -> None:
        try:
            hub.download(OPENAI)
        except Exception as error:  # handed on to the waiting thread
            errors.append(error)

    is_silent = hf.utils.are_progress_bars_disabled()
    hf.utils.disable_progress_bars()
    thread = threading.Thread(target=fetch, daemon=True)
    try:
        thread.start()
        while thread.is_alive():
            thread.join(0.5)
            progress(_megabytes())
    finally:
        if not is_silent:
            hf.utils.enable_progress_bars()
    if errors:
        raise errors[0]


def _megabytes() -> float:
    """How much of OpenAI's CLIP is in the cache, finished or not."""
    name = "models--" + OPENAI.replace("/", "--")
    blobs = Path(constants.HF_HUB_CACHE, name, "blobs")
    total = 0
    for file in blobs.glob("*"):
        try:
            total += file.stat().st_size
        except OSError:  # renamed while we looked
            continue
    return total / 1e6
