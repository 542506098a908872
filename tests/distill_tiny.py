"""A tiny bench: a CLIP with random weights and a handful of scenes."""

from __future__ import annotations

import dataclasses
import functools

import torch
from transfer_tiny import clip

from vlmtutor.distill.bench.box_masks import region_masks
from vlmtutor.distill.bench.boxed import BoxBench, BoxProtocol
from vlmtutor.distill.bench.protocol import Bench, Bounds, Protocol
from vlmtutor.distill.parts import box_proposer, proposer, yes_no
from vlmtutor.distill.supervision import Boxed

SIZES = Bounds(masks=6, captions=8, test=6)


def protocol(seed: int = 0) -> Protocol:
    return Protocol(
        seed, base=("lion", "cat", "apple"), novel=("tiger", "bee"), sizes=SIZES
    )


@functools.cache
def bench() -> Bench:
    """One bench for tests that leave it alone."""
    return Bench(clip(), protocol())


def box_protocol(seed: int = 0, **changes) -> BoxProtocol:
    names = {"base": ("lion", "cat", "apple"), "novel": ("tiger", "bee")}
    return BoxProtocol(seed, **names, sizes=SIZES, boxes=8, **{"pool": 20} | changes)


@functools.cache
def box_bench() -> BoxBench:
    """The same for boxes, with a proposer that has hardly learned anything."""
    bench = BoxBench(clip(), box_protocol())
    modules = (box_proposer, proposer, yes_no)
    steps = [module.STEPS for module in modules]
    for module in modules:
        module.STEPS = 2
    try:
        for kind in box_proposer.KINDS:
            bench.proposer(kind)
        region_masks(bench, bench.test_pictures)
        yes_no.shared_start(clip(), bench.data(Boxed))
    finally:
        for module, own in zip(modules, steps, strict=True):
            module.STEPS = own
    return bench.prepare()


def check_detector(fit, least: int = 0) -> None:
    """``fit()`` leaves CLIP alone, and what it returns answers to any names.

    With ``least`` boxes a picture.
    """
    before = [p.clone() for p in clip().model.parameters()]
    model, bench = fit(), box_bench()
    after = clip().model.parameters()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert model.trained > 0
    for start in (0, 3):  # all names, and the novel ones alone
        names, seen = bench.names[start:], bench.seen[start:]
        for ranking in ("own", "common"):
            asked = dataclasses.replace(model, ranking=ranking)
            found = asked.detect(bench.test_pictures, names, seen)
            assert len(found) == len(bench.test_pictures)
            for one in found:
                assert one["boxes"].shape == (len(one["scores"]), 4)
                assert len(one["scores"]) >= least
                assert all(0 <= k < len(names) for k in one["labels"].tolist())
                assert (one["scores"].diff() <= 0).all()
