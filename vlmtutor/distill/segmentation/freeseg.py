"""FreeSeg: one network, three tasks; the task is a matter of words.

Qin et al. 2023, "FreeSeg: Unified, Universal and Open-Vocabulary Image
Segmentation", arXiv 2303.17225.  Frozen: both towers; trained: one proposer
for semantic, instance and panoptic regions, an attention by which its features
look at the names that are asked for, a context for all names (on crops of
base masks, first), and a context for each task.  Every step trains one task.
CLIP's opinion of crops is fused as in ZSSeg.  At test the entropy of
novel names can be lowered by moving the context (the paper has it, the
released code has not).  Simplified: the tasks' names are learned vectors
alone; one scale of features; panoptic regions are stickers and the background
as one region; fusion and tuning as said.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...models.inside import as_map, as_tokens
from ...seeding import generator, seeded_weights
from ...training import descend, frozen
from ...transfer import coop
from ...transfer.prompts import encode_prompts, prompt_tokens
from ...verdict import Check
from ..methods import Info
from ..parts.fusion import background_map, combine, fuse
from ..parts.matching import group_loss, match, matching_costs, name_loss
from ..parts.proposals import propose
from ..parts.proposer import Proposer
from ..parts.refine import shrink_labels
from ..parts.regions import crop_encode, instance_masks, region_labels
from ..parts.texts import background_classifier
from ..parts.two_stage import BACKGROUND, UNLIKELY, count
from ..pictures import once
from ..supervision import IGNORE, Masked
from .zsseg import base_crops

TASKS = ("semantic", "instance", "panoptic")
TASK_WORDS = 4  # vectors of a task's context
STEPS = 135  # of training
MOST = 5  # regions of a picture: four stickers and the background

_FACTS = {
    "paper": "FreeSeg: Unified, Universal and Open-Vocabulary Image Segmentation",
    "year": 2023,
    "arxiv": "2303.17225",
    "needs": Masked,
    "frozen": "CLIP",
    "tuned": "a proposer, contexts for names and tasks",
    "simplified": "one scale; tasks have no words but learned ones; "
    "starts from CLIP's patches",
    "reading": ("lam", "background", "tuning"),
    "split": True,
}
INFO = Info(name="FreeSeg", table="inductive", knobs={"lam": (0.6, 0.8)}, **_FACTS)
TUNED = Info(
    name="FreeSeg (tuned at test)",
    table="transductive",
    settings={"tuning": 3},
    **_FACTS,
)
ROWS = (INFO, TUNED)


class Interaction(nn.Module):
    """Features [N, d, h, w] look at texts [C, D], once and without an MLP."""

    def __init__(self, width: int, embed_dim: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.texts = nn.Linear(embed_dim, width)
        self.norm_texts = nn.LayerNorm(width)
        self.look = nn.MultiheadAttention(width, 4, batch_first=True)

    def forward(self, features: Tensor, texts: Tensor) -> Tensor:
        x = self.norm(as_tokens(features))
        t = self.norm_texts(self.texts(texts)).expand(len(x), -1, -1)
        return as_map(x + self.look(x, t, t, need_weights=False)[0])


class FreeNet(Proposer):
    """A proposer whose features have read the texts in ``self.texts``."""

    def __init__(self, clip, interact: bool, seed: int, width: int = 64):
        super().__init__(clip, width=width, named=True, seed=seed)
        self.texts = None  # [C + 1, D]: set before each call
        with seeded_weights(seed):
            self.interaction = Interaction(width, clip.embed_dim) if interact else None
            self.nothing = nn.Parameter(0.1 * torch.randn(clip.embed_dim))

    def features(self, pictures) -> Tensor:
        plain = super().features(pictures)
        if self.interaction is None:
            return plain
        return self.interaction(plain, self.texts)


class Words(nn.Module):
    """Texts of names for a task: ``words(names, task)`` [C, D].

    The task's vectors stand first, then those of all names, then the name.
    """

    def __init__(self, clip, context: Tensor, tasks: bool, seed: int):
        super().__init__()
        self.clip = [clip]
        self.register_buffer("context", context)  # learned on crops
        shape = (len(TASKS), TASK_WORDS, context.shape[1])
        with seeded_weights(seed):
            start = 0.02 * torch.randn(shape)
        self.tasks = nn.Parameter(start) if tasks else None

    def forward(
        self, names: list[str], task: str, context: Tensor | None = None
    ) -> Tensor:
        context = self.context if context is None else context
        if self.tasks is not None:
            ours = self.tasks[TASKS.index(task)]
            context = torch.cat([ours, context])
        clip = self.clip[0]
        tokens = prompt_tokens(clip, names, len(context))
        return encode_prompts(clip, tokens, context)


def task_regions(data: Masked, task: str) -> tuple[Tensor, Tensor]:
    """What is to be found: masks [N, R, S, S], and labels [N, R].

    semantic: a region a name, its stickers together; instance: a region a
    sticker; panoptic: the same, and the background (label C) as a region.
    """
    masks = instance_masks(data.regions, MOST)
    labels = region_labels(data.labels, masks)
    labels = labels.masked_fill(labels > len(data.names), IGNORE)
    if task == "semantic":
        masks, labels = masks.clone(), labels.clone()
        for r in range(1, MOST):
            for earlier in range(r):
                same = (labels[:, r] == labels[:, earlier]) & (labels[:, r] != IGNORE)
                masks[same, earlier] |= masks[same, r]
                masks[same, r] = False
                labels[same, r] = IGNORE
    if task == "panoptic":
        masks, labels = masks.clone(), labels.clone()
        masks[:, -1] = data.labels == len(data.names)
        labels[:, -1] = len(data.names)
    return masks, labels


@dataclass(frozen=True)
class FreeSeg:
    """``task`` is what the words ask for; ``tuning`` steps at test lower the
    entropy of names that had no masks."""

    clip: object
    net: FreeNet
    words: Words
    lam: float = 0.6
    background: float = BACKGROUND
    tuning: int = 0
    task: str = "semantic"

    @property
    def trained(self) -> int:
        return count(self.net, self.words) + self.words.context.numel()

    def texts(self, names, task, context=None) -> Tensor:
        """Names, and the background as the last: [C + 1, D]."""
        ground = background_classifier(self.clip).mean(0, keepdim=True)
        W = self.words(names, task, context)
        return torch.cat([W, F.normalize(ground, dim=-1)])

    def found(self, pictures, names, context=None):
        """Proposals, and each query's logits: [N, Q, C + 1 + 1]."""
        texts = self.texts(names, self.task, context)
        self.net.texts = texts
        proposals = propose(self.net, pictures)
        nothing = F.normalize(self.net.nothing, dim=0)[None]
        columns = torch.cat([texts, nothing])
        scale = self.clip.logit_scale
        return proposals, scale * proposals.vectors @ columns.T

    def scores(self, pictures, names, seen=None) -> Tensor:
        if seen is None:
            seen = torch.zeros(len(names), dtype=torch.bool)
        context = None
        if self.tuning and not seen.all():
            novel = [n for n, s in zip(names, seen, strict=True) if not s]
            context = self.tuned_context(pictures, names, novel)
        with torch.no_grad():
            proposals, logits = self.found(pictures, names, context)
            C = len(names)
            p_query = logits.softmax(-1)[..., :C]
            asked = proposals.binary.flatten(2).any(-1)
            asked &= proposals.objectness > UNLIKELY
            pixels, masks = pictures.pixel_values, proposals.binary
            E = crop_encode(self.clip, pixels, masks, "mean", "cropmask", 1.5, asked)
            W = self.words(names, self.task, context)
            p_clip = (self.clip.logit_scale * E @ W.T).softmax(-1)
            p_clip = torch.where(asked[..., None], p_clip, 1.0)
            p = fuse(p_query, p_clip, seen, self.lam, "zsseg")
        maps = combine(p, proposals.masks, proposals.objectness)
        ground = background_map(proposals.masks, proposals.objectness)
        return torch.cat([maps, self.background * ground], 1)

    def tuned_context(self, pictures, names, novel) -> Tensor:
        """The names' context [M, W] after some steps to surer novel names.

        Queries whose entropy over the novel names is below the middle one
        count; nothing but the pictures is looked at.
        """
        context = self.words.context.clone().requires_grad_(True)
        with torch.no_grad():
            proposals, _ = self.found(pictures, names)
        vectors = proposals.vectors[proposals.objectness > UNLIKELY]
        if not len(vectors):
            return context.detach()
        optimizer = torch.optim.AdamW([context], 2e-3, weight_decay=0.0)
        scale = self.clip.logit_scale
        with frozen(self.clip), torch.enable_grad():
            for _ in range(self.tuning):
                W = self.words(novel, self.task, context)
                p = (scale * vectors @ W.T).softmax(-1)
                entropy = -(p * p.clamp_min(1e-8).log()).sum(-1)
                sure = entropy <= entropy.median()
                optimizer.zero_grad()
                context.grad = torch.autograd.grad(entropy[sure].mean(), context)[0]
                optimizer.step()
        return context.detach()


def fit(
    clip,
    data: Masked,
    seed=0,
    *,
    lam=0.6,
    background=BACKGROUND,
    tuning=0,
    **training,
) -> FreeSeg:
    """:func:`train`, once for both rows; the rest matters at test alone."""
    key = "FreeSeg", seed, repr(sorted(training.items()))
    made = once(data.pictures, key, lambda: train(clip, data, seed, **training))
    return replace(made, lam=lam, background=background, tuning=tuning)


def train(
    clip,
    data: Masked,
    seed,
    *,
    tasks=TASKS,
    interact=True,
    task_words=True,
    steps=STEPS,
    prompt_steps=40,
    batch_size=16,
    lr=3e-3,
) -> FreeSeg:
    """The context of names on crops; then all else, one task a step."""
    E, labels = base_crops(clip, data, "mean", 1.5)
    learner = coop.fit(clip, E, labels, data.names, seed, steps=prompt_steps)
    words = Words(clip, learner.context.detach(), task_words, seed)
    net = FreeNet(clip, interact, seed)
    model = FreeSeg(clip, net, words)
    data.pictures.prepare("pixel_values")
    fine = net.fine
    truth = {}
    for task in tasks:
        masks, kinds = task_regions(data, task)
        small = shrink_labels(masks.flatten(0, 1), fine)
        truth[task] = small.unflatten(0, masks.shape[:2]), kinds
    parameters = [*net.parameters(), *words.parameters()]
    rng = generator(seed)

    def loss(step: int, rows: Tensor) -> Tensor:
        pick = int(torch.randint(len(tasks), (), generator=rng))
        masks, kinds = (x[rows] for x in truth[tasks[pick]])
        net.texts = texts = model.texts(data.names, tasks[pick])
        pictures = data.pictures[rows]
        if step % 2:
            pictures, masks = pictures.mirrored(), masks.flip(-1)
        outputs = net(pictures)
        exists = masks.flatten(2).any(2)
        pairs = match(matching_costs(outputs, masks), exists)
        return group_loss(outputs, masks, pairs) + name_loss(
            outputs.vectors, pairs, kinds, texts, net.nothing, clip.logit_scale
        )

    sizes = {"steps": steps, "lr": lr, "batch_size": batch_size}
    with frozen(clip):
        descend(parameters, loss, len(data), seed=seed, clip_norm=1.0, **sizes)
    net.requires_grad_(False)
    words.requires_grad_(False)
    return model


def checks(trial) -> list[Check]:
    full = trial.result(INFO)
    return [
        Check(
            "features that have read the names help novel ones",
            full,
            trial.result(INFO, interact=False),
            score="U",
        ),
        Check(
            "three tasks do semantic regions no harm at equal steps",
            full,
            trial.result(INFO, tasks=("semantic",)),
            at_least=True,
        ),
        Check(
            "words for the task do novel names no harm",
            full,
            trial.result(INFO, task_words=False),
            at_least=True,
            score="U",
        ),
        Check("tuning at test helps novel names", trial.result(TUNED), full, score="U"),
    ]
