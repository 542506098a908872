"""School for a smaller picture tower: the teacher's answers, and training.

The teacher answers once, before training (a *reinforced data set*:
MobileCLIP, Vasu et al. 2023, arXiv 2311.17049), so that a step of
distillation costs what a plain step costs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ... import stored
from ...models.clip import Clip
from ...pairs import to_images
from ...precision import bf16_products
from ...training import History, fit
from ...world import Scene, StickerWorld, seeds_of
from .losses import (
    affinity_loss,
    contrast_loss,
    feature_loss,
    logit_loss,
    relation_loss,
)

CACHE = stored.FOLDER / "11_distil_a_student.safetensors"
LOSSES = ("feature", "logit", "relation", "affinity", "contrast")
OF_CAPTIONS = {"affinity", "contrast"}


def lesson_scenes(n: int) -> list[Scene]:
    """``n`` scenes for school, always the same.

    Five in six show a single sticker, the rest are the course's usual mix of
    one to four.
    """
    return list(_drawn(n))


def _drawn(n: int) -> Iterator[Scene]:
    """The same, one at a time, for those who need not keep them."""
    world = StickerWorld(96)
    for k, number in enumerate(seeds_of("student lessons", "train", n)):
        yield world.scene(number, n=None if k % 6 == 5 else 1)


@dataclass
class Batch:
    """pixel_values [B, 3, S, S], the teacher's view of them, captions."""

    pixel_values: Tensor
    image_embeds: Tensor  # [B, D]
    captions: list[str]

    def __len__(self) -> int:
        return len(self.pixel_values)


class Lessons:
    """Scenes and their mirror images, with the teacher's embeddings.

    StickerCLIP says nearly the same of a mirrored scene (cosine 0.99), so
    one answer serves both, and N scenes make 2 N lessons.
    ``images`` [N, 3, S, S] uint8; ``image_embeds`` [N, D]; ``captions``, N
    of them.  Raises ValueError where scenes and embeddings differ in number.
    """

    def __init__(self, teacher: Clip, scenes: Iterable[Scene], image_embeds: Tensor):
        self.clip, self.captions = teacher, []
        self.images = to_images([])
        for k, scene in enumerate(scenes):
            if k == 0:  # one piece for all: a list of them needs it twice
                shape = len(image_embeds), 3, scene.size, scene.size
                self.images = torch.empty(shape, dtype=torch.uint8)
            if k < len(image_embeds):
                self.images[k] = to_images([scene])[0]
            self.captions.append(scene.caption)
        if len(self.captions) != len(image_embeds):
            raise ValueError(
                f"{len(self.captions)} scenes, {len(image_embeds)} answers"
            )
        self.image_embeds = F.normalize(image_embeds.float(), dim=-1)

    @classmethod
    def ask(cls, teacher: Clip, scenes: Sequence[Scene]) -> Lessons:
        """Ask the teacher now."""
        images = teacher.encode_images([s.image for s in scenes], 16)
        return cls(teacher, scenes, images)

    @classmethod
    def cached(cls, teacher: Clip, n: int, path: Path = CACHE) -> Lessons:
        """The first ``n`` of the stored answers; the scenes are drawn anew.

        Raises ValueError when they are another teacher's.
        """
        with safetensors.safe_open(path, "pt") as file:
            if file.metadata()["teacher"] != stored.fingerprint(teacher):
                raise ValueError(f"{path.name} is of another teacher")
            answers = file.get_slice("image_embeds")[:n]
        return cls(teacher, _drawn(len(answers)), answers)

    def save(self, n: int, path: Path = CACHE) -> Path:
        """Store the first ``n`` answers, without the pictures.

        A byte a number: the largest of a row becomes 127.  How long a row is
        tells nothing, and its direction changes by less than a degree.
        """
        rows = self.image_embeds[:n]
        rows = 127 * rows / rows.abs().amax(dim=1, keepdim=True)
        rows = {"image_embeds": rows.round().to(torch.int8).contiguous()}
        notes = {"teacher": stored.fingerprint(self.clip)}
        with stored.replacing(path) as part:
            safetensors.torch.save_file(rows, part, notes)
        return path

    def __len__(self) -> int:
        return 2 * len(self.images)

    def batch(self, index: Tensor) -> Batch:
        """Some rows [B], as :func:`vlmtutor.training.fit` asks for them.

        From N on they are the scenes mirrored.
        """
        row = index % len(self.images)
        mirrored = (index != row)[:, None, None, None]
        images = self.images[row]
        images = torch.where(mirrored, images.flip(-1), images)
        return Batch(
            pixel_values(self.clip, images),
            self.image_embeds[row],
            [self.captions[k] for k in row.tolist()],
        )


def pixel_values(clip: Clip, images: Tensor) -> Tensor:
    """uint8 [B, 3, S, S] as the model wants its pictures."""
    if images.shape[-1] != clip.image_size:
        arrays = images.permute(0, 2, 3, 1).numpy()
        return clip.preprocess([Image.fromarray(a) for a in arrays])
    settings = clip.image_settings
    mean = torch.tensor(settings.mean, dtype=torch.float32)[:, None, None]
    std = torch.tensor(settings.std, dtype=torch.float32)[:, None, None]
    return (images * settings.scale - mean) / std


def lesson_loss(
    student: Clip,
    teacher: Clip,
    names: Tensor,
    weights: dict[str, float],
    bf16: bool = False,
) -> Callable:
    """``loss(model, batch)`` for ``fit``: the terms that have a weight.

    ``names`` [C, D] is the teacher's classifier, for the logit loss;
    ``weights``: any of :data:`LOSSES`; ``bf16`` runs the tower, not the
    losses, with :func:`vlmtutor.precision.bf16_products`.  Raises ValueError
    for other names.
    """
    unknown = set(weights) - set(LOSSES)
    if unknown or not weights:
        raise ValueError(f"losses are {LOSSES}, not {sorted(weights)}")
    scale = teacher.logit_scale

    def loss(model, batch: Batch) -> dict[str, Tensor]:
        with bf16_products(bf16):
            own = student.image_features(batch.pixel_values)
        theirs, terms = batch.image_embeds, {}
        if "feature" in weights:
            terms["feature"] = feature_loss(own, theirs)
        if "logit" in weights:
            terms["logit"] = logit_loss(own, theirs, names, scale)
        if "relation" in weights:
            terms["relation"] = relation_loss(own, theirs)
        if OF_CAPTIONS & set(weights):
            texts = teacher.encode_texts(batch.captions)  # [B, D]
        if "affinity" in weights:
            terms["affinity"] = affinity_loss(own, theirs, texts, scale)
        if "contrast" in weights:
            same = texts @ texts.T > 0.999
            terms["contrast"] = contrast_loss(own, texts, scale, same)
        return {name: weights[name] * term for name, term in terms.items()}

    return loss


def train(
    student: Clip,
    lessons: Lessons,
    names: Tensor,
    weights: dict[str, float],
    steps: int,
    batch_size: int = 32,
    lr: float = 4e-4,
    seed: int = 0,
    bf16: bool = False,
    **options,
) -> History:
    """Train the student's picture tower in place; options go to ``fit``.

    ``names`` [C, D] and ``weights`` as in :func:`lesson_loss`.
    """
    loss = lesson_loss(student, lessons.clip, names, weights, bf16)
    options = {"warmup": 10, "weight_decay": 0.05} | options
    history = fit(
        student.model, loss, lessons, steps, batch_size, lr, seed=seed, **options
    )
    student.model.eval()
    return history
