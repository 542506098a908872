"""Write a model as a hub folder: config, safetensors in fp16, tokenizer."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import CLIPModel, PreTrainedTokenizerFast

from .build import IMAGE_MEAN, IMAGE_STD


def export(model: CLIPModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> Path:
    """Save model, tokenizer and image processor to ``folder``."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    model.set_attn_implementation("sdpa")
    model.to(torch.float16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    size = model.config.vision_config.image_size
    processor = {
        "image_processor_type": "CLIPImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": size},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": size, "width": size},
        "do_convert_rgb": True,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": IMAGE_MEAN,
        "image_std": IMAGE_STD,
    }
    text = json.dumps(processor, indent=2) + "\n"
    (folder / "preprocessor_config.json").write_text(text, encoding="utf-8")
    return folder
