"""DetPro: learn the words for a detector, from crops good and bad.

Du et al. 2022, "Learning to Prompt for Open-Vocabulary Object Detection with
Vision-Language Model", arXiv 2203.14940.  Supervision: boxes of base names, and
CLIP's view of crops.  Frozen: both towers; trained: context vectors that all
names share, then ViLD's head on the learned names.  Crops that overlap a true
box by .1 to .5 are background, and should look like no name: their
probabilities are drawn to equal shares, so that no word for the background is
needed.  Crops that show a thing are taken in tiers of overlap, each with a
context of its own; the mean of their normalised class embeddings is used.
Classes, and the background, weigh as they are rare.  Simplified: three tiers,
four vectors that start from words, all negatives, ViLD's plain head.
"""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...training import minimize
from ...transfer.prompts import encode_prompts, prompt_tokens, start_context
from ...verdict import Check
from ..methods import Info
from ..parts.box_head import STEPS
from ..parts.box_regions import Lesson, lesson_of
from ..parts.box_teacher import seen_regions, taught, teach_crops
from ..parts.boxes import pairwise_iou
from ..parts.texts import text_classifier
from ..supervision import Boxed
from . import vild

TIERS = ((0.5, 0.7), (0.7, 0.85), (0.85, 1.01))  # overlap with the true box
NEGATIVE = (0.1, 0.5)  # of all tiers
PROMPT_STEPS = 60  # a tier

teach = teach_crops
INFO = Info(
    name="DetPro",
    paper="Learning to Prompt for Open-Vocabulary Object Detection with "
    "Vision-Language Model",
    year=2022,
    arxiv="2203.14940",
    table="boxes",
    needs=Boxed,
    frozen="CLIP",
    tuned="context vectors, the region half of a detector",
    simplified="three tiers; four vectors from words; a shared proposer",
    knobs={"weight": (0.5, 1.0, 4.0)},
    reading=("background",),
    uses="crops of proposals",
)
ROWS = (INFO,)


class Contexts(nn.Module):
    """One context a tier: [tiers, M, W]; called with names, it gives texts.

    The mean over tiers of [C, D], L2-normalised before and after.
    """

    def __init__(self, clip, tiers: int = len(TIERS), seed: int = 0):
        super().__init__()
        self.clip = clip
        start = start_context(clip, seed=seed)
        self.vectors = nn.Parameter(start.repeat(tiers, 1, 1))

    def of_tier(self, names: list[str], tier: int) -> Tensor:
        """Texts of names by one tier's context: [C, D]."""
        context = self.vectors[tier]
        tokens = prompt_tokens(self.clip, names, len(context))
        return encode_prompts(self.clip, tokens, context)

    def forward(self, names: list[str]) -> Tensor:
        """The mean of the tiers' texts: [C, D]."""
        texts = [self.of_tier(names, k) for k in range(len(self.vectors))]
        return F.normalize(torch.stack(texts).mean(0), dim=-1)


def prompt_loss(logits: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
    """Cross-entropy of things, and of the background with equal shares.

    ``logits`` [R, C] of names, ``labels`` [R], C being background; ``weight``
    [C + 1].  Divided by the weights' sum.
    """
    C, log_p = logits.shape[1], logits.log_softmax(-1)
    own = log_p.gather(1, labels.clamp(max=C - 1)[:, None])[:, 0]
    loss = -torch.where(labels < C, own, log_p.mean(-1))
    return (weight[labels] * loss).sum() / weight[labels].sum()


def rarity(labels: Tensor, names: int) -> Tensor:
    """What each of ``names``, and last the background, weighs: [C + 1].

    One over the share of the ``labels`` [R]; the background's counts twice.
    """
    share = torch.bincount(labels, minlength=names + 1) / len(labels)
    share[-1] *= 2
    return 1 / share.clamp(min=1 / len(labels))


def tier_of(
    lesson: Lesson, tier: tuple[float, float], names: int, background: str
) -> Tensor:
    """Rows [R'] of a lesson for one tier: its things, and the negatives.

    ``background`` "soft", or "none": then things alone.
    """
    low, high = tier
    things = (lesson.labels < names) & (lesson.overlap >= low) & (lesson.overlap < high)
    if background == "soft":
        low, high = NEGATIVE
        things = things | ((lesson.overlap >= low) & (lesson.overlap < high))
    return things.nonzero()[:, 0]


def learn_words(
    clip,
    lesson: Lesson,
    embeds: Tensor,
    names: list[str],
    *,
    background: str = "soft",
    steps: int = PROMPT_STEPS,
    seed: int = 0,
) -> Contexts:
    """Tune contexts on CLIP's views [R, D] of a lesson's regions."""
    contexts = Contexts(clip, seed=seed)
    for k, tier in enumerate(TIERS):
        rows = tier_of(lesson, tier, len(names), background)
        if not len(rows):
            continue
        E, labels = embeds[rows], lesson.labels[rows]
        weight = rarity(labels, len(names))

        def loss(part, k=k, E=E, labels=labels, weight=weight):
            logits = clip.logit_scale * E[part] @ contexts.of_tier(names, k).T
            return prompt_loss(logits, labels[part], weight)

        minimize(clip, contexts.parameters(), loss, len(rows), steps, 2e-3, 64, seed)
    return contexts.requires_grad_(False)


def fit(
    clip,
    data: Boxed,
    seed=0,
    *,
    weight=1.0,
    ground="soft",
    kind="oln",
    background="column",
    prompt_steps=PROMPT_STEPS,
    steps=STEPS,
) -> vild.ViLD:
    """Learn words, then ViLD's head on them.

    ``ground`` "soft", or "none" for a context that saw no background.
    """
    _, lesson = lesson_of(clip, data, seed, kind)
    embeds = taught(clip, data.pictures, lesson)[0]
    words = learn_words(
        clip,
        lesson,
        embeds,
        data.names,
        background=ground,
        steps=prompt_steps,
        seed=seed,
    )
    model = vild.fit(
        clip,
        data,
        seed,
        weight=weight,
        kind=kind,
        words=torch.no_grad()(words),
        background=background,
        steps=steps,
    )
    return dataclasses.replace(model, trained=model.trained + words.vectors.numel())


def checks(trial) -> list[Check]:
    bench, learned = trial.bench, trial.model(INFO)
    clip, names = bench.clip, bench.names
    texts = {"hand": text_classifier(clip, names), "learned": learned.words(names)}
    E, labels = _test_crops(trial, learned)
    ground, novel = labels < 0, labels >= len(bench.base)
    p = {k: (clip.logit_scale * E @ W.T).softmax(-1) for k, W in texts.items()}
    sure = {k: v[ground].amax(1) for k, v in p.items()}
    right = {k: (v.argmax(1) == labels)[novel].float() for k, v in p.items()}
    return [
        Check(
            "learned words help ViLD with novel names",
            trial.result(INFO),
            trial.result(INFO, prompt_steps=0),
            score="U",
        ),
        Check(
            "crops of background look less like a name",
            sure["hand"],
            sure["learned"],
        ),
        Check(
            "crops of novel things are named as well",
            right["learned"],
            right["hand"],
            at_least=True,
        ),
    ]


def _test_crops(trial, model) -> tuple[Tensor, Tensor]:
    """CLIP's view [R, D] of true boxes and of background, and labels [R].

    -1 is background: shared boxes that overlap no thing by .1.
    """
    bench = trial.bench
    pictures, truth = bench.test_pictures, bench.true_regions()
    found = model.regions(pictures)
    E = seen_regions(bench.clip, pictures, found)
    overlap = pairwise_iou(found.boxes, truth.boxes) * truth.quality[:, None]
    nothing = (found.quality > 0) & (overlap.amax(2) < NEGATIVE[0])
    things = truth.quality > 0
    own = seen_regions(bench.clip, pictures, truth)[things]
    ground = torch.full((int(nothing.sum()),), -1)
    return torch.cat([own, E[nothing]]), torch.cat([bench.true_labels(), ground])
