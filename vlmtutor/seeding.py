"""Every draw has a seed of its own: generators, weights, the order of data.

torch's global generator stays as it was.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor


def generator(seed: int) -> torch.Generator:
    """A generator of its own, for ``torch.randn(..., generator=…)``."""
    return torch.Generator().manual_seed(seed)


@contextlib.contextmanager
def seeded_weights(seed: int) -> Iterator[None]:
    """Modules made inside the ``with`` draw their weights from ``seed`` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def batches(n: int, batch_size: int, steps: int, seed: int) -> Iterator[Tensor]:
    """``steps`` batches [B] of row numbers, every row once before any twice.

    A batch may end one round and begin the next.  ValueError without rows.
    """
    own, rows = generator(seed), torch.zeros(0, dtype=torch.long)
    for _ in range(steps):
        while len(rows) < min(batch_size, _some(n)):
            rows = torch.cat([rows, torch.randperm(n, generator=own)])
        yield rows[:batch_size]
        rows = rows[batch_size:]


def epochs(n: int, batch_size: int, seed: int) -> Iterator[Tensor]:
    """Batches [B] of row numbers, shuffled anew each epoch, forever.

    What does not fill a batch at the end of an epoch is left out of it; fewer
    rows than ``batch_size`` make one batch of all.  ValueError without rows.
    """
    own, size = generator(seed), min(batch_size, _some(n))
    while True:
        order = torch.randperm(n, generator=own)
        for first in range(0, n - size + 1, size):
            yield order[first : first + size]


def _some(n: int) -> int:
    if n < 1:
        raise ValueError("no data to learn from")
    return n
