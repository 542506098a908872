"""XPM: a teacher's masks for words, and a student that knows their noise.

Huynh et al. 2021, "Open-Vocabulary Instance Segmentation via Robust
Cross-Modal Pseudo-Labeling", arXiv 2111.12698.  Supervision: boxes and masks of
base names, and other pictures with a sentence each.  Frozen: both towers;
trained: a teacher on base things, the region half of a detector that starts as
CLIP's patches, with masks that know no name; then a student that starts as its
copy.  Each noun takes the region whose vector has the largest inner product
with it, also where another noun has taken it, and the teacher's mask there.
The student expects noise in those masks: to each pixel's logit it adds as much
as it expects there, and where it expects much, boxes and names of its own count
less.  Simplified: the proposer is the shared one; linear layers; masks of
14 × 14; phrases are reduced to nouns by the world's dictionary.  Two rows: all
nouns of the sentences, or those of the list of names alone.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from scipy.stats import rankdata, zscore
from torch import Tensor

from ...seeding import generator
from ...verdict import Check
from ..box_supervision import Outlined
from ..methods import Info
from ..parts.box_head import STEPS, box_loss, fit_regions, name_loss
from ..parts.box_proposer import timed_once
from ..parts.box_regions import (
    Lesson,
    lesson_of,
    make_lesson,
    region_bins,
    timed_regions,
)
from ..parts.nouns import spoken_nouns
from ..parts.outlines import MaskHead, mask_loss, noisy_logits, outlined, pasted
from ..parts.pseudo import Pseudo
from ..parts.texts import text_classifier
from ..parts.two_stage import count
from ..supervision import Captioned
from . import vild

BACKGROUND = 0.2  # its weight in the loss
OWN = 128  # regions around its own labels, of a step
PLAIN = 10  # how much more they weigh where their noise is not known
PAPER = {"weight": 0.01}

_PAPER = {
    "paper": "Open-Vocabulary Instance Segmentation via Robust Cross-Modal "
    "Pseudo-Labeling",
    "year": 2021,
    "arxiv": "2111.12698",
    "needs": (Outlined, Captioned),
    "frozen": "CLIP",
    "tuned": "the region half of a detector, masks and their noise",
    "simplified": "a shared proposer; linear layers; masks of 14 × 14",
    "knobs": {"weight": (0.01, 0.1)},
    "uses": "patches in proposals",
}
INFO = Info(name="XPM", table="sentences", **_PAPER)
LIST = Info(name="XPM, list of names", table="list", told=("names",), **_PAPER)
ROWS = (INFO, LIST)
PARTS = dict.fromkeys((INFO.name, LIST.name), "captions")


@dataclass(frozen=True)
class Teacher:
    """Its ``model``, whose head starts as CLIP's patches, and its masks."""

    model: vild.ViLD
    masks: MaskHead


def shared_teacher(
    clip, data: Outlined, seed: int = 0, kind: str = "oln"
) -> tuple[Teacher, float]:
    """What base things teach, made once, and the seconds it took."""

    def make() -> Teacher:
        proposer, lesson = lesson_of(clip, data, seed, kind)
        start = {"weight": 0, "near": True, "steps": STEPS}
        model = vild.fit(clip, data, seed, proposer=proposer, **start)
        masks = MaskHead(lesson.bins.shape[1], seed=seed)
        things, targets = outlined(lesson, torch.cat(data.masks), len(data.names))

        def loss(part, rows):
            return mask_loss(masks(part.bins), targets[rows])

        fit_regions(masks.parameters(), things, loss, steps=STEPS, seed=seed)
        return Teacher(model, masks.requires_grad_(False))

    return timed_once(data.pictures, ("teacher of masks", seed, kind), make)


def label(
    clip, teacher: Teacher, data: Captioned, names: list[str] | None = None
) -> Pseudo:
    """A box and a mask for each noun, or for those among ``names`` alone."""
    proposer = teacher.model.proposer
    found, said = timed_regions(proposer, data.pictures)[0], spoken_nouns(data)
    if names is None:
        names = list(dict.fromkeys(word for own in said for word in own))
    place = {name: k for k, name in enumerate(names)}
    pairs = [(k, place[w]) for k, own in enumerate(said) for w in own if w in place]
    picture, word = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).unbind(1)
    with torch.no_grad():
        vectors = teacher.model.head(found.bins, found.pooled)[0]  # of any length
        scores = vectors @ text_classifier(clip, names).T
        scores = scores.masked_fill(found.quality[..., None] <= 0, -torch.inf)
        sure, region = scores[picture, :, word].max(1)
        boxes, bins = (x[picture, region] for x in (found.boxes, found.bins))
        masks = pasted(teacher.masks(bins), boxes, proposer.size)
    return Pseudo(data.pictures, names, picture, boxes, word, sure, masks)


@dataclass(frozen=True, kw_only=True)
class XPM(vild.ViLD):
    """A detector that draws the masks of its boxes itself."""

    masks: MaskHead

    @torch.no_grad()
    def detect_in(self, found, pictures, names, seen=None) -> list[dict]:
        """With "masks" bool [n, S, S] besides."""
        answers = super().detect_in(found, pictures, names, seen)
        size = self.proposer.size
        for k, one in enumerate(answers):
            one["masks"] = torch.zeros(0, size, size, dtype=torch.bool)
            if len(one["boxes"]):  # several names share a box
                boxes, place = one["boxes"].unique(dim=0, return_inverse=True)
                bins = region_bins(pictures[k : k + 1], boxes[None])[0]
                one["masks"] = pasted(self.masks(bins), boxes, size)[place]
        return answers


def teach(clip, data: tuple[Outlined, Captioned], lesson, seed: int = 0) -> float:
    """Train the teacher before the fit; the seconds it took."""
    return shared_teacher(clip, data[0], seed)[1]


def prepare(clip, data: tuple[Outlined, Captioned], lesson, seed: int = 0) -> float:
    """Make what other methods use too; the seconds it took when it was made."""
    boxed, captioned = data
    return timed_regions(lesson_of(clip, boxed, seed)[0], captioned.pictures)[1]


def fit(
    clip,
    data: tuple[Outlined, Captioned],
    seed=0,
    *,
    names=None,
    weight=0.01,
    robust=True,
    kind="oln",
    steps=STEPS,
) -> XPM:
    """Teach the student; not ``robust``, it takes its labels as they are.

    Without steps it is the teacher.
    """
    boxed, captioned = data
    teacher = shared_teacher(clip, boxed, seed, kind)[0]
    model, rng = teacher.model, generator(seed)
    proposer, lesson = lesson_of(clip, boxed, seed, kind)
    labels = label(clip, teacher, captioned, names)
    own = make_lesson(proposer, labels.beside()[0])
    head, nothing, masks = (
        copy.deepcopy(m).requires_grad_(True)
        for m in (model.head, model.nothing, teacher.masks)
    )
    base, words = (text_classifier(clip, n) for n in (boxed.names, labels.names))
    true = torch.cat(boxed.masks)

    def parts_of(part: Lesson, texts: Tensor, outlines: Tensor, noise: bool):
        """Name and box loss, mask loss, and the noise expected: sigma [R', …]."""
        vectors, shifts = head(part.bins, part.pooled)
        scale = clip.logit_scale
        named = name_loss(vectors, nothing(texts), part.labels, scale, BACKGROUND)
        named = named + box_loss(shifts, part, len(texts))
        things, targets = outlined(part, outlines, len(texts))
        if not len(things):
            return named, named * 0, None
        if not noise:
            return named, mask_loss(masks(things.bins), targets), None
        logits, sigma = noisy_logits(masks, things.bins, rng)
        return named, mask_loss(logits, targets), sigma

    def loss(part, rows):
        named, drawn, _ = parts_of(part, base, true, False)
        some = own[torch.randint(len(own), (OWN,), generator=rng)]
        guessed, guessed_masks, sigma = parts_of(some, words, labels.masks, robust)
        share = trust(sigma, weight) if robust else PLAIN * weight
        return named + drawn + share * guessed + guessed_masks

    modules = head, nothing, masks
    parameters = [p for m in modules for p in m.parameters()]
    fit_regions(parameters, lesson, loss, steps=steps, seed=seed)
    for module in modules:
        module.requires_grad_(False)
    return XPM(
        clip=clip,
        proposer=proposer,
        head=head,
        trained=count(proposer, *modules),
        words=vild.hand_words(clip),
        nothing=nothing,
        masks=masks,
        labels=labels,
    )


def trust(sigma: Tensor | None, weight: float) -> float:
    """How much names and boxes of a batch count: less where noise is expected.

    ``sigma`` [R, 14, 14], or None where nothing was drawn.
    """
    return weight if sigma is None else weight / float(sigma.detach().mean())


def checks(trial) -> list[Check]:
    plain = trial.result(INFO, robust=False)
    sure, wrong = doubts(trial.bench, trial.model(INFO))
    together = zscore(rankdata(sure)) * zscore(rankdata(wrong))
    return [
        Check(
            "students draw novel things better than their teacher",
            plain,
            trial.result(INFO, steps=0),
            score="mask_AP_U",
        ),
        Check(
            "who expects noise learns more from noisy masks",
            trial.result(INFO),
            plain,
            score="mask_AP_U",
        ),
        Check(
            "noise is expected where masks are wrong",
            together,  # whose mean is Spearman's correlation
            0 * together,
        ),
    ]


@torch.no_grad()
def doubts(bench, model: XPM) -> tuple[Tensor, Tensor]:
    """Noise expected of labels [R], and how wrong their masks are, 1 - IoU [R]."""
    labels, scenes = model.labels, bench.scenes("captions")
    bins = region_bins(labels.pictures[labels.picture], labels.boxes[:, None])[:, 0]
    sigma = (model.masks.spread(bins) / 2).exp().mean((1, 2))
    wrong = torch.ones(len(labels))
    for row, (k, name) in enumerate(
        zip(labels.picture.tolist(), labels.labels.tolist(), strict=True)
    ):
        for thing in scenes[k].objects:
            if thing.name == labels.names[name]:
                true, own = torch.from_numpy(thing.mask), labels.masks[row]
                overlap = (true & own).sum() / (true | own).sum().clamp(min=1)
                wrong[row] = min(wrong[row], 1 - overlap)
    return sigma, wrong
