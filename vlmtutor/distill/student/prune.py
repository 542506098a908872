"""A narrower picture tower: the neurons of its MLPs that say least go.

TinyCLIP inherits weights along the width, too (Wu et al. 2023, arXiv
2309.12314); it learns a mask for what may go, here a few pictures tell.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from ...models.clip import Clip


def fewer_neurons(clip: Clip, keep: int, pixel_values: Tensor) -> Clip:
    """The CLIP with only ``keep`` hidden neurons in each MLP of its pictures.

    Those stay whose output changes most from patch to patch, over
    ``pixel_values`` [N, 3, S, S]: the variance of a neuron times the squared
    length of what it writes.  The others become constants, their means, and
    are added to the bias.  Raises ValueError if there are not as many.
    """
    config = copy.deepcopy(clip.model.config)
    there = config.vision_config.intermediate_size
    if not 0 < keep <= there:
        raise ValueError(f"the MLPs have {there} neurons, not {keep}")
    config.vision_config.intermediate_size = keep
    said = _neurons(clip, pixel_values)
    state = clip.model.state_dict()
    for layer, hidden in enumerate(said):
        stem = f"vision_model.encoder.layers.{layer}.mlp."
        writes = state[stem + "fc2.weight"]  # [W, neurons]
        says = hidden.var(dim=0) * writes.square().sum(dim=0)
        order = says.argsort(descending=True)
        stay, go = order[:keep].sort().values, order[keep:]
        state[stem + "fc2.bias"] = state[stem + "fc2.bias"] + (
            writes[:, go] @ hidden.mean(dim=0)[go]
        )
        state[stem + "fc2.weight"] = writes[:, stay]
        for name in ("fc1.weight", "fc1.bias"):
            state[stem + name] = state[stem + name][stay]
    model = type(clip.model)(config)
    model.set_attn_implementation("sdpa")
    model.load_state_dict(state)
    free = {n: p.requires_grad for n, p in clip.model.named_parameters()}
    for name, weight in model.named_parameters():
        weight.requires_grad_(free[name])
    return Clip(model, clip.tokenizer, clip.image_settings, clip.name)


@torch.no_grad()
def _neurons(clip: Clip, pixel_values: Tensor) -> list[Tensor]:
    """What the neurons of each layer say for each token: [N (1 + T), F]."""
    found, hooks = [], []
    for block in clip.model.vision_model.encoder.layers:
        hooks.append(
            block.mlp.fc2.register_forward_pre_hook(
                lambda _, inputs: found.append(inputs[0].flatten(0, 1))
            )
        )
    try:
        clip.model.vision_model(pixel_values=pixel_values)
    finally:
        for hook in hooks:
            hook.remove()
    return found
