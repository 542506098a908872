"""StickerCLIP's two towers, with the patch features that training needs.

All modules are those of ``transformers``; only the order of calls is ours.
The last block runs once for the class token (ordinary attention) and once as
MaskCLIP reads it: attention replaced by the identity, residual and MLP kept
(Zhou et al. 2022, arXiv 2112.01071).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import CLIPModel

from ..models.inside import class_looks, first_state


def encode_images(model: CLIPModel, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels [B, 3, H, W] → image_embeds [B, D] and patch_embeds [B, T, D].

    Both are L2-normalised; the patches are those of the value path.
    """
    vision = model.vision_model
    hidden = first_state(model, pixel_values)
    *blocks, last = vision.encoder.layers
    for block in blocks:
        hidden = block(hidden, None)  # [B, 1 + T, W]
    hidden = class_looks(last, hidden)
    embeds = model.visual_projection(vision.post_layernorm(hidden))
    embeds = F.normalize(embeds.float(), dim=-1)
    return embeds[:, 0], embeds[:, 1:]


def encode_texts(
    model: CLIPModel, tokenizer, texts: list[str]
) -> tuple[Tensor, Tensor]:
    """Texts → text_embeds [M, D] (L2-normalised) and pooled states [M, W].

    Short texts run with short ones, in four groups: padding all to the
    longest would cost several times as much.
    """
    ids = tokenizer(texts, truncation=True)["input_ids"]
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    size = -(-len(order) // 4)
    states = []
    for start in range(0, len(order), size):
        rows = [ids[i] for i in order[start : start + size]]
        batch = tokenizer.pad({"input_ids": rows}, return_tensors="pt")
        inputs = {k: batch[k].to(model.device) for k in ("input_ids", "attention_mask")}
        output = model.text_model(**inputs)
        states.append(output.pooler_output)
    back = torch.tensor(order).argsort().to(model.device)
    pooled = torch.cat(states)[back]  # [M, W]
    embeds = F.normalize(model.text_projection(pooled).float(), dim=-1)
    return embeds, pooled.float()
