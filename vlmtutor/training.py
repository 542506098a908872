"""``fit``: one training loop for all lessons.

It counts steps, not seconds, so that a busy machine changes how long a
lesson takes but not what comes out.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from .precision import bf16_products


@dataclass
class History:
    """What happened: ``loss`` a step, each term's values, evaluations.

    ``evaluations`` holds (step, value) of each call of ``evaluate``;
    ``seconds`` is the time of the steps alone, without evaluations.
    """

    loss: list[float] = field(default_factory=list)
    terms: dict[str, list[float]] = field(default_factory=dict)
    evaluations: list[tuple[int, object]] = field(default_factory=list)
    seconds: float = 0.0
    items: int = 0

    @property
    def steps(self) -> int:
        return len(self.loss)

    @property
    def items_per_second(self) -> float:
        return self.items / self.seconds if self.seconds else 0.0

    def smooth(self, window: int = 20) -> list[float]:
        """The loss, each step the mean of the last ``window``."""
        means, total = [], 0.0
        for k, value in enumerate(self.loss):
            total += value
            if k >= window:
                total -= self.loss[k - window]
            means.append(total / min(k + 1, window))
        return means


def learning_rate(
    step: int, steps: int, peak: float, warmup: int = 20, last: float = 0.02
) -> float:
    """Straight up to ``peak`` in ``warmup`` steps, then a cosine down.

    It ends at ``last`` times the peak (Loshchilov and Hutter 2016, arXiv
    1608.03983).
    """
    warmup = min(warmup, steps // 2)
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    down = (1 + math.cos(math.pi * min(1.0, done))) / 2
    return peak * (last + (1 - last) * down)


def batches(n: int, size: int, seed: int = 0) -> Iterator[Tensor]:
    """Rows of ``n`` things in batches [B], shuffled anew each epoch, forever.

    Every batch is full, so that losses of steps compare; fewer things than
    ``size`` make one batch of all.
    """
    if n < 1:
        raise ValueError("no data to train on")
    generator = torch.Generator().manual_seed(seed)
    size = min(size, n)
    while True:
        order = torch.randperm(n, generator=generator)
        for first in range(0, n - size + 1, size):
            yield order[first : first + size]


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


@contextlib.contextmanager
def torch_threads(n: int | None) -> Iterator[None]:
    """Use ``n`` torch threads inside the ``with``; None changes nothing."""
    before = torch.get_num_threads()
    if n is not None:
        torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[nn.Module]:
    """The model in evaluation mode and without gradients; then as before."""
    before = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield model
    finally:
        model.train(before)


def fit(
    model: nn.Module,
    loss: Callable[[nn.Module, object], Tensor | dict[str, Tensor]],
    data,
    steps: int,
    batch_size: int = 128,
    lr: float = 1e-3,
    warmup: int = 20,
    weight_decay: float = 0.05,
    clip_norm: float | None = 1.0,
    seed: int = 0,
    threads: int | None = None,
    evaluate: Callable[[nn.Module], object] | None = None,
    every: int = 50,
    progress: bool = True,
    name: str = "training",
    bf16: bool = False,
    optimizer: str = "adamw",
) -> History:
    """Train ``model`` in place for ``steps`` steps; the History of it.

    ``loss(model, batch)`` returns a scalar, or named terms that are added.
    ``data`` has a length and ``data.batch(index)``, as
    :class:`vlmtutor.pairs.Pairs`; or it is a tensor or a list of tensors of
    one length, and a batch is the tensor, or the list, of their rows.
    ``optimizer`` is "adamw" or "muon" (:func:`make_optimizers`), with
    :func:`learning_rate`; gradients longer than ``clip_norm`` are shortened.
    ``evaluate(model)`` is called before the first step, after each ``every``
    steps and at the end, without gradients.  ``seed`` decides the order of
    the data; nothing global changes.  ``bf16`` computes ``loss`` with
    :func:`vlmtutor.precision.bf16_products`: about 1.5 times as fast where
    the processor has them, with other last digits elsewhere.  Raises
    FloatingPointError when the loss is no longer a number.
    """
    length, take = _access(data)
    rows = batches(length, batch_size, seed)
    optimizers = make_optimizers(model, optimizer, lr, weight_decay)
    groups = [g for one in optimizers for g in one.param_groups]
    weights = [p for group in groups for p in group["params"]]
    history = History()

    def look(step: int) -> None:
        if evaluate is not None:
            with evaluating(model):
                history.evaluations.append((step, evaluate(model)))

    model.train()
    bar = tqdm(range(steps), desc=name, disable=not progress, leave=False)
    with torch_threads(threads):
        look(0)
        for step in bar:
            begun = time.perf_counter()
            for group in groups:
                group["lr"] = learning_rate(step, steps, lr, warmup)
            index = next(rows)
            with bf16_products(bf16):
                terms = loss(model, take(index))
            if not isinstance(terms, dict):
                terms = {"loss": terms}
            total = sum(terms.values())
            value = total.item()
            if not math.isfinite(value):
                raise FloatingPointError(f"the loss is {value} at step {step}")
            for one in optimizers:
                one.zero_grad(set_to_none=True)
            total.backward()
            if clip_norm is not None:
                nn.utils.clip_grad_norm_(weights, clip_norm)
            for one in optimizers:
                one.step()
            history.loss.append(value)
            for term, part in terms.items():
                history.terms.setdefault(term, []).append(part.item())
            history.items += len(index)
            history.seconds += time.perf_counter() - begun
            if step % 10 == 0:
                bar.set_postfix_str(f"loss {value:.3f}", refresh=False)
            if (step + 1) % every == 0 or step + 1 == steps:
                look(step + 1)
    return history


def _access(data) -> tuple[int, Callable[[Tensor], object]]:
    """Length of the data, and how to take rows of it."""
    if hasattr(data, "batch"):
        return len(data), data.batch
    if isinstance(data, Tensor):
        return len(data), lambda index: data[index]
    lengths = {len(part) for part in data}
    if len(lengths) != 1:
        raise ValueError(f"tensors of one length, not of {sorted(lengths)}")
    return lengths.pop(), lambda index: [part[index] for part in data]
