"""A tiny bench: a CLIP with random weights and a handful of scenes."""

from __future__ import annotations

import functools

from transfer_tiny import clip

from vlmtutor.distill.bench.protocol import Bench, Bounds, Protocol

SIZES = Bounds(masks=6, captions=8, test=6)


def protocol(seed: int = 0) -> Protocol:
    return Protocol(
        seed, base=("lion", "cat", "apple"), novel=("tiger", "bee"), sizes=SIZES
    )


@functools.cache
def bench() -> Bench:
    """One bench for tests that leave it alone."""
    return Bench(clip(), protocol())
