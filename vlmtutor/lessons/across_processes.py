"""One batch in several processes: are loss and gradient those of one?

    python -m torch.distributed.run --standalone --nproc-per-node 2 \\
        -m vlmtutor.lessons.across_processes FILE

or :func:`start`, which does without that launcher: on Windows it cannot open
its store (PyTorch is built without libuv there).  Every process holds the same
untrained two-tower model and its own part of the batch, and talks to the others
through gloo on this machine.  DistributedDataParallel averages their gradients.
The first process also computes the whole batch alone, and prints one JSON
object: for each way to share the loss its value, the value of one process, and
how far the gradients lie apart.  FILE is the batch, in safetensors:
``pixel_values`` [B, 3, S, S] and ``input_ids`` [B, L].
"""

from __future__ import annotations

import datetime
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..models.config import FrameworkConfig
from ..models.frameworks import TwoTower
from ..objectives.contrastive import clip_loss, siglip_loss
from ..objectives.distributed import gathered_clip_loss, ring_siglip_loss

# name → the loss of one process, and that of each of several
WAYS = {
    "CLIP, gathered": (
        lambda i, t, m: clip_loss(i, t, m.scale()),
        lambda i, t, m: gathered_clip_loss(i, t, m.scale()),
    ),
    "CLIP, gathered without gradient": (
        lambda i, t, m: clip_loss(i, t, m.scale()),
        lambda i, t, m: gathered_clip_loss(i, t, m.scale(), False),
    ),
    "CLIP, each for itself": (
        lambda i, t, m: clip_loss(i, t, m.scale()),
        lambda i, t, m: clip_loss(i, t, m.scale()),
    ),
    "SigLIP, around the ring": (
        lambda i, t, m: siglip_loss(i, t, m.scale(), m.logit_bias),
        lambda i, t, m: ring_siglip_loss(i, t, m.scale(), m.logit_bias),
    ),
}


class Trained(nn.Module):
    """A model and its loss as one forward pass, as DDP asks for."""

    def __init__(self, config: FrameworkConfig, pairs: int, loss):
        super().__init__()
        self.model, self.loss = TwoTower(config), loss
        # SigLIP's start: one pair in ``pairs`` is a right one
        start = torch.tensor(-math.log(max(1, pairs - 1)))
        self.model.logit_bias = nn.Parameter(start)

    def forward(self, pixel_values: Tensor, input_ids: Tensor) -> Tensor:
        images = self.model.encode_images(pixel_values)
        texts = self.model.encode_texts(input_ids)
        return self.loss(images, texts, self.model)


def gradient(module: nn.Module, batch: dict[str, Tensor]) -> tuple:
    """(loss, gradient of all weights in one row [P])."""
    loss = module(**batch)
    loss.backward()
    rows = [
        torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten()
        for p in module.parameters()
    ]
    return loss.detach(), torch.cat(rows)


def compare(batch: dict[str, Tensor], seed: int = 0) -> list[dict]:
    """A row for each of WAYS; call it in every process of the group."""
    pairs, length = batch["input_ids"].shape
    size = dist.get_world_size()
    if pairs % size:
        raise ValueError(f"{pairs} pairs do not fill {size} processes alike")
    config = FrameworkConfig(
        int(batch["input_ids"].max()) + 1,
        text_length=length,
        image_size=batch["pixel_values"].shape[-1],
        width=64,
        image_layers=2,
        text_layers=1,
        embed_dim=64,
        seed=seed,
    )
    own = {key: x.chunk(size)[dist.get_rank()] for key, x in batch.items()}
    rows = []
    for name, (of_one, of_many) in WAYS.items():
        # SigLIP's bias has no gradient in CLIP's loss
        shared = DistributedDataParallel(
            Trained(config, pairs, of_many), find_unused_parameters=True
        )
        share, many = gradient(shared, own)
        dist.all_reduce(share)
        loss, one = gradient(Trained(config, pairs, of_one), batch)
        rows.append(
            {
                "way": name,
                "loss": (share / size).item(),
                "loss of one process": loss.item(),
                "largest gradient": one.abs().max().item(),
                "largest difference": (many - one).abs().max().item(),
                "cosine": torch.cosine_similarity(many, one, dim=0).item(),
            }
        )
    return rows


def start(file: str | Path, processes: int = 2, seconds: float = 400) -> dict:
    """What the first of so many processes on this machine prints.

    They meet through a file.  Raises RuntimeError with what the first to fail
    said, subprocess.TimeoutExpired after ``seconds``.
    """
    with tempfile.TemporaryDirectory() as folder:
        meet = (Path(folder) / "store").as_uri()
        command = [sys.executable, "-m", __name__, str(file), meet]
        known = {**os.environ, "WORLD_SIZE": str(processes), "OMP_NUM_THREADS": "1"}
        running = [
            subprocess.Popen(
                command,
                env={**known, "RANK": str(rank)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(processes)
        ]
        try:
            said = [process.communicate(timeout=seconds) for process in running]
        finally:
            for process in running:
                process.kill()
                process.wait()
    for process, (_, error) in zip(running, said, strict=True):
        if process.returncode:
            raise RuntimeError(f"the processes failed: {error[-2000:]}")
    return json.loads(said[0][0])


def main(file: str, meet: str = "env://") -> None:
    """What each process of the group does; the environment tells its rank."""
    torch.set_num_threads(1)
    # this machine alone: no name of a host has to be looked up
    local = {"linux": "lo", "darwin": "lo0"}.get(sys.platform)
    if local:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", local)
    batch = load_file(file)
    dist.init_process_group(
        "gloo",
        init_method=meet,
        rank=int(os.environ["RANK"]),
        world_size=int(os.environ["WORLD_SIZE"]),
        timeout=datetime.timedelta(seconds=60),
    )
    try:
        rows = compare(batch)
        if dist.get_rank() == 0:
            pairs, size = len(batch["input_ids"]), dist.get_world_size()
            notes = {"processes": size, "pairs": pairs, "rows": rows}
            print(json.dumps(notes), flush=True)
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
