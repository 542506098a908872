"""CLIP's vision tower, one block at a time and with its attention in the open.

Hidden states are numbered as in ``transformers``: 0 is what the first block
reads, l what block number l (from 1) has written.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def vision_blocks(clip) -> list:
    """The blocks of the vision tower, first to last."""
    return list(clip.model.vision_model.encoder.layers)


def attention_weights(block, hidden: Tensor) -> Tensor:
    """Who looks at whom: [N, T, W] → [N, heads, T, T], rows sum to 1."""
    attn = block.self_attn
    x = block.layer_norm1(hidden)
    q, k = (
        proj(x).unflatten(-1, (attn.num_heads, -1)).transpose(1, 2)
        for proj in (attn.q_proj, attn.k_proj)
    )  # [N, heads, T, W / heads]
    return (attn.scale * q @ k.transpose(-1, -2)).softmax(dim=-1)


def run_block(block, hidden: Tensor, attention: Tensor | None = None) -> Tensor:
    """One block: hidden [N, T, W] → [N, T, W]; gradients flow.

    ``attention`` [N, heads, T, T] (or what broadcasts to it) replaces the
    block's own; hand in :func:`attention_weights` to have its gradient.
    """
    attn = block.self_attn
    if attention is None:
        attention = attention_weights(block, hidden)
    values = attn.v_proj(block.layer_norm1(hidden))
    values = values.unflatten(-1, (attn.num_heads, -1)).transpose(1, 2)
    mixed = (attention @ values).transpose(1, 2).flatten(2)
    hidden = hidden + attn.out_proj(mixed)
    return hidden + block.mlp(block.layer_norm2(hidden))


def value_path(block, hidden: Tensor) -> Tensor:
    """The block with the identity for attention: each token keeps to itself.

    Residual and MLP stay (MaskCLIP, arXiv 2112.01071).
    """
    attn = block.self_attn
    values = attn.v_proj(block.layer_norm1(hidden))
    hidden = hidden + attn.out_proj(values)
    return hidden + block.mlp(block.layer_norm2(hidden))


def token_keys(block, hidden: Tensor) -> Tensor:
    """The keys of a block, all heads side by side: [N, T, W]."""
    return block.self_attn.k_proj(block.layer_norm1(hidden))


def read_out(clip, tokens: Tensor) -> Tensor:
    """Last hidden state [..., W] → embeddings [..., D], L2-normalised."""
    tokens = clip.model.vision_model.post_layernorm(tokens)
    return F.normalize(clip.model.visual_projection(tokens), dim=-1)


def run_from(clip, hidden: Tensor, start: int) -> Tensor:
    """Hidden state ``start`` [N, 1 + T, W] → the last one."""
    for block in vision_blocks(clip)[start:]:
        hidden = run_block(block, hidden)
    return hidden


def hidden_states(clip, pixel_values: Tensor) -> tuple[Tensor, ...]:
    """All hidden states of a batch: a tuple of [N, 1 + T, W]."""
    size = tuple(pixel_values.shape[-2:])
    output = clip.model.vision_model(
        pixel_values=pixel_values,
        output_hidden_states=True,
        interpolate_pos_encoding=size != (clip.image_size,) * 2,
    )
    return (*output.hidden_states[:-1], output.last_hidden_state)


def grid_side(tokens: int) -> int:
    """Side of a square grid of so many patches; ValueError if it is none."""
    side = round(tokens**0.5)
    if side * side != tokens:
        raise ValueError(f"{tokens} patches make no square")
    return side


def as_map(tokens: Tensor) -> Tensor:
    """Patches [N, T, D] → a map [N, D, g, g]."""
    side = grid_side(tokens.shape[1])
    return tokens.transpose(1, 2).unflatten(2, (side, side))


def as_tokens(maps: Tensor) -> Tensor:
    """A map [N, D, g, g] → patches [N, T, D]."""
    return maps.flatten(2).transpose(1, 2)


def interleave(passes: Tensor) -> Tensor:
    """Four shifted grids [N, 2, 2, g, g, D] → one of twice the side.

    ``passes[:, i, j]`` holds row 2 r + i and column 2 c + j of the result
    [N, 2 g, 2 g, D].
    """
    N, _, _, g, _, D = passes.shape
    return passes.permute(0, 3, 1, 4, 2, 5).reshape(N, 2 * g, 2 * g, D)


def shift_pixels(pixel_values: Tensor, dy: int, dx: int) -> Tensor:
    """Move what is at (y + dy, x + dx) to (y, x); edges are repeated."""
    reach = max(abs(dy), abs(dx))
    if not reach:
        return pixel_values
    height, width = pixel_values.shape[-2:]
    padded = F.pad(pixel_values, (reach,) * 4, mode="replicate")
    top, left = reach + dy, reach + dx
    return padded[..., top : top + height, left : left + width]


@torch.no_grad()
def shifted_features(clip, pixel_values: Tensor) -> Tensor:
    """Value-path features on a grid twice as fine: [N, 4 T, D].

    Four passes over the picture moved by a quarter of a patch up or down and
    left or right, so that their patches lie half a patch apart and their
    centres are those of a grid of half the stride.
    """
    quarter = clip.model.config.vision_config.patch_size // 4
    rows = [
        torch.stack(
            [
                clip.patch_features(shift_pixels(pixel_values, dy, dx))
                for dx in (-quarter, quarter)
            ],
            1,
        )
        for dy in (-quarter, quarter)
    ]
    return interleave(torch.stack(rows, 1)).flatten(1, 2)
