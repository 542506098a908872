"""Losses across processes: the same values and gradients as in one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import save_file

from vlmtutor.lessons import across_processes
from vlmtutor.objectives.contrastive import clip_loss, siglip_loss
from vlmtutor.objectives.distributed import gather, gathered_clip_loss, ring_siglip_loss

SECONDS = 90  # the most that a start of processes may take


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def random_batch(pairs: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, 20, (pairs, 6), generator=generator)
    pixels = torch.randn(pairs, 3, 24, 24, generator=generator)
    return {"pixel_values": pixels, "input_ids": ids}


def batch_in(folder) -> str:
    save_file(random_batch(12), folder / "batch.safetensors")
    return str(folder / "batch.safetensors")


def by_torchrun(processes: int, file: str) -> dict:
    """What the lesson prints when PyTorch's launcher starts it."""
    env = dict(os.environ, OMP_NUM_THREADS="1")
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        env.pop(name, None)
    place = f"--master-addr 127.0.0.1 --master-port {free_port()}"
    launch = f"-m torch.distributed.run --nproc-per-node {processes} {place}"
    lesson = "-m vlmtutor.lessons.across_processes"
    done = subprocess.run(
        [sys.executable, *launch.split(), *lesson.split(), file],
        env=env,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    file = batch_in(tmp_path_factory.mktemp("two"))
    return across_processes.start(file, seconds=SECONDS)


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    # in a ring of two, forwards and backwards are the same neighbour
    file = batch_in(tmp_path_factory.mktemp("three"))
    if sys.platform == "win32":  # the launcher asks for libuv, which is not there
        return across_processes.start(file, 3, SECONDS)
    return by_torchrun(3, file)


def row(notes, way):
    return next(r for r in notes["rows"] if r["way"] == way)


@pytest.mark.parametrize("way", ["CLIP, gathered", "SigLIP, around the ring"])
@pytest.mark.parametrize("group", ["two", "three"])
def test_loss_and_gradient_are_those_of_one_process(group, way, request):
    notes = request.getfixturevalue(group)
    found = row(notes, way)
    assert notes["pairs"] == 12
    assert found["largest gradient"] > 1e-2
    assert found["largest difference"] < 1e-5
    assert found["loss"] == pytest.approx(found["loss of one process"])


def test_without_its_gradient_the_loss_is_right_and_training_is_not(two):
    found = row(two, "CLIP, gathered without gradient")
    assert found["loss"] == pytest.approx(found["loss of one process"])
    assert found["largest difference"] > 1e-3
    assert found["cosine"] < 0.999


def test_alone_each_process_has_an_easier_task(two):
    found = row(two, "CLIP, each for itself")
    assert found["loss"] < found["loss of one process"] - 0.3
    assert found["largest difference"] > 1e-3


# One process is a group too: what needs no neighbour is tested here.


@pytest.fixture
def alone():
    dist.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{free_port()}", rank=0, world_size=1
    )
    yield
    dist.destroy_process_group()


def embeds(seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(5, 8, generator=generator)
    return torch.nn.functional.normalize(x, dim=-1).requires_grad_()


def test_a_group_of_one_computes_the_plain_losses(alone):
    images, texts = embeds(0), embeds(1)
    ours = gathered_clip_loss(images, texts, 10.0)
    assert torch.allclose(ours, clip_loss(images, texts, 10.0))
    ours = ring_siglip_loss(images, texts, 10.0, -3.0)
    assert torch.allclose(ours, siglip_loss(images, texts, 10.0, -3.0))


@pytest.mark.parametrize("gradient", [True, False])
def test_own_rows_keep_their_gradient(alone, gradient):
    x = embeds(0)
    gather(x, gradient).pow(2).sum().backward()
    assert torch.allclose(x.grad, 2 * x.detach())


def test_a_batch_that_cannot_be_shared_alike_is_refused(alone, monkeypatch):
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    with pytest.raises(ValueError, match="5 pairs do not fill 2"):
        across_processes.compare(random_batch(5))


def test_what_a_process_says_when_it_fails_is_told(tmp_path):
    with pytest.raises(RuntimeError, match="the processes failed(.|\\n)*no.file"):
        across_processes.start(tmp_path / "no.file", seconds=SECONDS)
