"""HierKD: crops teach the boxed things, sentences also those nobody boxed.

Ma et al. 2022, "Open-Vocabulary One-Stage Detection with Hierarchical
Visual-Language Knowledge Distillation", arXiv 2203.10593.  Supervision: boxes
of base names, and a sentence for each of the same pictures, which may speak of
anything in it.  Frozen: both towers; trained: a one-stage detector.  Instances:
a cell whose box fits gets CLIP's view of the crop.  The whole: each sentence
asks the map of vectors, reduced to 4 × 4 places, with one softmax of plain
cosines; what it gathers from its own picture should suit it more than what it
gathers from others.  The quality of a box multiplies the probability of its
name.  Simplified: one level; starts from the shared boxes; the crop is that of
the true box, not of the predicted one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.inside import as_map, as_tokens
from ...seeding import generator
from ...verdict import Check
from ..methods import Info
from ..parts.box_head import Nothing
from ..parts.box_proposer import Cells, box_losses, shared_boxes
from ..parts.box_regions import lesson_with
from ..parts.box_teacher import taught, teach_crops
from ..parts.boxes import iou
from ..parts.one_stage import (
    STEPS,
    CellDetector,
    OneStage,
    Targets,
    cosines,
    fit_cells,
    softmax_focal,
    true_targets,
)
from ..parts.texts import text_classifier
from ..parts.two_stage import count
from ..supervision import BoxedCaptioned

GRID = 4  # places across that a sentence asks
SCALE = 10.0  # of cosines of sentences
FITS = 0.5  # overlap from which on a cell is taught
PAPER = {"instance": 0.05}
NEGATIVES = 0.1  # share of cells of nothing that count in a step

teach = teach_crops
_PAPER = {
    "paper": "Open-Vocabulary One-Stage Detection with Hierarchical "
    "Visual-Language Knowledge Distillation",
    "year": 2022,
    "arxiv": "2203.10593",
    "table": "sentences",
    "needs": BoxedCaptioned,
    "frozen": "CLIP",
    "tuned": "a one-stage detector",
    "simplified": "one level; starts from the shared boxes; crops of true boxes",
    "uses": "crops of proposals",
}
INFO = Info(name="HierKD", **_PAPER, knobs={"instance": (0.05, 1.0)})
ROWS = (INFO,)


@dataclass(frozen=True, kw_only=True)
class HierKD(CellDetector):
    """``nothing`` is the background's learned vector."""

    nothing: Nothing

    def opinions(self, vectors, quality, names, seen):
        texts = text_classifier(self.clip, names)
        logits = self.clip.logit_scale * cosines(vectors, self.nothing(texts))
        own = logits.softmax(-1)[..., :-1] * quality[..., None]
        return own, logits[..., :-1].softmax(-1)


def gathered(vectors: Tensor, sentences: Tensor) -> Tensor:
    """What each sentence [B, D] gathers from each picture [N, M, D]: [N, B, D].

    Vectors of cells are reduced to 4 × 4 places by their maximum; a sentence
    weighs the unit vectors of places by one softmax of plain cosines.
    """
    places = as_tokens(F.adaptive_max_pool2d(as_map(vectors), GRID))
    places = F.normalize(places, dim=-1)  # [N, 16, D]
    weights = (places @ sentences.T).softmax(1)  # [N, 16, B]
    return F.normalize(weights.transpose(1, 2) @ places, dim=-1)


def global_loss(vectors: Tensor, sentences: Tensor) -> Tensor:
    """Pictures' vectors [B, M, D] and their sentences [B, D], both ways."""
    found = gathered(vectors, sentences)
    logits = SCALE * torch.einsum("nbd,bd->nb", found, sentences)
    own = torch.arange(len(logits))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def instance_loss(
    cells: Cells, vectors: Tensor, targets: Targets, teacher: Tensor
) -> Tensor:
    """How far cells' vectors [N, M, D] are from CLIP's view [R, D] of the crop.

    Of cells in the middle of a true box whose own box fits it.
    """
    goals = targets.boxes.gather(
        1, targets.middle.clamp(min=0)[..., None].expand(-1, -1, 4)
    )
    fits = (targets.middle >= 0) & (iou(cells.boxes.detach(), goals) >= FITS)
    if not fits.any():
        return vectors.sum() * 0
    away = F.normalize(vectors[fits], dim=-1) - teacher[targets.cell_rows()[fits]]
    return away.norm(dim=-1).mean()


def text_loss(
    vectors: Tensor, labels: Tensor, columns: Tensor, scale: float, rng
) -> Tensor:
    """Focal loss of all cells of things and of a tenth of the others.

    ``vectors`` [N, M, D], ``labels`` [N, M], ``columns`` [C + 1, D].
    """
    things = labels < len(columns) - 1
    kept = things | (torch.rand(labels.shape, generator=rng) < NEGATIVES)
    return softmax_focal(scale * cosines(vectors[kept], columns), labels[kept])


def fit(
    clip,
    data: BoxedCaptioned,
    seed=0,
    *,
    instance=0.05,
    whole=1.0,
    kind="oln",
    steps=STEPS,
) -> HierKD:
    """Train the detector; ``instance`` and ``whole`` weigh the two lessons."""
    net = OneStage(clip, shared_boxes(clip, data, seed, kind), seed)
    nothing = Nothing(clip.embed_dim, seed)
    texts, sentences = (
        text_classifier(clip, data.names),
        clip.encode_texts(data.captions),
    )
    targets, rng = true_targets(net, data), generator(seed)
    teacher = torch.zeros(sum(map(len, data.boxes)), clip.embed_dim)
    if instance:
        lesson = lesson_with(shared_boxes(clip, data, seed, kind), data)
        teacher = taught(clip, data.pictures, lesson)[0][lesson.true]

    def loss(pictures, rows):
        cells, vectors = net(pictures)
        own = targets[rows]
        labels, columns = own.cell_labels(len(texts)), nothing(texts)
        total = box_losses(cells, own.boxes, own.whole, own.middle, kind)
        total = total + text_loss(vectors, labels, columns, clip.logit_scale, rng)
        if instance:
            total = total + instance * instance_loss(cells, vectors, own, teacher)
        if whole:
            total = total + whole * global_loss(vectors, sentences[rows])
        return total

    fit_cells(
        [*net.parameters(), *nothing.parameters()], data, loss, steps=steps, seed=seed
    )
    return HierKD(
        clip=clip,
        net=net.requires_grad_(False),
        trained=count(net, nothing),
        nothing=nothing.requires_grad_(False),
    )


def checks(trial) -> list[Check]:
    full = trial.result(INFO)
    instance = trial.result(INFO, whole=0.0)
    return [
        Check(
            "crops of boxed things help novel names",
            instance,
            trial.result(INFO, whole=0.0, instance=0.0),
            score="U",
        ),
        Check("sentences help novel names", full, instance, score="U"),
        Check(
            "sentences help where only novel names compete",
            full,
            instance,
            score="U_alone",
        ),
    ]
