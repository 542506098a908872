"""The course's training loops: ``fit`` for models, two small ones for parts.

They count steps, not seconds, so that a busy machine changes how long a
lesson takes but not what comes out.  ``fit`` watches a model learn;
``minimize`` moves a few parameters beside a frozen CLIP; ``descend`` trains a
small network on what a frozen CLIP computes.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from .optimizers import learning_rate, make_optimizers
from .precision import bf16_products
from .seeding import batches, epochs


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


@contextlib.contextmanager
def frozen(clip) -> Iterator[None]:
    """No gradient reaches CLIP's own weights, and none is computed."""
    trainable = [p for p in clip.model.parameters() if p.requires_grad]
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)


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
    ``optimizer`` is "adamw" or "muon" (:func:`vlmtutor.optimizers.make_optimizers`),
    with warm-up and cosine; gradients longer than ``clip_norm`` are shortened.
    ``evaluate(model)`` is called before the first step, after each ``every``
    steps and at the end, without gradients.  ``seed`` decides the order of
    the data; nothing global changes.  ``bf16`` computes ``loss`` with
    :func:`vlmtutor.precision.bf16_products`: about 1.5 times as fast where
    the processor has them.  Raises
    FloatingPointError when the loss is no longer a number.
    """
    length, take = _access(data)
    rows = epochs(length, batch_size, seed)
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


def minimize(
    clip,
    parameters: Iterable[nn.Parameter],
    loss: Callable[[Tensor], Tensor],
    n: int,
    steps: int,
    lr: float,
    batch_size: int = 32,
    seed: int = 0,
    *,
    gradients: Callable = torch.autograd.grad,
    sgd: bool = False,
) -> list[float]:
    """Minimise ``loss(rows)`` over batches of ``n`` rows, CLIP being frozen.

    AdamW without decay, or plain gradient descent with ``sgd``; the step size
    goes down to 0 along a cosine.  ``gradients(loss, parameters)`` may change
    how a loss becomes gradients.  Returns the loss of each step, the first
    one where ``loss`` gives several.
    """
    parameters = list(parameters)
    if sgd:
        optimizer = torch.optim.SGD(parameters, lr=lr)
    else:
        optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    losses = []
    with frozen(clip):
        for rows in batches(n, batch_size, steps, seed):
            value = loss(rows)
            first = value[0] if isinstance(value, tuple) else value
            losses.append(first.item())
            found = gradients(value, parameters)
            for parameter, gradient in zip(parameters, found, strict=True):
                parameter.grad = gradient
            optimizer.step()
            schedule.step()
    optimizer.zero_grad()
    return losses


def descend(
    parameters: Iterable[nn.Parameter | dict],
    loss: Callable[[int, Tensor], Tensor],
    n: int,
    *,
    steps: int,
    lr: float,
    batch_size: int = 16,
    seed: int = 0,
    clip_norm: float | None = None,
) -> tuple[float, float]:
    """Minimise ``loss(step, rows)`` over batches of ``n`` rows, from nothing.

    AdamW with a little decay, and one cycle of the step size (Smith and Topin
    2017, arXiv 1708.07120): up within a tenth of the steps, then down to 0.
    Gradients longer than ``clip_norm`` are shortened.  Parameters may come in
    groups, {"params", "lr"}, each with a step size of its own.  Returns when
    it began, by :func:`time.perf_counter`, and the seconds it took.
    """
    begun, parameters = time.perf_counter(), list(parameters)
    optimizer = torch.optim.AdamW(parameters, lr, weight_decay=0.01)
    peaks = [group["lr"] for group in optimizer.param_groups]
    weights = [p for group in optimizer.param_groups for p in group["params"]]
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, peaks, total_steps=max(steps, 2), pct_start=0.1
    )
    for step, rows in enumerate(batches(n, batch_size, steps, seed)):
        optimizer.zero_grad()
        loss(step, rows).backward()
        if clip_norm is not None:
            nn.utils.clip_grad_norm_(weights, clip_norm)
        optimizer.step()
        schedule.step()
    return begun, time.perf_counter() - begun
