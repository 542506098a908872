"""OV-DETR: the word is a part of the query, and the answer is yes or no.

Zang et al. 2022, "Open-Vocabulary DETR with Conditional Matching", arXiv
2203.11876.  Supervision: boxes of base names, and CLIP's view of crops.
Frozen: both towers; trained: a decoder, and two projections that turn CLIP's
vector of a name, or of a crop, into a question.  Copies of the queries are
each asked one question and do not see each other; a query says whether it
matches, where its box is, and what it was asked.  Half of the questions about
boxes are texts, half crops; questions about what is not there make up the
number.  Proposals without a name can be asked for by their crop.  Two rows: as
the paper reads, where a box without a name is only ever asked for by its own
crop; and as released, where the list of all names is known, unnamed boxes are
filed under the names that CLIP gives them, and novel names, too, are asked as
texts.  Simplified: the first stage is the shared proposer, whose ten boxes are
the queries; the bins inside a box stand for deformable attention around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...seeding import generator
from ...training import descend
from ...verdict import Check
from ..methods import Info
from ..parts.box_head import among, lay_out
from ..parts.box_proposer import BoxProposer
from ..parts.box_regions import lesson_of, shared_regions
from ..parts.box_sets import Prices, examples, set_loss, truth_of
from ..parts.box_teacher import crop_embeds, taught, teach_crops
from ..parts.boxes import pairwise_iou
from ..parts.queries import Asked, Replies, ask_all
from ..parts.questions import Questions, questions_of
from ..parts.texts import text_classifier
from ..parts.two_stage import count
from ..supervision import Boxed

STEPS = 1_000  # some fifty rounds of the pictures, as in the paper
LR = 1e-3
COPIES = 6  # questions that a picture is asked in a step
PRICES = Prices(name=3.0, near=5.0, fit=2.0)
AGAIN = 2.0  # weight of saying again what was asked
PAPER = {"overlap": 1.0}

teach = teach_crops
_PAPER = {
    "paper": "Open-Vocabulary DETR with Conditional Matching",
    "year": 2022,
    "arxiv": "2203.11876",
    "needs": Boxed,
    "frozen": "CLIP",
    "tuned": "a decoder of queries, two projections",
    "simplified": "a shared proposer gives ten queries; bins for deformable attention",
    "uses": "crops of proposals",
    "knobs": {"overlap": (1.0, 0.5)},
    "reading": ("overlap",),
}
INFO = Info(name="OV-DETR", **_PAPER, table="boxes")
LISTED = Info(name="OV-DETR, as released", **_PAPER, table="list", told=("names",))
ROWS = (INFO, LISTED)


@dataclass(frozen=True, kw_only=True)
class OvDetr:
    """``closed``: queries are asked nothing, and name what they see.

    ``scale`` multiplies the cosines of such names.  ``ranking`` as of
    :class:`..parts.box_head.RegionDetector`; boxes of a name that overlap by
    more than ``overlap`` are one.
    """

    clip: object
    net: Asked
    proposer: BoxProposer
    closed: bool = False
    trained: int = 0
    ranking: str = "own"
    overlap: float = 1.0

    def questions(self, vectors: Tensor, image: bool = False) -> Tensor:
        """What is asked about vectors [R, D] of names, or of pictures."""
        if self.closed:
            return torch.zeros(1, self.net.width)
        kind = torch.full((len(vectors),), image)
        return self.net.question(vectors, kind)

    @torch.no_grad()
    def detect(self, pictures, names, seen=None) -> list[dict]:
        found = shared_regions(self.proposer, pictures)
        texts = text_classifier(self.clip, names)
        replies = ask_all(self.net, pictures, found, self.questions(texts))
        boxes = replies.boxes.transpose(1, 2)  # [N, K, R, 4]
        logits = replies.match.transpose(1, 2)
        if self.closed:
            boxes = boxes[:, :, 0]
            logits = named(self.clip, replies, texts)[:, 0]
        own, belief = logits.sigmoid(), among(logits) * found.quality[..., None]
        scores = own if self.ranking == "own" else belief
        return lay_out(boxes, scores * (found.quality > 0)[..., None], self.overlap)


def named(clip, replies: Replies, texts: Tensor) -> Tensor:
    """Logits of names [C, D] of queries that were asked nothing: [N, R, K, C].

    Cosines times CLIP's scale, and whether there is anything.
    """
    cosines = F.normalize(replies.vectors, dim=-1) @ texts.T
    return clip.logit_scale * cosines + replies.match[..., None]


def again_loss(vectors: Tensor, asked: Tensor, pairs) -> Tensor:
    """How far matched queries' unit vectors [N, K, D] are from the question's.

    ``asked`` [N, D]; the sum of squares over ``pairs`` of
    :func:`..parts.box_sets.set_loss`.
    """
    rows, queries, _ = pairs
    return (F.normalize(vectors[rows, queries], dim=-1) - asked[rows]).square().sum()


def fit(
    clip,
    data: Boxed,
    seed=0,
    *,
    names: Sequence[str] | None = None,
    closed=False,
    copies=COPIES,
    overlap=1.0,
    kind="oln",
    steps=STEPS,
) -> OvDetr:
    """Train the decoder.

    ``names``: the list, if it is known; ``closed`` a decoder without
    questions; ``copies`` questions of a step.
    """
    proposer, lesson = lesson_of(clip, data, seed, kind)
    found = shared_regions(proposer, data.pictures)
    embeds = taught(clip, data.pictures, lesson)[0]
    texts = text_classifier(clip, names or data.names)
    asking = questions_of(lesson, embeds, texts, len(data.names), bool(names))
    net, rng = Asked(clip, found.bins.shape[-1], seed=seed), generator(seed)
    nn.init.constant_(net.match.bias, -2.0)
    base = truth_of(data.boxes, data.labels)

    def closed_loss(pictures, rows):
        none = torch.zeros(len(rows), 1, net.width)
        reply = net(pictures, found.boxes[rows], found.bins[rows], none)
        logits = named(clip, reply, texts)[:, 0]
        own = base[rows]
        paid, _ = set_loss(logits, reply.boxes[:, 0], own, clip.image_size, PRICES)
        return paid.sum() / own.there.sum().clamp(min=1)

    def loss(step, rows):
        pictures = data.pictures[rows]
        if closed:
            return closed_loss(pictures, rows)
        asked = asking.ask(rows, copies, rng)
        return question_loss(net, pictures, found, rows, asked, clip.image_size)

    how = {"steps": steps, "lr": LR, "batch_size": 16, "seed": seed}
    descend(net.parameters(), loss, len(data), clip_norm=1.0, **how)
    return OvDetr(
        clip=clip,
        net=net.requires_grad_(False),
        proposer=proposer,
        closed=closed,
        trained=count(proposer, net),
        overlap=overlap,
    )


def question_loss(
    net: Asked, pictures, found, rows: Tensor, asked: Questions, size: int
) -> Tensor:
    """What replies to R questions a picture pay, of pictures ``rows`` [N]."""
    questions = net.question(asked.vectors, asked.image)
    reply = net(pictures, found.boxes[rows], found.bins[rows], questions)
    logits, boxes, vectors = (
        part.flatten(0, 1) for part in (reply.match, reply.boxes, reply.vectors)
    )
    paid, pairs = set_loss(logits[..., None], boxes, asked.truth, size, PRICES)
    again = again_loss(vectors, asked.vectors.flatten(0, 1), pairs)
    return (paid.sum() + AGAIN * again) / asked.truth.there.sum().clamp(min=1)


def shown_by_example(bench, model: OvDetr) -> tuple[Tensor, Tensor]:
    """Whether novel things are found by a picture of another, and by luck: [R].

    The question is CLIP's view of the example's crop; a thing replies by the
    proposal that overlaps it most.
    """
    clip, pictures, truth = bench.clip, bench.test_pictures, bench.true_regions()
    there, labels = truth.quality > 0, bench.true_labels()
    shown, others, own = examples(labels, len(bench.base))
    picture, boxes = there.nonzero()[:, 0], truth.boxes[there]
    crops = pictures.pixel_values, picture[shown], boxes[shown]
    asked = model.questions(crop_embeds(clip, *crops), image=True)
    found = shared_regions(model.proposer, pictures)
    replies = ask_all(model.net, pictures, found, asked).match  # [N, E, K]
    overlap = pairwise_iou(truth.boxes, found.boxes) * (found.quality > 0)[:, None]
    nearest = overlap.argmax(-1)[there]
    said = replies[picture[others], :, nearest[others]]
    right = (said.argmax(1) == own).float()
    return right, torch.full((len(others),), 1 / len(shown))


def checks(trial) -> list[Check]:
    full = trial.result(INFO)
    return [
        Check(
            "questions find more novel things than names that are told apart",
            full,
            trial.result(INFO, closed=True),
            score="U",
        ),
        Check(
            "six questions at a time teach more than one",
            full,
            trial.result(INFO, copies=1),
            score="h",
        ),
        Check(
            "a picture of a novel thing finds others",
            *shown_by_example(trial.bench, trial.model(INFO)),
        ),
    ]
