"""What only methods that draw boxes are handed, by type: see :mod:`.supervision`.

The pool is what a search in the web would give: pictures of one thing mostly,
of anything in the world, many of them badly shown, and some with a thing that
nobody asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .supervision import Boxed, Captioned, Tagged, Unlabeled


@dataclass(frozen=True)
class Pool(Unlabeled):
    """The pool's pictures and nothing else: names are to be searched in it."""


@dataclass(frozen=True)
class TaggedPool(Tagged):
    """The pool, and which of ``names`` are in a picture; most show none."""


@dataclass(frozen=True)
class CaptionedPool(Captioned):
    """The pool, with a sentence each."""


@dataclass(frozen=True)
class Outlined(Boxed):
    """Boxes of base things with ``masks[i]``, bool [n, S, S], of what shows."""

    masks: list[Tensor]
