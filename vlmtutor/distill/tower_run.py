"""Distil StickerCLIP's picture tower, and measure what the student keeps.

``python -m vlmtutor.distill.tower_run`` makes everything again: the cached
answers of the teacher that notebook 11 learns from, the student that ships
beside StickerCLIP, and the comparison of losses in
``notebooks/11_distil_a_student.json``.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from .. import stored
from ..metrics import accuracy, recall_at_k
from ..models.clip import Clip
from ..models.hub import STICKERCLIP, load_clip
from ..pairs import to_images
from ..precision import bf16_products
from ..training import History, fit
from ..world import Scene, StickerWorld, load_categories, seeds
from ..zero_shot import text_classifier
from .tower import save_clip, small_clip, tower_parameters
from .tower_losses import (
    contrast_loss,
    feature_loss,
    logit_loss,
    relation_loss,
)

# Scenes that no other part of the course draws.
STARTS = {"train": 970_000_000, "val": 560_000_000, "test": 560_000_000}
CACHE = stored.FOLDER / "11_distil_a_student.safetensors"
FOLDER = STICKERCLIP.parent / "stickerclip_student"
LOSSES = ("feature", "logit", "relation", "contrast")


def scenes_of(n: int, split: str = "train", start: int = 0) -> list[Scene]:
    """``n`` scenes of the course's usual mix, always the same."""
    world = StickerWorld(96)
    return [world.scene(s) for s in seeds(split, n, STARTS[split] + start)]


@dataclass
class Batch:
    """pixel_values [B, 3, S, S] and the teacher's view of them [B, D]."""

    pixel_values: Tensor
    image_embeds: Tensor
    text_embeds: Tensor

    def __len__(self) -> int:
        return len(self.pixel_values)


class Lessons:
    """Scenes with the teacher's embeddings of picture and caption.

    The teacher answered once, before training (a *reinforced data set*:
    MobileCLIP, Vasu et al. 2023, arXiv 2311.17049), so that a step of
    distillation costs what a plain step costs.  ``images`` [N, 3, S, S]
    uint8; ``image_embeds`` and ``text_embeds`` [N, D].
    """

    def __init__(
        self,
        teacher: Clip,
        scenes: Sequence[Scene],
        image_embeds: Tensor,
        text_embeds: Tensor,
    ):
        if not len(scenes) == len(image_embeds) == len(text_embeds):
            raise ValueError(
                f"{len(scenes)} scenes, {len(image_embeds)} pictures and "
                f"{len(text_embeds)} texts of the teacher"
            )
        self.clip, self.images = teacher, to_images(scenes)
        self.image_embeds = F.normalize(image_embeds.float(), dim=-1)
        self.text_embeds = F.normalize(text_embeds.float(), dim=-1)

    @classmethod
    def ask(cls, teacher: Clip, scenes: Sequence[Scene]) -> Lessons:
        """Ask the teacher now."""
        with bf16_products():
            images = teacher.encode_images([s.image for s in scenes], 16)
            texts = teacher.encode_texts([s.caption for s in scenes])
        return cls(teacher, scenes, images, texts)

    @classmethod
    def cached(cls, teacher: Clip, n: int, path: Path = CACHE) -> Lessons:
        """The first ``n`` of the stored answers; the scenes are drawn anew.

        Raises ValueError when they are another teacher's.
        """
        with safetensors.safe_open(path, "pt") as file:
            if file.metadata()["teacher"] != stored.fingerprint(teacher):
                raise ValueError(f"{path.name} is of another teacher")
            images = file.get_slice("image_embeds")[:n]
            texts = file.get_slice("text_embeds")[:n]
        return cls(teacher, scenes_of(len(images)), images, texts)

    def save(self, n: int, path: Path = CACHE) -> Path:
        """Store the first ``n`` answers in fp16, without the pictures."""
        rows = {
            "image_embeds": self.image_embeds[:n].half().contiguous(),
            "text_embeds": self.text_embeds[:n].half().contiguous(),
        }
        notes = {"teacher": stored.fingerprint(self.clip)}
        safetensors.torch.save_file(rows, path, notes)
        return path

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, index: Tensor) -> Batch:
        """Some rows, as :func:`vlmtutor.training.fit` asks for them."""
        return Batch(
            pixel_values(self.clip, self.images[index]),
            self.image_embeds[index],
            self.text_embeds[index],
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


def picture_embeds(model, values: Tensor) -> Tensor:
    """[B, 3, S, S] → image_embeds [B, D], L2-normalised; gradients flow."""
    output = model.vision_model(pixel_values=values)
    embeds = model.visual_projection(output.pooler_output)
    return F.normalize(embeds.float(), dim=-1)


def lesson_loss(
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
            own = picture_embeds(model, batch.pixel_values)
        theirs, texts = batch.image_embeds, batch.text_embeds
        terms = {}
        if "feature" in weights:
            terms["feature"] = feature_loss(own, theirs)
        if "logit" in weights:
            terms["logit"] = logit_loss(own, theirs, names, scale)
        if "relation" in weights:
            terms["relation"] = relation_loss(own, theirs)
        if "contrast" in weights:
            same = texts @ texts.T > 0.999
            terms["contrast"] = contrast_loss(own, texts, scale, same)
        return {name: weights[name] * term for name, term in terms.items()}

    return loss


@dataclass
class Exam:
    """Questions that teacher and students answer: unseen scenes, memes.

    ``split`` "val" is for choosing, "test" for tables.
    """

    pictures: list[Image.Image]
    labels: Tensor
    portraits: list[Image.Image]  # one a category
    lines: list[str]  # meme lines that no training has seen
    line_labels: Tensor

    @classmethod
    def draw(cls, split: str, n: int, seed: int = 0) -> Exam:
        """``n`` single stickers, and all the held-out meme lines."""
        table, world = load_categories(), StickerWorld(96)
        start = STARTS[split] + (seed + 1) * 1_000_000
        scenes = [world.scene(s, n=1) for s in seeds(split, n, start)]
        portraits = [
            world.scene(s, n=1, categories=[c.name]).image
            for s, c in zip(
                seeds(split, len(table), start + 100_000), table, strict=True
            )
        ]
        return cls(
            [s.image for s in scenes],
            torch.tensor([s.objects[0].category.index for s in scenes]),
            portraits,
            [line for c in table for line in c.held_out_memes],
            torch.arange(len(table)).repeat_interleave(2),
        )

    def mark(self, clip: Clip, names: Tensor, lines: Tensor) -> dict:
        """Top-1 of zero-shot naming, and R@5 of portraits for meme lines.

        ``names`` [416, D] and ``lines`` [832, D] come from the text tower
        that all share.
        """
        found = clip.encode_images(self.pictures, 16) @ names.T
        grid = lines @ clip.encode_images(self.portraits, 16).T
        return {
            "top1": accuracy(found, self.labels),
            "meme_r5": recall_at_k(grid, self.line_labels, 5),
        }


def milliseconds(
    clips: Sequence[Clip], batch: int = 1, n: int = 16, rounds: int = 5
) -> list[float]:
    """Time of each picture tower, a picture; the best of several rounds.

    The towers take turns, so that a busy moment meets all of them.
    """
    best = [float("inf")] * len(clips)
    with torch.no_grad():
        for _ in range(rounds):
            for k, clip in enumerate(clips):
                size = clip.image_size
                values = torch.zeros(batch, 3, size, size)
                start = time.perf_counter()
                for _ in range(max(1, n // batch)):
                    picture_embeds(clip.model, values)
                took = time.perf_counter() - start
                best[k] = min(best[k], took / (max(1, n // batch) * batch))
    return [1000 * seconds for seconds in best]


def train(
    student: Clip,
    lessons: Lessons,
    names: Tensor,
    weights: dict[str, float],
    steps: int,
    batch_size: int = 64,
    lr: float = 3e-4,
    seed: int = 0,
    bf16: bool = False,
    **options,
) -> History:
    """Train the student's picture tower in place; options go to ``fit``."""
    loss = lesson_loss(lessons.clip, names, weights, bf16)
    options = {"warmup": 30, "weight_decay": 0.05} | options
    history = fit(
        student.model, loss, lessons, steps, batch_size, lr, seed=seed,
        **options,
    )  # fmt: skip
    student.model.eval()
    return history


# The arms of the comparison: (inherit, weights of the losses).
ARMS = {
    "from scratch, captions": (False, {"contrast": 1.0}),
    "from scratch, feature + logit": (False, {"feature": 1.0, "logit": 1.0}),
    "inherited, captions": (True, {"contrast": 1.0}),
    "inherited, relation": (True, {"relation": 100.0}),
    "inherited, feature": (True, {"feature": 1.0}),
    "inherited, logit": (True, {"logit": 1.0}),
    "inherited, feature + logit": (True, {"feature": 1.0, "logit": 1.0}),
}
SHIPPED = {"feature": 1.0, "logit": 1.0}  # the losses of the long run


def mean_and_range(marks: Sequence[dict]) -> dict:
    """Several exams' marks: {figure: [mean, least, most]}."""
    return {
        key: [
            round(float(f([m[key] for m in marks])), 4)
            for f in (np.mean, min, max)
        ]
        for key in marks[0]
    }


def table(clips: dict[str, Clip], names: Tensor, lines: Tensor) -> list[dict]:
    """What each keeps, on three test exams, and what it costs."""
    exams = [Exam.draw("test", 500, seed) for seed in range(3)]
    alone = milliseconds(list(clips.values()))
    many = milliseconds(list(clips.values()), batch=16, n=32)
    rows = []
    for k, (name, clip) in enumerate(clips.items()):
        marks = [exam.mark(clip, names, lines) for exam in exams]
        rows.append({
            "name": name, **mean_and_range(marks),
            "tower_parameters": tower_parameters(clip),
            "ms_alone": round(alone[k], 2), "ms_of_16": round(many[k], 2),
        })  # fmt: skip
    return rows


def compare(
    lessons: Lessons, names: Tensor, steps: int, seeds: Sequence[int], say
) -> list[dict]:
    """Every arm for the same number of steps, marked on validation scenes."""
    exam = Exam.draw("val", 400)
    lines = lessons.clip.encode_texts(exam.lines)
    rows = []
    for name, (inherit, weights) in ARMS.items():
        for seed in seeds:
            student = small_clip(lessons.clip, inherit=inherit, seed=seed)
            history = train(
                student, lessons, names, weights, steps, seed=seed,
                bf16=True, progress=False,
            )  # fmt: skip
            marks = exam.mark(student, names, lines)
            marks = {key: round(value, 3) for key, value in marks.items()}
            rows.append({
                "arm": name, "seed": seed, **marks,
                "ms_a_picture": round(1000 / history.items_per_second, 1),
            })  # fmt: skip
            say(str(rows[-1]))
    return rows


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m vlmtutor.distill.tower_run", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument(
        "parts", nargs="*", default=[], metavar="PART",
        help="lessons, student, losses, figures (all by default)",
    )  # fmt: skip
    parser.add_argument("--scenes", type=int, default=5000)
    parser.add_argument("--kept", type=int, default=3000)
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--arm-steps", type=int, default=60)
    parser.add_argument("--arm-seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--lr", type=float, default=3e-4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cache", type=Path, default=Path("runs/lessons"))
    args = parser.parse_args(argv)
    parts = args.parts or ["lessons", "student", "losses", "figures"]
    torch.set_num_threads(args.threads)
    start = time.perf_counter()

    def say(text: str) -> None:
        print(f"[{time.perf_counter() - start:5.0f} s] {text}", flush=True)

    teacher = load_clip()
    names = text_classifier(teacher, [c.name for c in load_categories()])
    everything = args.cache.with_suffix(".safetensors")
    if "lessons" in parts:
        lessons = Lessons.ask(teacher, scenes_of(args.scenes))
        everything.parent.mkdir(parents=True, exist_ok=True)
        lessons.save(args.scenes, everything)
        say(f"{lessons.save(args.kept)} written")
    try:
        notes = stored.load(CACHE.stem)
    except FileNotFoundError:
        notes = {}
    notes |= stored.heading() | {"teacher": stored.fingerprint(teacher)}
    if {"student", "losses"} & set(parts):
        lessons = Lessons.cached(teacher, args.scenes, everything)
        say(f"{len(lessons)} lessons")
    if "student" in parts:
        student = small_clip(teacher)
        exam = Exam.draw("val", 400)
        lines = teacher.encode_texts(exam.lines)

        def look(model) -> None:
            say(str(exam.mark(student, names, lines)))

        begun = time.perf_counter()
        train(
            student, lessons, names, SHIPPED, args.steps, lr=args.lr,
            bf16=True, evaluate=look, every=300, progress=False,
        )  # fmt: skip
        minutes = (time.perf_counter() - begun) / 60
        say(f"{save_clip(student, FOLDER)} written")
        notes["student"] = {
            "steps": args.steps, "scenes": len(lessons), "batch": 64,
            "lr": args.lr, "minutes": round(minutes, 1), **SHIPPED,
        }  # fmt: skip
    if "losses" in parts:
        notes["arm_steps"] = args.arm_steps
        notes["arms"] = compare(
            lessons, names, args.arm_steps, args.arm_seeds, say
        )
    if "figures" in parts:
        lines = [line for c in load_categories() for line in c.held_out_memes]
        clips = {"StickerCLIP": teacher, "student": load_clip(FOLDER)}
        notes["table"] = table(clips, names, teacher.encode_texts(lines))
        for row in notes["table"]:
            say(str(row))
    say(f"{stored.save(notes, CACHE.stem)} written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
