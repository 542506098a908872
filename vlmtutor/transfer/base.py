"""What all transfer methods share: a learner, and how it is tuned."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..naming import TEMPLATES, text_classifier
from ..training import minimize
from .pictures import Pictures

HAND_PROMPT = "a picture of a {}"


class TiedToClasses(TypeError):
    """The method learnt weights for its classes and knows no other names."""


class Learner(nn.Module):
    """A frozen CLIP and what a method tunes beside it; also the predictor.

    Its parameters are what is tuned and nothing else: CLIP is no submodule.
    A method overrides ``set_classes`` and ``logits``, and sets ``reads`` to
    what it takes from :class:`Pictures`.
    """

    reads: tuple[str, ...] = ("image_embeds",)
    losses: Sequence[float] = ()  # of the steps that tuned it
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
        """How many numbers a fit has tuned."""
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


def fit_zero_shot(clip, pictures, labels, classes, seed: int = 0) -> ZeroShot:
    """The baseline in the form of a method: looks at no picture."""
    return ZeroShot(clip, classes)


def fit_hand_prompt(clip, pictures, labels, classes, seed: int = 0) -> ZeroShot:
    """One sentence written by hand: where learned contexts start."""
    return ZeroShot(clip, classes, [HAND_PROMPT])


def tune(
    learner: Learner,
    pictures,
    labels,
    steps: int,
    lr: float,
    batch_size: int = 32,
    seed: int = 0,
    *,
    loss: Callable[[Pictures, Tensor], Tensor] | None = None,
    gradients: Callable = torch.autograd.grad,
    sgd: bool = False,
) -> Learner:
    """Tune a learner's parameters, and only those, on labelled pictures.

    ``pictures`` is anything :class:`Pictures` takes, ``labels`` [N] or
    [N, …].  ``loss(pictures, labels)`` of a batch is the cross-entropy of the
    learner's logits unless given; the rest goes to
    :func:`vlmtutor.training.minimize`, whose losses are kept in
    ``learner.losses``.  Raises ValueError where pictures and labels are not
    equally many.
    """
    pictures = Pictures.of(learner.clip, pictures)
    labels = torch.as_tensor(labels)
    if len(pictures) != len(labels):
        raise ValueError(f"{len(pictures)} pictures, {len(labels)} labels")
    loss = loss or (lambda x, y: F.cross_entropy(learner.logits(x), y))
    for kind in learner.reads:
        getattr(pictures, kind)  # once for all, so that batches share it
    learner.losses = minimize(
        learner.clip,
        learner.parameters(),
        lambda rows: loss(pictures[rows], labels[rows]),
        len(pictures),
        steps,
        lr,
        batch_size,
        seed,
        gradients=gradients,
        sgd=sgd,
    )
    return learner
