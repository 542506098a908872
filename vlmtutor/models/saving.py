"""Write a CLIP as a hub folder: config, safetensors in fp16, tokenizer."""

from __future__ import annotations

import copy
import json
from pathlib import Path

from .checkpoint import quiet
from .clip import Clip


def save_clip(clip: Clip, folder: str | Path) -> Path:
    """Write a CLIP as ``load_clip`` and the hub have it, in fp16.

    ``transformers`` opens it too.  The model itself stays in fp32.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with quiet():  # no progress bar for a second's work
        copy.deepcopy(clip.model).half().save_pretrained(folder)
        clip.tokenizer.save_pretrained(folder)
    settings = clip.image_settings
    config = {
        "image_processor_type": "CLIPImageProcessor",
        "do_resize": settings.resize is not None,
        "resample": settings.resample,
        "do_center_crop": settings.crop is not None,
        "do_convert_rgb": True,
        "do_rescale": True,
        "rescale_factor": settings.scale,
        "do_normalize": True,
        "image_mean": list(settings.mean),
        "image_std": list(settings.std),
    }
    if isinstance(settings.resize, int):
        config["size"] = {"shortest_edge": settings.resize}
    elif settings.resize:
        height, width = settings.resize
        config["size"] = {"height": height, "width": width}
    if settings.crop:
        height, width = settings.crop
        config["crop_size"] = {"height": height, "width": width}
    text = json.dumps(config, indent=2) + "\n"
    (folder / "preprocessor_config.json").write_text(text, encoding="utf-8")
    return folder
