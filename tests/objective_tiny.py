"""What the tests of objectives share: draws, references, comparisons."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from clip_folders import TINY
from transformers import CLIPConfig, CLIPModel

from vlmtutor.seeding import generator as rng
from vlmtutor.seeding import seeded_weights


def unit(*shape, seed=0):
    return F.normalize(torch.randn(*shape, generator=rng(seed)), dim=-1)


def leaf(tensor):
    return tensor.detach().clone().requires_grad_()


def agree(ours, theirs, inputs, atol=1e-6):
    """Two losses have one value and one gradient for each input."""
    assert torch.allclose(ours, theirs, atol=atol)
    first = torch.autograd.grad(ours, inputs, retain_graph=True)
    second = torch.autograd.grad(theirs, inputs, retain_graph=True)
    for a, b in zip(first, second, strict=True):
        assert b.abs().max() > 0
        assert torch.allclose(a, b, atol=atol, rtol=1e-5)


def finite(loss, *inputs):
    assert loss.isfinite()
    for grad in torch.autograd.grad(loss, inputs, retain_graph=True):
        assert grad.isfinite().all()


def output_of(model, seed=0, n=5):
    """What a tiny model says of pictures and texts, with its loss."""
    with seeded_weights(seed):
        return model(
            input_ids=torch.randint(3, 1999, (n, 12)),
            pixel_values=torch.randn(n, 3, 32, 32),
            return_loss=True,
        )


@functools.cache
def tiny_clip(seed=0):
    """A random CLIPModel and its output."""
    with seeded_weights(seed):
        model = CLIPModel(CLIPConfig(**TINY))
    return model, output_of(model, seed)
