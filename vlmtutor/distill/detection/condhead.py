"""CondHead: the name says how the box is to be drawn.

Wang and Li 2022, "Learning to Detect and Segment for Open Vocabulary Object
Detection", arXiv 2212.12130.  Supervision: that of its host, here ViLD: boxes
of base names, and CLIP's view of crops.  Frozen: CLIP, and in here the host;
trained: the heads that correct boxes.  A few experts, small networks, are
mixed by their weights, in shares that the text of a name decides; a second,
single layer is written by the text outright; the two corrections are averaged.
The temperature of the shares falls while training.  It learns with the true
name and is asked with each name that may be said, so that a region has another
box for each of them.  Scores are the host's.  Simplified: the host is trained
first, and its states are read; no masks; eight experts.  Rows: with one expert
and nothing written it is an ordinary head, its rival.
"""

from __future__ import annotations

import dataclasses
import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...seeding import seeded_weights
from ...verdict import Check
from ..methods import Info
from ..parts.box_head import fit_regions, lay_out
from ..parts.box_regions import lesson_of
from ..parts.box_teacher import teach_crops
from ..parts.boxes import iou, pairwise_iou, shift_to, shifted
from ..parts.texts import text_classifier
from ..parts.two_stage import count
from ..pictures import once
from ..supervision import Boxed
from . import vild

STEPS = 300
EXPERTS, INNER = 8, 32  # networks, and the width of each
SHARE = 0.6  # of the experts; the rest is what the text has written
HOT, COLD = 30.0, 1.0  # temperature of the shares, first and last
FOUND = 0.5  # overlap from which on a proposal is a thing's
KINDS = ("mixed", "nearest")

teach = teach_crops
_PAPER = {
    "paper": "Learning to Detect and Segment for Open Vocabulary Object Detection",
    "year": 2022,
    "arxiv": "2212.12130",
    "table": "boxes",
    "needs": Boxed,
    "frozen": "CLIP, and the host (ViLD)",
    "tuned": "heads that correct boxes",
    "simplified": "on a trained host; no masks; eight experts",
    "uses": "crops of proposals",
}
INFO = Info(name="CondHead", **_PAPER)
SAME = Info(
    name="CondHead, one head for all names",
    **_PAPER,
    settings={"experts": 1, "share": 1.0},
)
ROWS = (INFO, SAME)


class NamedShifts(nn.Module):
    """``net(states, texts)``: a correction for each name, [..., C, 4].

    ``states`` [..., F] of regions, ``texts`` [C, D].  ``nearest`` has an
    expert for each of the texts ``known`` [H, D], and asks that of the nearest
    one; else texts mix ``experts``.
    """

    def __init__(
        self,
        features: int,
        dim: int,
        experts: int = EXPERTS,
        share: float = SHARE,
        known: Tensor | None = None,
        seed: int = 0,
    ):
        super().__init__()
        experts = experts if known is None else len(known)
        self.share, self.heat, self.known = share, COLD, known
        with seeded_weights(seed):
            first = torch.randn(experts, features, INNER) / features**0.5
            self.mix = nn.Linear(dim, experts)
            self.write = nn.Linear(dim, 4 * (features + 1))
        self.first = nn.Parameter(first)
        self.middle = nn.Parameter(torch.zeros(experts, INNER))
        self.last = nn.Parameter(torch.zeros(experts, INNER, 4))
        self.end = nn.Parameter(torch.zeros(experts, 4))
        nn.init.normal_(self.mix.weight, std=0.02)
        # nothing is written at first: what texts of base names do not teach
        # would stay as it was drawn, and move the boxes of others
        nn.init.zeros_(self.write.weight)
        for layer in (self.mix, self.write):
            nn.init.zeros_(layer.bias)

    def shares(self, texts: Tensor) -> Tensor:
        """How much of each expert texts [C, D] take: [C, H], rows sum to 1."""
        if self.known is None:
            return (self.mix(texts) / self.heat).softmax(-1)
        nearest = (texts @ self.known.T).argmax(-1)
        return F.one_hot(nearest, len(self.known)).float()

    def forward(self, states: Tensor, texts: Tensor) -> Tensor:
        mixed = [
            torch.einsum("ch,h...->c...", self.shares(texts), weight)
            for weight in (self.first, self.middle, self.last, self.end)
        ]
        first, middle, last, end = mixed
        inner = torch.einsum("...f,cfk->...ck", states, first) + middle
        shifts = torch.einsum("...ck,ckj->...cj", F.gelu(inner), last) + end
        if self.share == 1:
            return shifts
        written = self.write(texts).unflatten(-1, (4, -1))  # [C, 4, F + 1]
        own = torch.einsum("...f,cjf->...cj", states, written[..., :-1])
        own = own + written[..., -1]
        return self.share * shifts + (1 - self.share) * own


@dataclasses.dataclass(frozen=True, kw_only=True)
class CondHead(vild.ViLD):
    """The host, with ``shifts`` that depend on the name."""

    shifts: NamedShifts

    @torch.no_grad()
    def places_for(self, found, names: list[str]) -> Tensor:
        """A box for each region and name: [N, K, C, 4]."""
        states = self.head.body(found.bins.float())
        shifts = self.shifts(states, text_classifier(self.clip, names))
        return shifted(found.boxes[:, :, None], shifts, self.clip.image_size)

    @torch.no_grad()
    def detect_in(self, found, pictures, names, seen=None) -> list[dict]:
        """In given regions, with a box of its own for each name."""
        own, belief = self.opinions(found, pictures, names, seen)
        quality = found.quality[..., None]
        scores = own if self.ranking == "own" else belief * quality
        return lay_out(self.places_for(found, names), scores * (quality > 0))


def fit(
    clip,
    data: Boxed,
    seed=0,
    *,
    experts=EXPERTS,
    share=SHARE,
    heads="mixed",
    weight=1.0,
    kind="oln",
    steps=STEPS,
) -> CondHead:
    """Train the host, once for all settings, then the heads on its states.

    ``heads`` "nearest": one of its own for each base name, and no other is
    asked than that of the name's nearest.  Raises ValueError for another kind.
    """
    if heads not in KINDS:
        raise ValueError(f"heads are one of {KINDS}, not {heads!r}")
    settings = {"weight": weight, "kind": kind, "steps": steps}
    key = "host", seed, *settings.values()
    host = once(data.pictures, key, lambda: vild.fit(clip, data, seed, **settings))
    lesson = lesson_of(clip, data, seed, kind)[1]
    texts = text_classifier(clip, data.names)
    lesson = lesson[lesson.labels < len(texts)]
    with torch.no_grad():
        states = host.head.body(lesson.bins.float())
    known = texts if heads == "nearest" else None
    sizes = states.shape[1], clip.embed_dim
    net = NamedShifts(*sizes, experts, 1.0 if known is not None else share, known, seed)
    clock = itertools.count()

    def loss(part, rows):
        net.heat = HOT + (COLD - HOT) * min(1.0, next(clock) / (0.8 * steps))
        shifts = net(states[rows], texts)[torch.arange(len(rows)), part.labels]
        wanted = shift_to(part.boxes, part.goals)
        return F.smooth_l1_loss(shifts, wanted, beta=0.1)

    fit_regions(net.parameters(), lesson, loss, steps=steps, seed=seed)
    net.heat = COLD
    fields = {f.name: getattr(host, f.name) for f in dataclasses.fields(host)}
    fields["trained"] = host.trained + count(net)
    return CondHead(**fields, shifts=net.requires_grad_(False))


def overlaps(bench, model: CondHead, wrong: int = 0) -> Tensor:
    """How well boxes of novel things fit, drawn for their names: [R].

    Of things with a proposal that overlaps them by half, the same for all
    models of a bench.  ``wrong`` names on: drawn for another novel name.
    """
    truth, found = bench.true_regions(), model.regions(bench.test_pictures)
    overlap = pairwise_iou(truth.boxes, found.boxes) * (found.quality > 0)[:, None]
    most, nearest = overlap.max(-1)
    there = truth.quality > 0
    labels = torch.full(there.shape, -1)
    labels[there] = bench.true_labels() - len(bench.base)
    picture, thing = ((labels >= 0) & (most >= FOUND)).nonzero(as_tuple=True)
    asked = (labels[picture, thing] + wrong) % len(bench.novel)
    boxes = model.places_for(found, bench.novel)
    drawn = boxes[picture, nearest[picture, thing], asked]
    return iou(drawn, truth.boxes[picture, thing])


def checks(trial) -> list[Check]:
    bench, full = trial.bench, trial.model(INFO)
    right = overlaps(bench, full)
    nearest = trial.model(INFO, heads="nearest")
    return [
        Check(
            "boxes drawn for a name fit novel things better than one head's",
            right,
            overlaps(bench, trial.model(SAME)),
        ),
        Check(
            "experts mixed by a name fit novel things better than its nearest's head",
            right,
            overlaps(bench, nearest),
        ),
        Check(
            "the right novel name draws better boxes than a wrong one",
            right,
            overlaps(bench, full, wrong=1),
        ),
    ]
