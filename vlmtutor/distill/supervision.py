"""What a method is handed: supervision by type.

A type has what it has: pictures do not know their scene, tags not their
masks.  Weaker types are made from stronger ones by dropping fields, so what a
method was not given cannot be reached from what it was.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .pictures import DensePictures

IGNORE = 255  # the label of pixels that do not count


@dataclass(frozen=True)
class Unlabeled:
    """Pictures and nothing else."""

    pictures: DensePictures

    def __len__(self) -> int:
        return len(self.pictures)

    def unlabeled(self) -> Unlabeled:
        """The pictures alone."""
        return Unlabeled(self.pictures)


@dataclass(frozen=True)
class Captioned(Unlabeled):
    """Pictures with a sentence each.

    ``spans[i]`` has the (start, end) of each phrase that names stickers, in
    the order of the sentence; the sentence is all they were found by.
    """

    captions: list[str]
    spans: list[tuple[tuple[int, int], ...]]

    def phrases(self) -> list[list[str]]:
        """The phrases that name stickers, per picture."""
        return [
            [text[a:b] for a, b in spans]
            for text, spans in zip(self.captions, self.spans, strict=True)
        ]


@dataclass(frozen=True)
class Tagged(Unlabeled):
    """Pictures and which of ``names`` are in them: ``tags`` bool [N, C]."""

    tags: Tensor
    names: list[str]


@dataclass(frozen=True)
class Regions(Unlabeled):
    """Class-agnostic masks: ``regions`` [N, S, S], -1 where there is none.

    Numbers tell the regions of one picture apart and mean nothing else.
    """

    regions: Tensor


@dataclass(frozen=True)
class Masked(Unlabeled):
    """Pictures with named masks.

    ``labels`` [N, S, S] index ``names``; len(names) is background, 255 does
    not count.  ``regions`` as in :class:`Regions`.
    """

    labels: Tensor
    regions: Tensor
    names: list[str]

    def regions_only(self) -> Regions:
        """The masks without their names."""
        return Regions(self.pictures, self.regions)

    def tagged(self) -> Tagged:
        """The names without their masks."""
        return Tagged(self.pictures, tags_of(self.labels, len(self.names)), self.names)


@dataclass(frozen=True)
class Partial(Masked):
    """Masks of base classes in pictures that hold novel stickers too.

    The pixels of novel stickers are 255 and in no region: the transductive
    setting, where a method is also told the novel names.
    """


@dataclass(frozen=True)
class Boxed(Unlabeled):
    """Pictures with named boxes, of base classes alone.

    ``boxes[i]`` [n, 4] are (x0, y0, x1, y1) in pixels, ``labels[i]`` [n] index
    ``names``.  Things of other classes stand in the pictures, too, and
    nothing tells where.
    """

    boxes: list[Tensor]
    labels: list[Tensor]
    names: list[str]


@dataclass(frozen=True)
class BoxedCaptioned(Boxed):
    """The same, with a sentence each that may speak of anything in it."""

    captions: list[str]


def tags_of(labels: Tensor, classes: int) -> Tensor:
    """Which classes occur in label maps [N, S, S]: bool [N, classes]."""
    one_hot = labels.flatten(1)[:, :, None] == torch.arange(classes)
    return one_hot.any(dim=1)
