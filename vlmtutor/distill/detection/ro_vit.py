"""RO-ViT: mend the encoder, so that regions are no strangers to it.

Kim et al. 2023, "Region-Aware Pretraining for Open-Vocabulary Object Detection
with Vision Transformers", arXiv 2305.07011.  A recipe of pre-training, and no
distillation.  Supervision: pictures and captions; then boxes of base names.
Frozen: the encoders, once they are trained; trained: the region half of a
detector.  In pre-training each picture's patches get positions of a part of a
larger grid, as a region's have (cropped positions), and pairs are judged one
by one, so that sure ones count little (focal loss).  The detector is F-VLM's:
the encoder looks into a proposal, and its opinion is multiplied with the
head's; a power of the proposal's quality multiplies both.  Simplified: the
encoders go on from PhraseCLIP, by the command below, for a few steps; the
class token pools, where the paper takes the mean; boxes are the shared ones.
Rows: whole positions, cropped ones, and cropped ones with the focal loss.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import torch
from torch import Tensor

from ...models.hub import load_clip
from ...objectives.alignment import pool_regions
from ...verdict import Check
from ..methods import Info
from ..parts.box_head import STEPS
from ..parts.box_regions import (
    BoxRegions,
    Lesson,
    lesson_of,
    look_into,
    region_bins,
    shared_regions,
)
from ..parts.box_teacher import asked_regions
from ..parts.texts import text_classifier
from ..parts.two_stage import count
from ..pictures import DensePictures, batched, once
from ..supervision import Boxed
from . import fvlm

FOLDER = Path("runs", "rovit")
# What each encoder changes of the recipe that all three share.
KNOBS = {
    "whole": (),
    "cropped": ("positions=cropped",),
    "focal": ("positions=cropped", "loss=sigmoid", "focus=1", "bias=-10"),
}
SHARED = ("steps=160", "batch_size=64", "lr=3e-4", "warmup=16", "curriculum=0")
SHARED += ("first_size=96", "final_share=1", "average=0.98")
BUDGET = "one pre-training of 10,240 pictures; the paper's saw billions"
PAPER = {"alpha": 0.35, "beta": 0.65}

_PAPER = {
    "paper": "Region-Aware Pretraining for Open-Vocabulary Object Detection with "
    "Vision Transformers",
    "year": 2023,
    "arxiv": "2305.07011",
    "table": "boxes",
    "needs": Boxed,
    "frozen": "the encoders, once they are trained",
    "tuned": "both encoders before; the region half of a detector",
    "simplified": "goes on from PhraseCLIP; the class token pools; shared boxes",
    "uses": "encoders of its own, whose tokens are asked at test",
    "knobs": {"alpha": (0.2, 0.35), "beta": (0.65, 1.0), "power": (0.0, 1.0)},
    "reading": ("alpha", "beta", "power"),
    "split": True,
}
INFO = Info(name="RO-ViT", **_PAPER)
CROPPED = Info(name="RO-ViT, no focal loss", **_PAPER, settings={"encoder": "cropped"})
WHOLE = Info(name="RO-ViT, whole positions", **_PAPER, settings={"encoder": "whole"})
ROWS = (INFO, CROPPED, WHOLE)


def command(encoder: str) -> str:
    """What trains an encoder, a key of :data:`KNOBS`."""
    folder = FOLDER / encoder
    sets = " ".join(f"--set {knob}" for knob in (*SHARED, *KNOBS[encoder]))
    return (
        "python -m vlmtutor pretrain --recipe phraseclip "
        "--warm-start vlmtutor/models/phraseclip "
        f"--folder {folder}/run --export {folder}/model {sets}"
    )


@functools.cache
def open_encoder(encoder: str):
    """A trained one; raises FileNotFoundError that says how it is made."""
    folder = FOLDER / encoder / "model"
    if not folder.exists():
        raise FileNotFoundError(f"no {folder}: {command(encoder)}")
    return load_clip(folder)


def seen_by(clip, pictures: DensePictures) -> DensePictures:
    """The same pictures for another CLIP, made once."""
    if pictures.clip is clip:
        return pictures
    key = "seen by", clip
    return once(pictures, key, lambda: DensePictures(clip, pictures.images))


def lesson_by(clip, pictures: DensePictures, lesson: Lesson) -> Lesson:
    """A lesson's regions, as another CLIP sees ``pictures``."""
    own, size, parts = seen_by(clip, pictures), pictures.images.shape[1], []
    own.prepare()
    for rows in batched(len(lesson), 32):
        some, boxes = own[lesson.picture[rows]], lesson.boxes[rows][:, None]
        pooled = pool_regions(some.dense, boxes / size)
        parts.append((region_bins(some, boxes)[:, 0], pooled[:, 0]))
    bins, pooled = map(torch.cat, zip(*parts, strict=True))
    return dataclasses.replace(lesson, bins=bins, pooled=pooled)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RoViT(fvlm.FVLM):
    """F-VLM on ``clip``, an encoder of its own.

    ``power`` of the proposal's quality multiplies its scores.
    """

    power: float = 1.0

    def regions(self, pictures) -> BoxRegions:
        """The shared boxes, and what its own encoder sees in them."""
        found = shared_regions(self.proposer, pictures)
        own = seen_by(self.clip, pictures)
        look = found.boxes, found.quality
        return once(own, ("regions", self.proposer), lambda: look_into(own, *look))

    def opinions(self, found: BoxRegions, pictures, names, seen):
        """As :class:`.fvlm.FVLM` has it, by its own encoder."""
        own = seen_by(self.clip, pictures)
        scores, belief = super().opinions(found, own, names, seen)
        return scores * found.quality[..., None] ** self.power, belief


def fit(
    clip,
    data: Boxed,
    seed=0,
    *,
    encoder="focal",
    alpha=0.35,
    beta=0.65,
    power=1.0,
    kind="oln",
    steps=STEPS,
) -> RoViT:
    """Train the region half on an encoder; ``clip`` gives the shared boxes."""
    tower = open_encoder(encoder)
    proposer, lesson = lesson_of(clip, data, seed, kind)
    lesson = lesson_by(tower, data.pictures, lesson)
    head, scale = fvlm.region_half(tower, data.names, lesson, seed, steps)
    return RoViT(
        clip=tower,
        proposer=proposer,
        head=head,
        trained=count(proposer, head) + 1,
        scale=scale,
        alpha=alpha,
        beta=beta,
        power=power,
    )


def named_regions(bench, encoder) -> Tensor:
    """Whether an encoder names true boxes of novel things among all names: [R]."""
    truth, own = bench.true_regions(), seen_by(encoder, bench.test_pictures)
    embeds = asked_regions(encoder, own, truth.boxes)[truth.quality > 0]
    labels = bench.true_labels()
    right = (embeds @ text_classifier(encoder, bench.names).T).argmax(1) == labels
    return right[labels >= len(bench.base)].float()


def found_pictures(bench, encoder) -> Tensor:
    """Whether a test picture is the likeliest of all for its caption: [N]."""
    texts = encoder.encode_texts([s.caption for s in bench.scenes("test")])
    pictures = seen_by(encoder, bench.test_pictures).image_embeds
    return ((texts @ pictures.T).argmax(1) == torch.arange(len(texts))).float()


def checks(trial) -> list[Check]:
    bench = trial.bench
    whole, cropped, focal = (open_encoder(name) for name in KNOBS)
    named = [named_regions(bench, encoder) for encoder in (whole, cropped, focal)]
    return [
        Check(
            "cropped positions help an encoder to name novel regions",
            named[1],
            named[0],
            budget=BUDGET,
        ),
        Check(
            "a focal loss helps it further",
            named[2],
            named[1],
            budget=BUDGET,
        ),
        Check(
            "pictures are found by their captions as well as before",
            found_pictures(bench, focal),
            found_pictures(bench, whole),
            at_least=True,
            budget=BUDGET,
        ),
    ]
