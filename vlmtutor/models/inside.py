"""CLIP's vision tower, one block at a time and with its attention in the open.

What a patch keeps to itself, who looks at whom, and what in a picture speaks
for a score: attention relevance (Chefer, Gur and Wolf 2021, "Generic
Attention-model Explainability for Interpreting Bi-Modal and Encoder-Decoder
Transformers", arXiv 2103.15679).  ``clip`` is anything with a ``transformers``
CLIPModel as its ``model``.  Hidden states are numbered as in ``transformers``:
0 is what the first block reads, l what block number l (from 1) has written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

# Any function of joint embeddings, row by row: [N, D] → [N].
Score = Callable[[Tensor], Tensor]


def vision_blocks(clip) -> list:
    """The blocks of the vision tower, first to last."""
    return list(clip.model.vision_model.encoder.layers)


def first_state(model, pixel_values: Tensor) -> Tensor:
    """What the first block reads: [N, 3, S, S] → [N, 1 + T, W]."""
    vision = model.vision_model
    return vision.pre_layrnorm(vision.embeddings(pixel_values))


def _heads(attn, x: Tensor) -> Tensor:
    """[N, T, W] → [N, heads, T, W / heads]."""
    return x.unflatten(-1, (attn.num_heads, -1)).transpose(1, 2)


def _write(block, hidden: Tensor, mixed: Tensor) -> Tensor:
    """The rest of a block, from what its attention has gathered [N, T, W]."""
    hidden = hidden + block.self_attn.out_proj(mixed)
    return hidden + block.mlp(block.layer_norm2(hidden))


def attention_weights(block, hidden: Tensor, normed: Tensor | None = None) -> Tensor:
    """Who looks at whom: [N, T, W] → [N, heads, T, T], rows sum to 1.

    ``normed`` stands in for the block's first layer norm of ``hidden``.
    """
    attn = block.self_attn
    x = block.layer_norm1(hidden) if normed is None else normed
    q, k = (_heads(attn, proj(x)) for proj in (attn.q_proj, attn.k_proj))
    return (attn.scale * q @ k.transpose(-1, -2)).softmax(dim=-1)


def run_block(
    block,
    hidden: Tensor,
    attention: Tensor | None = None,
    normed: Tensor | None = None,
) -> Tensor:
    """One block: hidden [N, T, W] → [N, T, W]; gradients flow.

    ``attention`` [N, heads, T, T] (or what broadcasts to it) replaces the
    block's own; hand in :func:`attention_weights` to have its gradient.
    ``normed`` as there.
    """
    if attention is None:
        attention = attention_weights(block, hidden, normed)
    attn = block.self_attn
    normed = block.layer_norm1(hidden) if normed is None else normed
    values = _heads(attn, attn.v_proj(normed))
    return _write(block, hidden, (attention @ values).transpose(1, 2).flatten(2))


def value_path(block, hidden: Tensor) -> Tensor:
    """Each token keeps to itself: hidden [N, T, W] → [N, T, W].

    The identity takes the place of attention; residual and MLP stay (MaskCLIP:
    Zhou et al. 2022, arXiv 2112.01071).
    """
    values = block.self_attn.v_proj(block.layer_norm1(hidden))
    return _write(block, hidden, values)


def class_looks(block, hidden: Tensor) -> Tensor:
    """The block with attention for the class token alone: [N, 1 + T, W].

    One pass gives both the picture's token and, by the value path, patches.
    """
    attn, normed = block.self_attn, block.layer_norm1(hidden)
    values = attn.v_proj(normed)
    query, key = attn.q_proj(normed[:, :1]), attn.k_proj(normed)
    parts = (_heads(attn, x) for x in (query, key, values))
    mixed = F.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2)
    mixed = torch.cat([mixed.to(values.dtype), values[:, 1:]], dim=1)
    return _write(block, hidden, mixed)


def token_keys(block, hidden: Tensor) -> Tensor:
    """The keys of a block, all heads side by side: [N, T, W]."""
    return block.self_attn.k_proj(block.layer_norm1(hidden))


def read_out(clip, tokens: Tensor) -> Tensor:
    """Last hidden state [..., W] → embeddings [..., D], L2-normalised."""
    tokens = clip.model.vision_model.post_layernorm(tokens)
    return F.normalize(clip.model.visual_projection(tokens), dim=-1)


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
    """Pixels [..., S, S]: what is at (y + dy, x + dx) goes to (y, x).

    Edges are repeated.
    """
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


def attention_gradients(
    clip, hidden: Tensor, score: Score, start: int = 0
) -> tuple[list[Tensor], list[Tensor]]:
    """Each block's attention, and the gradient of a score with respect to it.

    ``hidden`` [N, 1 + T, W] is what block number ``start`` (from 0) reads;
    the score is that of the picture's embedding.  A list of
    [N, heads, 1 + T, 1 + T] each.
    """
    attentions: list[Tensor] = []
    with torch.enable_grad():
        x = hidden.detach()
        for block in vision_blocks(clip)[start:]:
            attention = attention_weights(block, x)
            if not attention.requires_grad:  # where all weights are frozen
                attention.requires_grad_()
            attentions.append(attention)
            x = run_block(block, x, attention)
        total = score(read_out(clip, x[:, 0])).sum()
        gradients = torch.autograd.grad(total, attentions)
    return [a.detach() for a in attentions], list(gradients)


def gather_relevance(
    attentions: Sequence[Tensor], gradients: Sequence[Tensor]
) -> Tensor:
    """How much each token has come to depend on each: [..., L, L].

    For each layer the attention [..., heads, L, L] times its gradient,
    without what is negative, averaged over the heads, carries on what was
    gathered before.  It starts as the identity and only grows.
    """
    first = attentions[0]
    gathered = torch.eye(first.shape[-1], device=first.device, dtype=first.dtype)
    gathered = gathered.expand(*first.shape[:-3], *gathered.shape)
    for attention, gradient in zip(attentions, gradients, strict=True):
        step = (attention * gradient).relu().mean(dim=-3)
        gathered = gathered + step @ gathered
    return gathered


def relevance(clip, hidden: Tensor, score: Score, start: int = 0) -> Tensor:
    """How much a score of the picture rests on each patch: [N, T].

    Arguments as in :func:`attention_gradients`.
    """
    found = attention_gradients(clip, hidden, score, start)
    return gather_relevance(*found)[:, 0, 1:]  # what the class token rests on
