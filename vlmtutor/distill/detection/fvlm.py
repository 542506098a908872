"""F-VLM: train almost nothing, and ask the frozen model at test.

Kuo et al. 2022, "F-VLM: Open-Vocabulary Object Detection upon Frozen Vision and
Language Models", arXiv 2209.15639.  Supervision: boxes of base names.  Frozen:
both towers; trained: the region half of a detector on the frozen tokens.  When
predicting, CLIP's own pooling looks at the tokens inside a proposal, and its
softmax over the background and the names is multiplied with the detector's,
each with an exponent: more of the detector for base names, more of CLIP for
novel ones; the background stays the detector's.  CLIP looks at the proposal,
not at the corrected box.  Simplified: the proposer is the shared one; linear
layers; the background's text is the mean of the world's places.  Two rows:
the head from chance, as the paper has it, and from CLIP's patches.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...verdict import Check
from ..methods import Info
from ..parts.box_head import (
    STEPS,
    RegionDetector,
    RegionHead,
    box_loss,
    fit_regions,
    name_loss,
)
from ..parts.box_regions import Lesson, lesson_of
from ..parts.box_teacher import asked_regions
from ..parts.boxes import content
from ..parts.texts import background_classifier, text_classifier
from ..parts.two_stage import count
from ..pictures import once
from ..supervision import Boxed

BACKGROUND = 0.9  # its weight in the loss
RULES = ("geometric", "arithmetic", "detector", "clip")
PAPER = {"alpha": 0.35, "beta": 0.65}
READING = ("alpha", "beta", "rule")

_PAPER = {
    "paper": "F-VLM: Open-Vocabulary Object Detection upon Frozen Vision and "
    "Language Models",
    "year": 2022,
    "arxiv": "2209.15639",
    "table": "boxes",
    "needs": Boxed,
    "frozen": "CLIP",
    "tuned": "the region half of a detector",
    "simplified": "a shared proposer; linear layers; one text for the background",
    "uses": "CLIP's tokens at test",
    "knobs": {"alpha": (0.2, 0.35, 0.5), "beta": (0.45, 0.65, 0.8, 1.0)},
    "reading": READING,
    "split": True,
}
INFO = Info(name="F-VLM", **_PAPER)
NEAR = Info(name="F-VLM, from CLIP's patches", **_PAPER, settings={"near": True})
ROWS = (INFO, NEAR)


def columns(clip, names: list[str]) -> Tensor:
    """Texts of names and, last, of the background: [C + 1, D]."""
    ground = F.normalize(background_classifier(clip).mean(0), dim=0)
    return torch.cat([text_classifier(clip, names), ground[None]])


@dataclass(frozen=True, kw_only=True)
class FVLM(RegionDetector):
    """``alpha`` and ``beta``: CLIP's exponents for base and for novel names.

    ``rule`` "arithmetic" adds what "geometric" multiplies; "detector" and
    "clip" ask one of the two.  ``scale`` multiplies the detector's cosines.
    """

    scale: float = 1.0
    alpha: float = 0.35
    beta: float = 0.65
    rule: str = "geometric"

    def asked(self, found, pictures) -> Tensor:
        """CLIP's own pooling in the proposals: [N, K, D]."""
        key = "asked", content(found.boxes)
        return once(
            pictures, key, lambda: asked_regions(self.clip, pictures, found.boxes)
        )

    def opinions(self, found, pictures, names, seen):
        texts = columns(self.clip, names)
        vectors = F.normalize(self.head(found.bins, found.pooled)[0], dim=-1)
        p = (self.scale * vectors @ texts.T).softmax(-1)
        z = (self.clip.logit_scale * self.asked(found, pictures) @ texts.T).softmax(-1)
        own = self.fused(p, z, seen)
        return own, own / own.sum(-1, keepdim=True).clamp(min=1e-12)

    def fused(self, p: Tensor, z: Tensor, seen: Tensor | None) -> Tensor:
        """Two opinions [..., C + 1] as one [..., C]; ``seen`` bool [C].

        The last column is the background: CLIP's is thrown away.  Raises
        ValueError for another rule.
        """
        if self.rule not in RULES:
            raise ValueError(f"rule is one of {RULES}, not {self.rule!r}")
        ground, p, z = p[..., -1:], p[..., :-1], z[..., :-1]
        if self.rule == "detector":
            return p
        if self.rule == "clip":
            return z
        seen = torch.zeros(p.shape[-1], dtype=torch.bool) if seen is None else seen
        share = torch.where(seen, self.alpha, self.beta)
        if self.rule == "arithmetic":
            both = (1 - share) * p + share * z
        else:
            both = p.clamp(min=1e-8) ** (1 - share) * z.clamp(min=1e-8) ** share
        return both / (both.sum(-1, keepdim=True) + ground)


def region_half(
    clip, names: list[str], lesson: Lesson, seed: int, steps: int, near: bool = False
) -> tuple[RegionHead, float]:
    """A head that learned boxes of ``names`` from CLIP's states, and its scale."""
    head = RegionHead(lesson.bins.shape[1], clip.embed_dim, near=near, seed=seed)
    scale = nn.Parameter(torch.tensor(clip.logit_scale))
    texts = columns(clip, names)

    def loss(part, rows):
        vectors, shifts = head(part.bins, part.pooled)
        named = name_loss(vectors, texts, part.labels, scale, BACKGROUND)
        return named + box_loss(shifts, part, len(names))

    fit_regions([*head.parameters(), scale], lesson, loss, steps=steps, seed=seed)
    return head.requires_grad_(False), float(scale.detach())


def fit(
    clip,
    data: Boxed,
    seed=0,
    *,
    near=False,
    alpha=0.35,
    beta=0.65,
    rule="geometric",
    kind="oln",
    steps=STEPS,
) -> FVLM:
    """Train the region half on base names; CLIP is asked when predicting."""
    proposer, lesson = lesson_of(clip, data, seed, kind)
    head, scale = region_half(clip, data.names, lesson, seed, steps, near)
    return FVLM(
        clip=clip,
        proposer=proposer,
        head=head,
        trained=count(proposer, head) + 1,
        scale=scale,
        alpha=alpha,
        beta=beta,
        rule=rule,
    )


def checks(trial) -> list[Check]:
    full = trial.result(INFO)
    return [
        Check(
            "CLIP at test helps novel names",
            full,
            trial.result(INFO, rule="detector"),
            score="U",
        ),
        Check(
            "multiplying names novel things better than adding",
            full,
            trial.result(INFO, rule="arithmetic"),
            score="U",
        ),
        Check(
            "the detector helps CLIP with base names",
            full,
            trial.result(INFO, rule="clip"),
            score="S",
        ),
    ]
