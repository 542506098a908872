"""Group, then name: regions first, and two opinions of what each one is.

The query branch compares what the proposer made of a region with names; the
picture branch crops the region and asks CLIP.  ZSSeg, ZegFormer and OVSeg
differ in what is shown to CLIP, how the opinions are fused, and what is
trained; see the table in ZegFormer's module.
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
from .regions import crop_encode, mask_boxes
from .texts import text_classifier

ASKED = 6  # regions of a picture that are looked at, the likeliest
RIVAL = "classifier of pixels"  # the reference row that two stages must beat
BACKGROUND = 0.1  # weight of what no region claims: queries are modest


class RegionNamer:
    """A segmenter of regions: what is found, what it is called, laid out.

    Who builds on it has a ``proposer``, a ``background`` (the weight of what
    no region claims) and says with ``named`` what regions are.
    """

    gamma = 0.0  # taken off seen names

    def found(self, pictures: DensePictures, names: list[str]) -> Proposals:
        """The regions of pictures; most methods do not look at the names."""
        return propose(self.proposer, pictures)

    def named(self, found: Proposals, pictures, names, seen: Tensor) -> Tensor:
        """What each region is: [N, Q, C + 1], the background last.

        ``seen`` bool [C].  Not normalised.
        """
        raise NotImplementedError

    def lay_out(self, found: Proposals, p: Tensor, seen: Tensor) -> Tensor:
        """Names of regions [N, Q, C + 1] as maps [N, C + 1, S, S]."""
        maps = combine(p, found.masks, found.objectness)
        free = background_map(found.masks, found.objectness)
        maps = torch.cat([maps[:, :-1], maps[:, -1:] + self.background * free], 1)
        return calibrate(maps, seen, self.gamma) if self.gamma else maps

    def scores(self, pictures, names, seen=None) -> Tensor:
        seen = _of(names, seen)
        with torch.no_grad():
            found = self.found(pictures, names)
            p = self.named(found, pictures, names, seen)
        return self.lay_out(found, p, seen)

    @torch.no_grad()
    def instances(self, pictures, names, seen: Tensor | None = None) -> list[dict]:
        """Regions by their best name, one dict a picture.

        "boxes" [n, 4], "masks" bool [n, S, S], "labels" [n], "scores" [n];
        ``seen`` bool [C].
        """
        found = self.found(pictures, names)
        p = self.named(found, pictures, names, _of(names, seen))[..., :-1]
        sure, labels = (p * found.objectness[..., None]).max(-1)
        there = likely(found, found.masks.shape[1])
        return [
            {
                "boxes": mask_boxes(masks[some])[0],
                "masks": masks[some],
                "labels": label[some],
                "scores": score[some],
            }
            for masks, label, score, some in zip(
                found.binary, labels, sure, there, strict=True
            )
        ]


def _of(names: list[str], seen: Tensor | None) -> Tensor:
    """Which names are seen; none of them where nobody says."""
    return torch.zeros(len(names), dtype=torch.bool) if seen is None else seen


def likely(found: Proposals, most: int = ASKED) -> Tensor:
    """The ``most`` likely regions that are not empty: bool [N, Q].

    A number, no bar: how sure queries are differs from fit to fit.
    """
    first = torch.arange(found.objectness.shape[1]) < most
    return first & (found.objectness > 0) & found.binary.flatten(2).any(-1)


@dataclass(frozen=True)
class TwoStage(RegionNamer):
    """A segmenter of regions with two branches.

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
        shown = self.fill, self.mode, self.margin
        E, asked = crops_of(self.clip, found, pictures, *shown, self.encode)
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

    def named(self, found: Proposals, pictures, names, seen) -> Tensor:
        return F.pad(self.region_scores(found, pictures, names, seen), (0, 1))


def crops_of(
    clip, found, pictures, fill="mean", mode="cropmask", margin=1.5, encode=None
) -> tuple[Tensor, Tensor]:
    """CLIP's view of likely regions [N, Q, D], and which those are [N, Q].

    The rest as :func:`vlmtutor.distill.parts.regions.crop_encode` takes it.
    """
    asked, pixels = likely(found), pictures.pixel_values
    shown = fill, mode, margin, asked, encode
    return crop_encode(clip, pixels, found.binary, *shown), asked


def count(*modules) -> int:
    """Parameters that were trained."""
    return sum(p.numel() for m in modules for p in m.parameters())
