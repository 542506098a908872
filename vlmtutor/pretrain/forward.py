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
from torch.nn.utils.rnn import pad_sequence
from transformers import CLIPModel

from ..models.inside import class_looks
from .positions import cropped_positions


def encode_images(
    model: CLIPModel, pixel_values: Tensor, crops: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Pixels [B, 3, H, W] → image_embeds [B, D] and patch_embeds [B, T, D].

    Both are L2-normalised; the patches are those of the value path.  ``crops``
    [B, 4]: which part of a larger picture each is taken for
    (:mod:`.positions`).
    """
    vision = model.vision_model
    hidden = vision.embeddings(pixel_values)
    if crops is not None:
        table = vision.embeddings.position_embedding.weight
        hidden = hidden + cropped_positions(table, crops) - table
    hidden = vision.pre_layrnorm(hidden)
    *blocks, last = vision.encoder.layers
    for block in blocks:
        hidden = block(hidden, None)  # [B, 1 + T, W]
    hidden = class_looks(last, hidden)
    embeds = model.visual_projection(vision.post_layernorm(hidden))
    embeds = F.normalize(embeds.float(), dim=-1)
    return embeds[:, 0], embeds[:, 1:]


class Tokens(dict):
    """Token ids by text: most texts come again, and an accelerator waits."""

    def __init__(self, tokenizer, most: int = 500_000):
        super().__init__()
        self.tokenizer, self.most = tokenizer, most

    def ids(self, texts: list[str]) -> list[list[int]]:
        new = list({text for text in texts if text not in self})
        found = {}
        if new:
            every = self.tokenizer(new, truncation=True)["input_ids"]
            found = dict(zip(new, every, strict=True))
        rows = [self[text] if text in self else found[text] for text in texts]
        if len(self) < self.most:
            self.update(found)
        return rows


def encode_texts(
    model: CLIPModel, tokenizer, texts: list[str], tokens: Tokens | None = None
) -> tuple[Tensor, Tensor]:
    """Texts → text_embeds [M, D] (L2-normalised) and pooled states [M, W].

    On a CPU short texts run with short ones, in four groups: padding all to
    the longest would cost several times as much; an accelerator waits for
    launches instead.  ``tokens`` remembers ids.
    """
    tokens = Tokens(tokenizer) if tokens is None else tokens
    ids = tokens.ids(texts)
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    groups = 4 if model.device.type == "cpu" else 1
    size = -(-len(order) // groups)
    pad, states = model.config.text_config.pad_token_id, []
    for start in range(0, len(order), size):
        rows = [torch.tensor(ids[i]) for i in order[start : start + size]]
        rows = pad_sequence(rows, batch_first=True, padding_value=pad)  # [m, L]
        rows = rows.to(model.device, non_blocking=True)
        output = model.text_model(input_ids=rows, attention_mask=rows != pad)
        states.append(output.pooler_output)
    back = torch.tensor(order).argsort().to(model.device)
    pooled = torch.cat(states)[back]  # [M, W]
    embeds = F.normalize(model.text_projection(pooled).float(), dim=-1)
    return embeds, pooled.float()
