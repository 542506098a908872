"""How long does each method of the dense bench take to fit?

    python tests/benchmarks/bench_dense_fits.py [METHOD…] --threads 2

One world seed, full size.  What methods share is made before their clocks
start: CLIP's features of the pictures, and the two shared proposers, with and
without names, whose own times are told.  A row that shares more with the row
before it (a fit that only predicts otherwise) takes no time.  The peer is the
student of the full-supervision row, trained in the same run: each time is
also told as a multiple of its time.
"""

from __future__ import annotations

import argparse
import sys
import time

import torch

from vlmtutor import load_clip, stored
from vlmtutor.distill import METHODS, get_method
from vlmtutor.distill.bench.protocol import Bench, Protocol
from vlmtutor.distill.bench.references import full_supervision
from vlmtutor.distill.bench.trial import Trial
from vlmtutor.distill.parts.proposer import shared_proposer
from vlmtutor.distill.supervision import Masked, Regions

AIM = 20.0  # seconds on two cores


def seconds_to_fit(bench: Bench, module, info, chosen: dict) -> float:
    """A row's fit, after what it shares."""
    return Trial(bench, module.fit, chosen).fit_seconds(info)


def tell(name: str, seconds: float, peer: float) -> None:
    print(f"{name:32} {seconds:6.1f} s {seconds / peer:6.2f} x", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("methods", nargs="*", metavar="METHOD")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    clip = load_clip()
    bench = Bench(clip, Protocol(args.seed)).prepare()
    masked = bench.data(Masked)
    shared = {
        "the student, full supervision": lambda: full_supervision(bench),
        "the shared proposer, with names": lambda: shared_proposer(
            clip, masked, args.seed, names=masked.names
        ),
        "the same, without names": lambda: shared_proposer(
            clip, bench.data(Regions), args.seed
        ),
    }
    peer = None
    for label, make in shared.items():
        begun = time.perf_counter()
        make()
        took = time.perf_counter() - begun
        peer = peer or took
        tell(label, took, peer)
    choices = stored.load("segmentation")["choices"]
    knobs = {choice["part"]: choice["chosen"] for choice in choices}
    slow = []
    for name in args.methods or METHODS:
        module = get_method(name)
        chosen = knobs.get(name, {})
        for info in module.ROWS:
            took = seconds_to_fit(bench, module, info, chosen)
            if took > AIM:
                slow.append(info.name)
            tell(info.name, took, peer)
        bench.forget()
    print(f"over {AIM:.0f} s: {', '.join(slow) or 'none'}")
    return bool(slow)


if __name__ == "__main__":
    sys.exit(main())
