"""Group, then name: regions first, and two opinions of what each one is.

The query branch compares what the proposer made of a region with names; the
picture branch crops the region and asks CLIP.  ZSSeg, ZegFormer and OVSeg
differ in what is shown to CLIP, how the opinions are fused, and what is
trained; see the table in each of their modules.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..pictures import DensePictures
from .fusion import background_map, calibrate, combine, fuse
from .proposals import Proposals, propose
from .proposer import Proposer
from .regions import crop_encode
from .texts import text_classifier

UNLIKELY = 0.2  # regions below it are shown to nobody
RIVAL = "classifier of pixels"  # the reference row that two stages must beat
BACKGROUND = 0.1  # weight of what no region claims: queries are modest


@dataclass(frozen=True)
class TwoStage:
    """A segmenter of regions.

    ``rule`` and ``lam``: :func:`vlmtutor.distill.parts.fusion.fuse`; ``fill``,
    ``mode``, ``margin``: :func:`vlmtutor.distill.parts.regions.region_pixels`.
    ``gamma`` is taken off the maps of seen names.  ``branch`` "query" or
    "clip" asks one branch alone.  ``refuse``: the query branch's "no object"
    stands in CLIP's softmax too.  ``prompts`` (a learner with ``text_embeds``
    for any names) replaces CLIP's hand-written texts, ``encode`` its picture
    tower.  ``background`` weighs what no region claims.
    """

    clip: object
    proposer: Proposer
    rule: str
    lam: float
    trained: int
    fill: str = "mean"
    mode: str = "cropmask"
    margin: float = 1.0
    gamma: float = 0.0
    branch: str = "both"
    refuse: bool = False
    background: float = BACKGROUND
    prompts: object = None
    encode: Callable[[Tensor, Tensor], Tensor] | None = None

    def query_logits(self, found: Proposals, names: list[str]) -> Tensor:
        """Of names and, last, of no object: [N, Q, C + 1]."""
        W = text_classifier(self.clip, names)
        nothing = F.normalize(self.proposer.nothing, dim=0)[None]
        columns = torch.cat([W, nothing])
        return self.clip.logit_scale * found.vectors @ columns.T

    def clip_logits(
        self, found: Proposals, pictures: DensePictures, names: list[str]
    ) -> tuple[Tensor, Tensor]:
        """CLIP's opinion of regions [N, Q, C], and which it was asked of."""
        asked = (found.objectness > UNLIKELY) & found.binary.any(-1).any(-1)
        E = crop_encode(
            self.clip,
            pictures.pixel_values,
            found.binary,
            self.fill,
            self.mode,
            self.margin,
            asked,
            self.encode,
        )
        if self.prompts is None:
            W = text_classifier(self.clip, names)
        else:
            W = self.prompts.with_classes(names).text_embeds()
        return self.clip.logit_scale * E @ W.T, asked

    def region_scores(self, found: Proposals, pictures, names, seen) -> Tensor:
        """What each region is: [N, Q, C], not normalised."""
        query = self.query_logits(found, names)
        p_query = query.softmax(-1)[..., :-1]
        if self.branch == "query":
            return p_query
        logits, asked = self.clip_logits(found, pictures, names)
        if self.refuse:
            logits = torch.cat([logits, query[..., -1:]], -1)
            p_clip = logits.softmax(-1)[..., :-1]
        else:
            p_clip = logits.softmax(-1)
        if self.branch == "clip":
            return p_clip * asked[..., None]
        p_clip = torch.where(asked[..., None], p_clip, 1.0)
        return fuse(p_query, p_clip, seen, self.lam, self.rule)

    def scores(self, pictures, names, seen=None) -> Tensor:
        with torch.no_grad():
            found = propose(self.proposer, pictures)
            if seen is None:
                seen = torch.zeros(len(names), dtype=torch.bool)
            p = self.region_scores(found, pictures, names, seen)
        maps = combine(p, found.masks, found.objectness)
        if self.gamma:
            maps = calibrate(maps, seen, self.gamma)
        ground = background_map(found.masks, found.objectness)
        return torch.cat([maps, self.background * ground], 1)


def count(*modules) -> int:
    """Parameters that were trained."""
    return sum(p.numel() for m in modules for p in m.parameters())
