"""The shipped model on a small part of the dense bench: is it fit for it?"""

from __future__ import annotations

import functools

import pytest
import torch

from vlmtutor.distill.bench import gates
from vlmtutor.distill.bench.protocol import Bench, Bounds, Protocol
from vlmtutor.distill.bench.references import true_masks
from vlmtutor.distill.parts import proposals, proposer
from vlmtutor.distill.supervision import Masked
from vlmtutor.models.hub import load_clip

# Validation scenes, never those of the tables.
SIZES = Bounds(masks=64, captions=2, test=32)


@functools.cache
def bench() -> Bench:
    protocol = Protocol(seed=8, sizes=SIZES).pseudo()
    return Bench(load_clip(), protocol)


def test_gates_are_open_for_the_shipped_model():
    figures = gates.measure(bench())
    gates.check_types(bench())
    assert gates.closed(figures) == []
    print(figures)
    assert figures["MaskCLIP raw, h"] > 0.45


@pytest.mark.parametrize("names", [False, True])
def test_proposer_finds_stickers_of_new_pictures(names):
    b = bench()
    data = b.data(Masked)
    made = proposer.train_proposer(
        b.clip, data, names=data.names if names else None, steps=50, batch_size=8
    )
    found = proposals.propose(made, b.test_pictures).binary
    truth = true_masks(b)
    a, t = found.flatten(2).float(), truth.flatten(2).float()
    inter = a @ t.transpose(1, 2)
    union = a.sum(-1)[..., None] + t.sum(-1)[:, None] - inter
    best = (inter / union.clamp(min=1)).max(1).values
    best = best[truth.flatten(2).any(2)]
    print(
        "kept",
        proposals.propose(made, b.test_pictures)
        .objectness.gt(0.5)
        .sum(1)
        .float()
        .mean(),
        "true",
        truth.flatten(2).any(2).sum(1).float().mean(),
    )
    share = (best > 0.5).float().mean()
    print(f"IoU {best.mean():.3f}, above a half {share:.3f}")
    assert torch.isfinite(best).all() and best.mean() > 0.4
