"""OWL-ViT: every token is an object, and a name is a query.

Minderer et al. 2022, "Simple Open-Vocabulary Object Detection with Vision
Transformers", arXiv 2205.06230.  Supervision: boxes of base names.  Nothing is
frozen in the paper: both towers are tuned, the text encoder 25 times as
slowly.  There is no proposer, no pooling and no distillation.  Each token of
the last layer is multiplied with the class token and normalised, and gives a
box (a small network, added to where the token lies: the location bias) and a
vector; its cosine with the text of a name, plus a shift and times a scale of
the token's own, is the logit of that name.  Tokens and true boxes are matched
one to one; each picture is asked for the names that are in it and for some
that are not, and pays by its own number of boxes.  Simplified: of the image
encoder the last block is tuned; pictures are mirrored and not put together as
mosaics; gradients are shortened by batches.  Two rows: vectors that start from
CLIP's own patches, since twenty names from chance teach nothing about others,
and from chance as released.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...models.inside import vision_blocks
from ...naming import TEMPLATES
from ...seeding import generator
from ...training import descend
from ...verdict import Check
from ..methods import Info
from ..parts.box_head import among, lay_out
from ..parts.box_proposer import BoxProposer, shared_boxes
from ..parts.box_sets import Prices, borrowed_quality, examples, set_loss, truth_of
from ..parts.boxes import pairwise_iou
from ..parts.texts import text_classifier
from ..parts.token_head import TokenHead, look, name_logits
from ..pictures import batched
from ..supervision import Boxed

STEPS = 300
BATCH, LR = 8, 5e-4
SLOW = 1 / 25  # steps of the text encoder, as a share of the others'
ASKED = 15  # names that a picture is asked for
PRIOR = 0.01  # of a name, before training
CANDIDATES = 50  # tokens of a picture that are laid out
PRICES = Prices(alpha=0.3)
PAPER = {"overlap": 1.0}

_PAPER = {
    "paper": "Simple Open-Vocabulary Object Detection with Vision Transformers",
    "year": 2022,
    "arxiv": "2205.06230",
    "table": "boxes",
    "needs": Boxed,
    "frozen": "all but the last block of the image encoder",
    "tuned": "the last block, the text encoder slowly, heads of tokens",
    "simplified": "one block tuned; no mosaics; gradients shortened by batches",
    "knobs": {"overlap": (1.0, 0.5)},
    "reading": ("overlap",),
}
INFO = Info(name="OWL-ViT", **_PAPER)
CHANCE = Info(name="OWL-ViT, vectors from chance", **_PAPER, settings={"near": False})
ROWS = (INFO, CHANCE)


def own_copy(clip):
    """The same CLIP with weights of its own, none of which wants a gradient."""
    tuned = copy.copy(clip)
    tuned.model = copy.deepcopy(clip.model).requires_grad_(False)
    return tuned


def tower_parts(tuned) -> tuple[list[nn.Module], list[nn.Module]]:
    """What is tuned of the image encoder, and of the text encoder."""
    model = tuned.model
    vision = [vision_blocks(tuned)[-1], model.vision_model.post_layernorm]
    texts = [model.text_model, model.text_projection]
    return [*vision, model.visual_projection], texts


@dataclass(frozen=True, kw_only=True)
class OwlViT:
    """``clip`` is the tuned one; boxes of a name that overlap by more than
    ``overlap`` are one (1: nothing is suppressed, as in the paper).

    ``ranking`` as of :class:`..parts.box_head.RegionDetector`; the quality is
    that of the shared ``proposer``'s boxes that a token's overlaps.
    """

    clip: object
    head: TokenHead
    proposer: BoxProposer
    trained: int = 0
    ranking: str = "own"
    overlap: float = 1.0

    @torch.no_grad()
    def said(self, pictures) -> tuple[Tensor, ...]:
        """What all tokens of pictures say [N, T, …]: see :class:`TokenHead`."""
        parts = [
            look(self.clip, self.head, pictures[rows])
            for rows in batched(len(pictures), 32)
        ]
        return tuple(map(torch.cat, zip(*parts, strict=True)))

    @torch.no_grad()
    def detect(self, pictures, names, seen=None) -> list[dict]:
        said = self.said(pictures)
        boxes = said[0].clamp(0, self.clip.image_size)
        logits = name_logits(said, text_classifier(self.clip, names))
        scores = logits.sigmoid()
        if self.ranking == "common":
            quality = borrowed_quality(self.proposer, pictures, boxes)
            scores = among(logits) * quality[..., None]
        best = scores.amax(-1).topk(min(CANDIDATES, scores.shape[1]), 1).indices
        boxes = boxes.gather(1, best[..., None].expand(-1, -1, 4))
        scores = scores.gather(1, best[..., None].expand(-1, -1, len(names)))
        return lay_out(boxes, scores, self.overlap)


def asked_names(present: Tensor, rng: torch.Generator, most: int = ASKED) -> Tensor:
    """Names that are there, bool [N, C], and absent ones up to ``most``."""
    luck = torch.rand(present.shape, generator=rng) + present
    best = luck.topk(min(most, luck.shape[1]), 1).indices
    return present | torch.zeros_like(present).scatter(1, best, True)


def modest_start(tuned, head: TokenHead, pictures, texts: Tensor) -> None:
    """Set the shift so that names [C, D] begin with their prior, on average."""
    with torch.no_grad():
        _, vectors, _, scale = look(tuned, head, pictures)
        odds = math.log(PRIOR / (1 - PRIOR)) / scale.mean()
        head.shift.bias.fill_(odds - (vectors @ texts.T).mean())


def fit(
    clip,
    data: Boxed,
    seed=0,
    *,
    near=True,
    bias=True,
    slow=SLOW,
    overlap=1.0,
    steps=STEPS,
) -> OwlViT:
    """Tune both towers; ``slow`` is the text encoder's share of a step."""
    tuned, proposer = own_copy(clip), shared_boxes(clip, data, seed)
    head = TokenHead(clip, near, bias, seed)
    vision, texts = tower_parts(tuned)
    for module in (*vision, *(texts if slow else [])):
        module.requires_grad_(True)
    truth, rng = truth_of(data.boxes, data.labels), generator(seed)
    counted = torch.arange(len(data.names))
    data.pictures.prepare("pixel_values")
    modest_start(tuned, head, data.pictures[:16], text_classifier(clip, data.names))

    def loss(step, rows):
        pictures, own = data.pictures[rows], truth[rows]
        if step % 2:
            pictures, own = pictures.mirrored(), own.mirrored(clip.image_size)
        words = TEMPLATES[int(torch.randint(len(TEMPLATES), (), generator=rng))]
        spoken = tuned.tokenize([words.replace("{}", name) for name in data.names])
        said = look(tuned, head, pictures)
        logits = name_logits(said, tuned.text_features(spoken))
        present = ((own.labels[..., None] == counted) & own.there[..., None]).any(1)
        asked = asked_names(present, rng)
        paid, _ = set_loss(logits, said[0], own, clip.image_size, PRICES, asked)
        return (paid / own.there.sum(1).clamp(min=1)).mean()

    fast = [p for module in (head, *vision) for p in module.parameters()]
    groups = [{"params": fast}]
    if slow:
        late = [p for module in texts for p in module.parameters()]
        groups.append({"params": late, "lr": slow * LR})
    how = {"steps": steps, "lr": LR, "batch_size": BATCH, "seed": seed}
    descend(groups, loss, len(data), clip_norm=1.0, **how)
    trained = sum(p.numel() for group in groups for p in group["params"])
    for module in (head, tuned.model):
        module.requires_grad_(False)
    return OwlViT(
        clip=tuned, head=head, proposer=proposer, trained=trained, overlap=overlap
    )


def shown_by_example(bench, model: OwlViT) -> tuple[Tensor, Tensor]:
    """Whether novel things are found by a picture of another, and by luck: [R].

    The query is the vector of the token whose box overlaps the example most.
    """
    said, found = model.said(bench.test_pictures), bench.true_regions()
    there, labels = found.quality > 0, bench.true_labels()
    picture = there.nonzero()[:, 0]
    nearest = pairwise_iou(found.boxes, said[0]).argmax(-1)[there]
    vectors = said[1][picture, nearest]
    shown, others, own = examples(labels, len(bench.base))
    right = (vectors[others] @ vectors[shown].T).argmax(1) == own
    return right.float(), torch.full((len(others),), 1 / len(shown))


def checks(trial) -> list[Check]:
    full = trial.result(INFO)
    return [
        Check(
            "knowing where a token lies helps all names",
            full,
            trial.result(INFO, bias=False),
            score="all",
        ),
        Check(
            "a slow text encoder names novel things better than a fast one",
            full,
            trial.result(INFO, slow=1.0),
            score="U",
        ),
        Check(
            "a picture of a novel thing finds others",
            *shown_by_example(trial.bench, trial.model(INFO)),
        ),
    ]
