"""A batch over two processes: the loss and the step of one."""

import os
import socket
from dataclasses import replace

import pytest
import torch
import torch.multiprocessing as mp
from test_pretrain_run import TINY, made_up_targets

from vlmtutor.pretrain import run as module
from vlmtutor.pretrain.config import PAIRS_ONLY
from vlmtutor.pretrain.run import Pretraining

# Five pictures and three mosaics: neither divides by two.
EVERYTHING = replace(
    TINY, batch_size=5, mosaics=3, bank_weight=0.5, teacher_weight=0.5, bf16=False
)
CONFIGS = {"everything": EVERYTHING, "pairs": replace(EVERYTHING, **PAIRS_ONLY)}


def step(folder, config) -> dict:
    """Terms and gradients of the second step of a run."""
    torch.set_num_threads(1)
    module.common_words, module.text_targets = list, made_up_targets
    training = Pretraining(folder, config)
    training.train_step()
    terms = training.train_step()
    named = training.trainer.named_parameters()
    gradients = {k: p.grad for k, p in named if p.grad is not None}
    return {"terms": terms, "gradients": gradients, "bank": training.trainer.bank}


def one_of_two(rank, port, folder, config):
    os.environ |= {
        "RANK": str(rank),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    found = step(folder, config)
    torch.save(found, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("name", CONFIGS)
def test_two_processes_learn_what_one_learns(tmp_path, name, monkeypatch):
    monkeypatch.setattr(module, "common_words", list)
    monkeypatch.setattr(module, "text_targets", made_up_targets)
    alone = step(tmp_path / "alone", CONFIGS[name])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.spawn(one_of_two, (port, tmp_path, CONFIGS[name]), nprocs=2)
    for rank in (0, 1):
        found = torch.load(tmp_path / f"{rank}.pt")
        assert found["terms"] == pytest.approx(alone["terms"], abs=1e-5)
        torch.testing.assert_close(found["bank"], alone["bank"], atol=1e-5, rtol=0)
        for key, gradient in alone["gradients"].items():
            torch.testing.assert_close(
                found["gradients"][key], gradient, atol=1e-5, rtol=0
            )
    some = sum(float(g.abs().sum()) for g in alone["gradients"].values())
    assert some > 1
