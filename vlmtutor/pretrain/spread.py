"""One batch over several processes, as ``torchrun`` starts them.

Every process draws and encodes its own share of the pictures and texts.  The
embeddings of all are gathered, so that each computes the whole loss; gradients
are added up.  Loss and step are those of a single process.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from ..objectives.distributed import gather


@dataclass(frozen=True)
class Spread:
    """This process among ``size``; alone, nothing is gathered or added."""

    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls, device: torch.device) -> Spread:
        """What ``torchrun`` says in the environment; joins the others."""
        size = int(os.environ.get("WORLD_SIZE", 1))
        if size == 1:
            return cls()
        if not dist.is_initialized():
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        return cls(dist.get_rank(), size)

    def rows(self, n: int) -> list[int]:
        """Which of n rows are this process' own: as many as everybody's.

        Where n does not divide, the last row is taken more than once.
        """
        each = -(-n // self.size)
        first = each * self.rank
        return [min(row, n - 1) for row in range(first, first + each)]

    def gather(self, own: Tensor, n: int) -> Tensor:
        """The n rows of all processes [n, …] from everybody's own."""
        return own if self.size == 1 else gather(own)[:n]

    def add_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Turn gradients of the whole loss by own rows into those by all rows.

        Every process went backward through the same loss, and what it gathered
        got the gradient of each: hence the mean.
        """
        if self.size == 1:
            return
        for p in parameters:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
            dist.all_reduce(p.grad)
            p.grad /= self.size


ALONE = Spread()
