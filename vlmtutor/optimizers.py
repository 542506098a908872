"""What turns gradients into steps: rates, decay, AdamW and Muon."""

from __future__ import annotations

import math

import torch
from torch import nn

LAST = 0.02  # of the peak


def learning_rate(step: int, steps: int, peak: float, warmup: int = 20) -> float:
    """Straight up to ``peak`` in ``warmup`` steps, then a cosine down.

    It ends at a fiftieth of the peak (Loshchilov and Hutter 2016, arXiv
    1608.03983).
    """
    warmup = min(warmup, steps // 2)
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    down = (1 + math.cos(math.pi * min(1.0, done))) / 2
    return peak * (LAST + (1 - LAST) * down)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Weight decay for matrices; none for scales, biases, tables, places."""
    tables = {
        id(p)
        for m in model.modules()
        if isinstance(m, nn.Embedding)
        for p in m.parameters(recurse=False)
    }
    decay, rest = [], []
    for name, p in model.named_parameters():
        if not p.requires_grad:
            continue
        plain = p.ndim < 2 or id(p) in tables or "positions" in name
        (rest if plain else decay).append(p)
    return [
        {"params": decay, "weight_decay": weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]


def make_optimizers(
    model: nn.Module, optimizer: str, lr: float, weight_decay: float
) -> list[torch.optim.Optimizer]:
    """AdamW for everything, or Muon for matrices and AdamW for the rest.

    AdamW (Loshchilov and Hutter 2017, arXiv 1711.05101).  Muon (Jordan 2024,
    in the form of Liu et al. 2025, arXiv 2502.16982) makes each step of a
    matrix as long in every direction; its steps are scaled to be as large as
    AdamW's, so one ``lr`` serves both.  Three rounds of its iteration instead
    of five cost less and are as good for small matrices.  ValueError for
    another name.
    """
    if optimizer not in ("adamw", "muon"):
        raise ValueError(f"'adamw' or 'muon', not {optimizer!r}")
    groups = parameter_groups(model, weight_decay)
    made: list[torch.optim.Optimizer] = []
    if optimizer == "muon":
        matrices = [p for p in groups[0]["params"] if p.ndim == 2]
        others = [p for p in groups[0]["params"] if p.ndim != 2]
        groups[0] = groups[0] | {"params": others}
        if matrices:
            made.append(
                torch.optim.Muon(
                    matrices,
                    lr=lr,
                    weight_decay=weight_decay,
                    ns_steps=3,
                    adjust_lr_fn="match_rms_adamw",
                )
            )
    if any(group["params"] for group in groups):
        made.append(torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98), fused=True))
    return made
