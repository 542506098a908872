"""What all transfer methods share: a learner, and a loop that tunes it."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..naming import TEMPLATES, text_classifier
from .pictures import Pictures


class TiedToClasses(TypeError):
    """The method learnt weights for its classes and knows no other names."""


class Learner(nn.Module):
    """A frozen CLIP and what a method tunes beside it; also the predictor.

    Its parameters are what is tuned and nothing else: CLIP is no submodule.
    A method overrides ``set_classes`` and ``logits``, and sets ``reads`` to
    what it takes from :class:`Pictures`.
    """

    reads: tuple[str, ...] = ("image_embeds",)
    batch_size = 256  # pictures at once when predicting
    multi_label = False

    def __init__(self, clip, classes: Sequence[str]):
        super().__init__()
        self.clip = clip
        self.set_classes(list(classes))

    def set_classes(self, classes: list[str]) -> None:
        """Compute what depends on the class names, in plain attributes."""
        self.classes = classes

    def logits(self, pictures: Pictures) -> Tensor:
        """Scores [N, C]; gradients flow."""
        raise NotImplementedError

    @torch.no_grad()
    def forward(self, pictures) -> Tensor:
        """Logits [N, C] of pictures: ``predictor(pictures)``.

        Takes :class:`Pictures` or anything they can be made of.
        """
        pictures = Pictures.of(self.clip, pictures)
        if not len(pictures):
            return torch.zeros(0, len(self.classes))
        for kind in self.reads:
            getattr(pictures, kind)  # once for all, and for later calls
        starts = range(0, len(pictures), self.batch_size)
        return torch.cat(
            [self.logits(pictures[i : i + self.batch_size]) for i in starts]
        )

    def probabilities(self, pictures) -> Tensor:
        """[N, C]: rows sum to 1, or one yes-or-no each for multi-label."""
        logits = self(pictures)
        return logits.sigmoid() if self.multi_label else logits.softmax(1)

    def with_classes(self, classes: Sequence[str]) -> Learner:
        """The same learnt parameters, for other class names.

        Raises TiedToClasses where the method cannot do that.
        """
        other = copy.copy(self)
        other.set_classes(list(classes))
        return other

    @property
    def parameters_trained(self) -> int:
        return sum(p.numel() for p in self.parameters())

    def _refuse_new_classes(self, classes: list[str]) -> None:
        """For ``set_classes`` of methods that learn weights per class."""
        if getattr(self, "classes", classes) != classes:
            name = type(self).__name__
            raise TiedToClasses(f"{name} knows only the classes it was fit on")


class ZeroShot(Learner):
    """CLIP's own classifier: the mean of prompt embeddings, per class.

    Source: Radford et al. 2021, arXiv 2103.00020.  Tunes nothing; the
    baseline that every method has to beat, and the base of the adapters.
    """

    def __init__(self, clip, classes, templates: Sequence[str] = TEMPLATES):
        self.templates = templates
        super().__init__(clip, classes)

    def set_classes(self, classes: list[str]) -> None:
        super().set_classes(classes)
        self.weights = text_classifier(self.clip, classes, self.templates)

    def logits(self, pictures: Pictures) -> Tensor:
        return self.clip.logit_scale * pictures.image_embeds @ self.weights.T


def fit_zero_shot(
    clip, pictures, labels, classes, seed: int = 0, *, templates=TEMPLATES
) -> ZeroShot:
    """The baseline in the form of a method: looks at no picture."""
    return ZeroShot(clip, classes, templates)


def fit_hand_prompt(
    clip, pictures, labels, classes, seed: int = 0, *, template="a picture of a {}"
) -> ZeroShot:
    """One sentence written by hand: where learned contexts start."""
    return ZeroShot(clip, classes, [template])


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


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@contextlib.contextmanager
def seeded_weights(seed: int) -> Iterator[None]:
    """Modules made here draw their weights from ``seed`` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def batches(n: int, batch_size: int, steps: int, seed: int) -> Iterator:
    """``steps`` batches of row numbers, every row once before any twice."""
    if n < 1:
        raise ValueError("no examples to learn from")
    generator = seeded(seed)
    rows = torch.zeros(0, dtype=torch.long)
    for _ in range(steps):
        while len(rows) < min(batch_size, n):
            rows = torch.cat([rows, torch.randperm(n, generator=generator)])
        yield rows[:batch_size]
        rows = rows[batch_size:]


def minimize(
    clip,
    parameters: Sequence[nn.Parameter],
    loss: Callable[[Tensor], Tensor],
    n: int,
    *,
    steps: int,
    lr: float,
    batch_size: int = 32,
    seed: int = 0,
    gradients: Callable = torch.autograd.grad,
) -> None:
    """Minimise ``loss(rows)`` over batches of ``n`` rows, CLIP being frozen.

    AdamW without decay, its step size going down to 0 along a cosine.
    ``gradients(loss, parameters)`` may change how a loss becomes gradients.
    """
    parameters = list(parameters)
    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    with frozen(clip):
        for rows in batches(n, batch_size, steps, seed):
            found = gradients(loss(rows), parameters)
            for parameter, gradient in zip(parameters, found, strict=True):
                parameter.grad = gradient
            optimizer.step()
            schedule.step()
    optimizer.zero_grad()


def tune(
    learner: Learner,
    pictures,
    labels,
    *,
    loss: Callable[[Pictures, Tensor], Tensor] | None = None,
    **settings,
) -> Learner:
    """Tune a learner's parameters, and only those, on labelled pictures.

    ``pictures`` is anything :class:`Pictures` takes, ``labels`` [N] or
    [N, …].  ``loss(pictures, labels)`` of a batch is the cross-entropy of the
    learner's logits unless given; ``settings`` go to :func:`minimise`.
    """
    pictures = Pictures.of(learner.clip, pictures)
    labels = torch.as_tensor(labels)
    if len(pictures) != len(labels):
        raise ValueError(f"{len(pictures)} pictures, {len(labels)} labels")
    loss = loss or (lambda x, y: F.cross_entropy(learner.logits(x), y))
    for kind in learner.reads:
        getattr(pictures, kind)  # once for all, so that batches share it
    minimize(
        learner.clip,
        list(learner.parameters()),
        lambda rows: loss(pictures[rows], labels[rows]),
        len(pictures),
        **settings,
    )
    return learner
