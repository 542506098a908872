"""Visual prompts: extra tokens among the patches of CLIP's image encoder.

They stand after the patches and have no position, so that the class token
keeps its place and their order means nothing.  As in the text encoder they
enter by hooks on the library's own model.  A prompt of zeros is not the same
as no prompt: it still takes its share of every softmax.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..seeding import generator
from .prompts import hooks


def start_tokens(clip, depth: int, n: int, seed: int) -> Tensor:
    """Where VPT's visual tokens start: random, [depth, n, W].

    Uniform within the bound of VPT (Jia et al. 2022, arXiv 2203.12119),
    Xavier's for the patch embedding.  In the first layer alone they cost
    accuracy before any training; :func:`class_tokens` hardly do.
    """
    config = clip.model.config.vision_config
    bound = math.sqrt(6 / (3 * config.patch_size**2 + config.hidden_size))
    shape = (depth, n, config.hidden_size)
    return bound * (2 * torch.rand(shape, generator=generator(seed)) - 1)


def class_tokens(clip, n: int) -> Tensor:
    """``n`` copies of the class token as the first layer gets it: [n, W].

    What the encoder has always read beside the patches, so that nearly the
    same comes out as without them.
    """
    embeddings = clip.model.vision_model.embeddings
    place = embeddings.position_embedding.weight[0]
    return (embeddings.class_embedding + place).detach().repeat(n, 1)


def encode_prompted(clip, pixel_values: Tensor, prompts: Sequence[Tensor]) -> Tensor:
    """pixel_values [N, 3, H, W] → image_embeds [N, D]; gradients flow.

    ``prompts[0]`` [p, W] joins the embedded patches; ``prompts[k]`` [p, W]
    takes the place of what the prompts have become before layer k, counting
    from 0.  W is the width of the image encoder.  Raises ValueError where
    there are more prompts than layers, or not equally many for each.
    """
    vision = clip.model.vision_model
    layers = vision.encoder.layers
    if len(prompts) > len(layers):
        raise ValueError(f"{len(prompts)} prompts for {len(layers)} layers")
    if len({len(p) for p in prompts}) > 1:
        raise ValueError("each layer needs the same number of prompts")

    def joined(hidden: Tensor, prompt: Tensor, keep: int) -> Tensor:
        prompt = prompt.expand(len(hidden), -1, -1)
        return torch.cat([hidden[:, :keep], prompt], dim=1)

    handles = []
    if prompts:
        handles.append(
            vision.embeddings.register_forward_hook(
                lambda module, args, hidden: joined(hidden, prompts[0], hidden.shape[1])
            )
        )
    for layer, prompt in zip(layers[1:], prompts[1:], strict=False):
        handles.append(
            layer.register_forward_pre_hook(
                lambda module, args, prompt=prompt: (
                    joined(args[0], prompt, args[0].shape[1] - len(prompt)),
                    *args[1:],
                )
            )
        )
    with hooks(*handles):
        return clip.image_features(pixel_values)
