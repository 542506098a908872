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
from transformers import AttentionInterface, CLIPModel
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask


def _float_attention(
    module, query, key, value, attention_mask, scaling=None, is_causal=None, **kwargs
):
    """Attention in fp32 inside bf16 autocast.

    The backward pass of bf16 attention on a CPU is several times slower than
    in fp32, while matrix products gain from bf16.
    """
    if is_causal is None:
        is_causal = getattr(module, "is_causal", False)
    causal = is_causal and attention_mask is None
    if attention_mask is not None and attention_mask.dtype != torch.bool:
        attention_mask = attention_mask.float()
    with torch.autocast("cpu", enabled=False):
        out = F.scaled_dot_product_attention(
            query.float(),
            key.float(),
            value.float(),
            attn_mask=attention_mask,
            is_causal=causal,
            scale=scaling,
        )
    return out.to(query.dtype).transpose(1, 2).contiguous(), None


AttentionInterface.register("float_sdpa", _float_attention)
AttentionMaskInterface.register("float_sdpa", sdpa_mask)


def _tensor(output) -> Tensor:
    return output if isinstance(output, Tensor) else output[0]


def encode_images(model: CLIPModel, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels [B, 3, H, W] → image_embeds [B, D] and patch_embeds [B, T, D].

    Both are L2-normalised; the patches are those of the value path.
    """
    vision = model.vision_model
    hidden = vision.pre_layrnorm(vision.embeddings(pixel_values))
    *blocks, last = vision.encoder.layers
    for block in blocks:
        hidden = _tensor(block(hidden, None))  # [B, 1 + T, W]
    normed = last.layer_norm1(hidden)
    attention = last.self_attn
    heads = attention.num_heads

    def split(x: Tensor) -> Tensor:
        return x.unflatten(-1, (heads, -1)).transpose(1, 2).float()

    values = attention.v_proj(normed)
    query = split(attention.q_proj(normed[:, :1]))
    key = split(attention.k_proj(normed))
    with torch.autocast("cpu", enabled=False):
        mixed = F.scaled_dot_product_attention(query, key, split(values))
    mixed = mixed.transpose(1, 2).flatten(2)  # [B, 1, W]
    values = torch.cat([mixed.to(values.dtype), values[:, 1:]], dim=1)
    hidden = hidden + attention.out_proj(values)
    hidden = hidden + last.mlp(last.layer_norm2(hidden))
    embeds = model.visual_projection(vision.post_layernorm(hidden))
    embeds = F.normalize(embeds.float(), dim=-1)
    return embeds[:, 0], embeds[:, 1:]


def encode_texts(
    model: CLIPModel, tokenizer, texts: list[str], chunks: int = 4
) -> tuple[Tensor, Tensor]:
    """Texts → text_embeds [M, D] (L2-normalised) and pooled states [M, W].

    Short texts run with short ones, in ``chunks`` groups: padding all to the
    longest would cost several times as much.
    """
    ids = tokenizer(texts, truncation=True)["input_ids"]
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    size = -(-len(order) // chunks)
    states = []
    for start in range(0, len(order), size):
        rows = [ids[i] for i in order[start : start + size]]
        batch = tokenizer.pad({"input_ids": rows}, return_tensors="pt")
        output = model.text_model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
        )
        states.append(output.pooler_output)
    back = torch.empty(len(order), dtype=torch.long)
    back[torch.tensor(order)] = torch.arange(len(order))
    pooled = torch.cat(states)[back]  # [M, W]
    embeds = F.normalize(model.text_projection(pooled).float(), dim=-1)
    return embeds, pooled.float()
