"""FreeSeg: one network, three tasks; the task is a matter of words.

Qin et al. 2023, "FreeSeg: Unified, Universal and Open-Vocabulary Image
Segmentation", arXiv 2303.17225.  Frozen: both towers; trained: one proposer
for semantic, instance and panoptic regions, an attention by which its features
look at the names that are asked for, a context for all names (on crops of
base masks, first), and a context for each task.  Every step trains one task.
CLIP's opinion of crops is fused as in ZSSeg.  At test the entropy of
novel names can be lowered by moving the context (the paper has it, the
released code has not).  Simplified: the tasks' names are learned vectors
alone; one scale of features; the background is one region, and since what all
stickers share must not be learned from it, a query of its own draws it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...models.inside import as_map, as_tokens
from ...seeding import generator, seeded_weights
from ...training import descend, frozen
from ...verdict import Check
from ..methods import STEPS, Info
from ..parts.fusion import fuse
from ..parts.matching import group_loss, name_loss
from ..parts.proposals import Proposals, propose
from ..parts.proposer import Proposer
from ..parts.refine import shrink_labels
from ..parts.task_regions import pairs_of, task_regions
from ..parts.task_words import TASKS, Words
from ..parts.texts import background_classifier
from ..parts.two_stage import BACKGROUND, RegionNamer, count, crops_of, likely
from ..pictures import once
from ..supervision import Masked
from .zsseg import LAMS, crop_prompt

INFO = Info(
    name="FreeSeg",
    paper="FreeSeg: Unified, Universal and Open-Vocabulary Image Segmentation",
    year=2023,
    arxiv="2303.17225",
    table="inductive",
    needs=Masked,
    frozen="CLIP",
    tuned="a proposer, contexts for names and tasks",
    simplified="one scale; tasks have no words but learned ones; "
    "starts from CLIP's patches",
    knobs={"steps": STEPS, "lam": LAMS, "background": (0.03, 0.1, 0.3)},
    reading=("lam", "background", "tuning"),
    start={"steps": 0, "prompt_steps": 0},
    split=True,
)
TUNED = replace(
    INFO,
    name="FreeSeg (tuned at test)",
    table="transductive",
    settings={"tuning": 3},
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
    """A proposer whose features have read the texts in ``self.texts``.

    Without ``interact`` they are normed as they would be, and read nothing.
    Its last query is for the background: it has no place, no blob, and no
    part in what stickers share.  ``things`` leaves it out.
    """

    def __init__(self, clip, interact: bool, seed: int, width: int = 64):
        super().__init__(clip, width=width, named=True, seed=seed)
        self.texts = None  # [C + 1, D]: set before each call
        self.things = False
        with seeded_weights(seed):
            self.nothing = nn.Parameter(0.1 * torch.randn(clip.embed_dim))
            self.stuff = nn.Parameter(0.02 * torch.randn(2, 1, width))
            self.interaction = Interaction(width, clip.embed_dim) if interact else None
        self.level = None if interact else nn.LayerNorm(width)

    @property
    def queries(self) -> int:
        return self.side**2 + (not self.things)

    def features(self, pictures) -> Tensor:
        plain = super().features(pictures)
        if self.interaction is None:
            return as_map(self.level(as_tokens(plain)))
        return self.interaction(plain, self.texts)

    def asking(self, features: Tensor) -> tuple[Tensor, Tensor]:
        x, places = super().asking(features)
        if self.things:
            return x, places
        start, place = self.stuff
        start = start.expand(len(x), -1, -1)
        return torch.cat([x, start], 1), torch.cat([places, place])

    def masks(self, states: Tensor, features: Tensor) -> Tensor:
        things = super().masks(states[:, : self.side**2], features)
        stuff = self.drawn(states[:, self.side**2 :], features)
        return torch.cat([things, stuff], 1)


@dataclass(frozen=True)
class FreeSeg(RegionNamer):
    """``task`` is what the words ask for; ``tuning`` steps at test lower the
    entropy of names that had no masks (:meth:`at_test`)."""

    own_proposer = True  # its training is this method's, and nobody shares it
    clip: object
    proposer: FreeNet
    words: Words
    lam: float = 0.6
    background: float = BACKGROUND
    tuning: int = 0
    task: str = "semantic"
    context: Tensor | None = None
    encode: object = None  # in place of CLIP's tower, as of crop_encode

    @property
    def trained(self) -> int:
        return count(self.proposer, self.words) + self.words.context.numel()

    def texts(self, names: list[str], task: str) -> Tensor:
        """Names, and the background as the last: [C + 1, D]."""
        ground = background_classifier(self.clip).mean(0, keepdim=True)
        W = self.words(names, task, self.context)
        return torch.cat([W, F.normalize(ground, dim=-1)])

    def found(self, pictures, names) -> Proposals:
        self.proposer.texts = self.texts(names, self.task)
        self.proposer.things = self.task == "instance"
        return propose(self.proposer, pictures)

    def named(self, found, pictures, names, seen) -> Tensor:
        scale, texts = self.clip.logit_scale, self.texts(names, self.task)
        nothing = F.normalize(self.proposer.nothing, dim=0)[None]
        columns = torch.cat([texts, nothing])
        p_query = (scale * found.vectors @ columns.T).softmax(-1)[..., :-1]
        E, asked = crops_of(self.clip, found, pictures, encode=self.encode)
        p_clip = (scale * E @ texts[:-1].T).softmax(-1)
        p_clip = torch.where(asked[..., None], p_clip, 1.0)
        p = fuse(p_query[..., :-1], p_clip, seen, self.lam, "zsseg")
        return torch.cat([p, p_query[..., -1:]], -1)

    def grounds(self, found: Proposals, names) -> Tensor:
        """The regions that the network calls background: bool [N, Q]."""
        cosines = found.vectors @ self.texts(names, self.task).T
        return cosines.argmax(-1) == len(names)

    def at_test(self, pictures, names, seen: Tensor | None) -> FreeSeg:
        """The model that answers to these pictures: tuned on them, if it is to be.

        ``seen`` bool [C]; without novel names there is nothing to tune.
        """
        if not self.tuning or seen is None or seen.all():
            return self
        novel = [n for n, s in zip(names, seen, strict=True) if not s]
        context = self.tuned_context(pictures, names, novel)
        return replace(self, context=context, tuning=0)

    def scores(self, pictures, names, seen=None) -> Tensor:
        told = self.at_test(pictures, names, seen)
        return RegionNamer.scores(told, pictures, names, seen)

    @torch.no_grad()
    def instances(self, pictures, names, seen: Tensor | None = None) -> list[dict]:
        """As of :class:`RegionNamer`, ``seen`` bool [C]; "instance" is asked for."""
        told = replace(self, task="instance").at_test(pictures, names, seen)
        return RegionNamer.instances(told, pictures, names, seen)

    def loss(self, pictures, names, task: str, masks: Tensor, kinds: Tensor) -> Tensor:
        """What a task's regions cost: masks bool [N, R, h, w], labels [N, R]."""
        net = self.proposer
        net.texts, net.things = self.texts(names, task), task == "instance"
        outputs = net(pictures)
        pairs = pairs_of(outputs, masks)
        return group_loss(outputs, masks, pairs) + name_loss(
            outputs.vectors, pairs, kinds, net.texts, net.nothing, self.clip.logit_scale
        )

    def tuned_context(self, pictures, names, novel) -> Tensor:
        """The names' context [M, W] after some steps to surer novel names.

        Queries whose entropy over the novel names is below the middle one
        count; nothing but the pictures is looked at.
        """
        context = self.words.context.clone().requires_grad_(True)
        with torch.no_grad():
            found = self.found(pictures, names)
        vectors = found.vectors[likely(found)]
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
    clip, data: Masked, seed=0, *, lam=0.6, background=BACKGROUND, tuning=0, **training
) -> FreeSeg:
    """:func:`train`, once for both rows; the rest matters at test alone."""
    key = "FreeSeg", seed, repr(sorted(training.items()))
    made = once(data.pictures, key, lambda: train(clip, data, seed, **training))
    return replace(made, lam=lam, background=background, tuning=tuning)


def train(
    clip, data: Masked, seed, tasks=TASKS, interact=True, steps=150, prompt_steps=40
) -> FreeSeg:
    """The context of names on crops; then all else, one task a step."""
    begun = time.perf_counter()
    learner = crop_prompt(clip, data, seed, prompt_steps)
    words = Words(clip, learner.context.detach(), seed)
    net = FreeNet(clip, interact, seed)
    model = FreeSeg(clip, net, words)
    data.pictures.prepare("pixel_values")
    truth = {task: task_truth(data, task, net.fine) for task in tasks}
    parameters = [*net.parameters(), *words.parameters()]
    rng = generator(seed)

    def loss(step: int, rows: Tensor) -> Tensor:
        task = tasks[int(torch.randint(len(tasks), (), generator=rng))]
        masks, kinds = (x[rows] for x in truth[task])
        pictures = data.pictures[rows]
        if step % 2:
            pictures, masks = pictures.mirrored(), masks.flip(-1)
        return model.loss(pictures, data.names, task, masks, kinds)

    how = {"steps": steps, "lr": 3e-3, "seed": seed, "clip_norm": 1.0}
    with frozen(clip):
        descend(parameters, loss, len(data), **how)
    for module in (net, words):
        module.requires_grad_(False)
    net.trained_at = begun, time.perf_counter() - begun  # for the second row
    return model


def task_truth(data: Masked, task: str, side: int) -> tuple[Tensor, Tensor]:
    """:func:`task_regions` on a grid: masks [N, R, side, side], labels [N, R]."""
    masks, labels = task_regions(data, task)
    small = shrink_labels(masks.flatten(0, 1), side)
    return small.unflatten(0, masks.shape[:2]), labels


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
            effect=0.02,
        ),
        Check(
            "tuning at test helps novel names",
            trial.result(INFO, tuning=3),
            full,
            score="U",
        ),
    ]
