"""Several teachers, each at home in one domain, and one smaller student.

A small CLIP learns from stickers; three copies of its image encoder are then
tuned, each on another domain, and keep its text encoder, so that all speak of
names in one space.  A student with half of the residual layers learns from
their answers to unlabelled pictures of all three domains, in one of
:data:`WAYS`: AM-RADIO's way is a head a teacher (Ranzinger et al. 2023, arXiv
2312.06709), UNIC drops teachers that are learned already (Sariyildiz et al.
2024, arXiv 2408.05088).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...lessons.what_next.data import (
    BATCH,
    Data,
    config,
    redrawn,
    train,
)
from ...models.frameworks import TwoTower
from ...pairs import Pairs, normalize
from ...seeding import generator
from ...training import evaluating, fit
from .losses import feature_loss

# how far from stickers: over eight seeds a model of stickers names .32, .46, .12
STRENGTHS = {"sketch": 0.25, "pixel": 0.9, "night": 0.4}
DOMAINS = tuple(STRENGTHS)
BASE_STEPS, TEACHER_STEPS, STEPS = 200, 100, 150
RATE, TUNING_RATE = 2e-3, 1e-3
WAYS = ("one", "told", "mean", "surest", "probabilities", "heads", "dropping")
SEVERAL_HEADS = ("heads", "dropping")


def make_teachers(data: Data, seed: int = 0) -> tuple[TwoTower, list[TwoTower]]:
    """The model of stickers, and its three copies at home elsewhere.

    Each learns from the same scenes, drawn in its domain; text encoder and
    scale stay those of the first.
    """
    base, _ = train(data, steps=BASE_STEPS, seed=seed)
    base.requires_grad_(False).eval()
    pairs = drawn(data.train)
    return base, [tuned(base, data, own, TEACHER_STEPS, seed) for own in pairs]


def generalist(base: TwoTower, data: Data, seed: int = 0) -> TwoTower:
    """The control: one copy that learns all three domains, as long as three do."""
    parts = drawn(data.train)
    every = copy.copy(parts[0])
    every.images = torch.cat([own.images for own in parts])
    every.input_ids = torch.cat([own.input_ids for own in parts])
    every.labels = torch.cat([own.labels for own in parts])
    every.scenes = [scene for own in parts for scene in own.scenes]
    return tuned(base, data, every, len(parts) * TEACHER_STEPS, seed)


def tuned(
    base: TwoTower, data: Data, pairs: Pairs, steps: int, seed: int = 0
) -> TwoTower:
    """A copy whose image encoder and head learn from ``pairs``."""
    teacher = copy.deepcopy(base)
    teacher.image.requires_grad_(True)
    teacher.image_head.requires_grad_(True)
    away = Data(pairs, data.test, data.prompts)
    train(away, steps=steps, seed=seed, model=teacher, lr=TUNING_RATE)
    return teacher.requires_grad_(False).eval()


def drawn(pairs: Pairs) -> list[Pairs]:
    """The same scenes in each of the three domains."""
    return [redrawn(pairs, domain, s) for domain, s in STRENGTHS.items()]


@dataclass
class Answers:
    """What teachers say of unlabelled pictures.

    ``images`` [N, 3, S, S] uint8, ``embeds`` [T, N, D], each teacher's; and
    for the one way that may know it, the ``home`` [N] of each picture: which
    teacher's domain it is of.  ``names`` [C, D] and ``scale`` belong to all.
    """

    images: Tensor
    embeds: Tensor
    home: Tensor
    names: Tensor
    scale: float


def ask(teachers: Sequence[TwoTower], pairs: Pairs, prompts: Tensor) -> Answers:
    """Every teacher's embeddings of the scenes in all three domains.

    ``prompts`` [C, L] are the names as input_ids.
    """
    images = torch.cat([own.images for own in drawn(pairs)])
    home = torch.arange(len(DOMAINS)).repeat_interleave(len(pairs))
    embeds = torch.stack([embeds_of(t, images) for t in teachers])
    with torch.no_grad():
        names, scale = teachers[0].encode_texts(prompts), teachers[0].scale().item()
    return Answers(images, embeds, home, names, scale)


def embeds_of(model, images: Tensor) -> Tensor:
    """uint8 [N, 3, S, S] → unit vectors [N, D], or [T, N, D] of several heads."""
    with evaluating(model):
        parts = [model.encode_images(normalize(part)) for part in images.split(300)]
    return torch.cat(parts, dim=-2)


class Student(nn.Module):
    """An image encoder with one residual layer, and one head or several.

    With ``base`` it starts from that model's own layers, and every head from
    its head; else from chance.
    """

    def __init__(
        self, data: Data, base: TwoTower | None, heads: int = 1, seed: int = 0
    ):
        super().__init__()
        small = TwoTower(config(data, seed, image_layers=1))
        self.image, head = small.image, small.image_head
        if base is not None:
            own, theirs = self.image.state_dict(), base.image.state_dict()
            self.image.load_state_dict({key: theirs[key] for key in own})
            head.load_state_dict(base.image_head.state_dict())
        self.heads = nn.ModuleList(copy.deepcopy(head) for _ in range(heads))

    def encode_images(self, pixel_values: Tensor) -> Tensor:
        """What each head says of pictures [N, 3, S, S]: [T, N, D], unit vectors."""
        first = self.image(pixel_values)[:, 0]
        said = torch.stack([head(first) for head in self.heads])
        return F.normalize(said, dim=-1)


class Lesson:
    """A way to learn from teachers: (student, (pixels, rows)) → loss.

    ``which`` names the teacher of the way "one".  Raises ValueError for
    another way.
    """

    def __init__(self, answers: Answers, way: str, which: int = 0, seed: int = 0):
        if way not in WAYS:
            raise ValueError(f"a way is in {WAYS}, not {way!r}")
        self.own, self.way, self.rng = answers, way, generator(seed)
        embeds, rows = answers.embeds, torch.arange(answers.embeds.shape[1])
        if way == "one":
            self.target = embeds[which]
        elif way == "told":
            self.target = embeds[answers.home, rows]
        elif way == "surest":
            each = (answers.scale * embeds @ answers.names.T).softmax(-1)
            self.target = embeds[each.amax(-1).argmax(0), rows]
        else:
            self.target = F.normalize(embeds.mean(0), dim=-1)  # [N, D]

    def __call__(self, student: Student, batch: list[Tensor]) -> Tensor:
        images, rows = batch
        said = student.encode_images(normalize(images))  # [heads, B, D]
        theirs = self.own.embeds[:, rows]  # [T, B, D]
        if self.way in SEVERAL_HEADS:
            errors = (said - theirs).square().sum(-1)  # [T, B]
            return (errors * self.kept(errors.detach())).mean()
        if self.way == "probabilities":
            own = (self.own.scale * said[0] @ self.own.names.T).log_softmax(-1)
            return F.kl_div(own, shares(theirs, self.own), reduction="batchmean")
        return feature_loss(said[0], self.target[rows])

    def kept(self, errors: Tensor) -> Tensor:
        """Which teachers count for a picture, [T, B] as numbers.

        The one that is learned worst always does, others in half of the cases.
        """
        if self.way == "heads":
            return torch.ones_like(errors)
        worst = errors == errors.amax(0)
        return (worst | (torch.rand(errors.shape, generator=self.rng) < 0.5)).float()


def shares(embeds: Tensor, answers: Answers) -> Tensor:
    """The teachers' mean probabilities of the names: [T, N, D] → [N, C]."""
    return (answers.scale * embeds @ answers.names.T).softmax(-1).mean(0)


def teach(
    data: Data,
    base: TwoTower | None,
    answers: Answers,
    way: str,
    which: int = 0,
    steps: int | None = None,
    seed: int = 0,
) -> Student:
    """A student after its lessons; without ``base`` from chance.

    ``steps`` are :data:`STEPS` by default; with 0 it is the untrained one.
    """
    steps = STEPS if steps is None else steps
    heads = len(answers.embeds) if way in SEVERAL_HEADS else 1
    student = Student(data, base, heads, seed)
    if steps:
        lesson = Lesson(answers, way, which, seed)
        rows = torch.arange(len(answers.images))
        material = [answers.images, rows]
        options = {"lr": RATE, "seed": seed, "progress": False}
        fit(student, lesson, material, steps, BATCH, **options)
    return student.eval()


def judged(embeds: Tensor, answers: Answers, labels: Tensor) -> Tensor:
    """Whether pictures are named by several together: floats [N].

    ``embeds`` [T, N, D], of teachers or of a student's heads: their
    probabilities are averaged.  ``labels`` [N].
    """
    return (shares(embeds, answers).argmax(1) == labels).float()
