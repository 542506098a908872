"""Distil StickerCLIP's picture tower, and measure what the student keeps.

``python -m vlmtutor.experiments.student`` makes everything again: the cached
answers of the teacher that notebook 11 learns from, a student that learned
for longer, which the studio finds in ``runs``, and the comparison of losses
in ``notebooks/results/11_distil_a_student.json``.  The tries, shapes and schools in
that file, by which the settings were found, are single runs; the command
keeps them as they are.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .. import stored
from ..distill.student.exam import Exam, milliseconds
from ..distill.student.lessons import CACHE, Lessons, lesson_scenes, train
from ..distill.student.prune import fewer_neurons
from ..distill.student.small_clip import image_parameters, save_clip, small_clip
from ..models.clip import Clip
from ..models.hub import load_clip
from ..naming import text_classifier
from ..world import load_categories

FOLDER = stored.FOLDER.parents[1] / "runs" / "stickerclip_student"

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
NEURONS = 11 / 24  # of each MLP: six layers then cost less than four whole


def new_student(lessons: Lessons, inherit: bool = True, seed: int = 0) -> Clip:
    """The course's student, before school."""
    student = small_clip(lessons.clip, inherit=inherit, seed=seed)
    there = student.model.config.vision_config.intermediate_size
    few = torch.arange(min(256, len(lessons.images)))
    return fewer_neurons(
        student, round(NEURONS * there), lessons.batch(few).pixel_values
    )


def mean_and_range(marks: Sequence[dict]) -> dict:
    """Several exams' marks: {figure: [mean, least, most]}."""
    return {
        key: [round(float(f([m[key] for m in marks])), 4) for f in (np.mean, min, max)]
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
        rows.append(
            {
                "name": name,
                **mean_and_range(marks),
                "tower_parameters": image_parameters(clip),
                "ms_alone": round(alone[k], 2),
                "ms_of_16": round(many[k], 2),
            }
        )
    return rows


def compare(
    lessons: Lessons,
    names: Tensor,
    steps: int,
    seeds: Sequence[int],
    say,
    lr: float = 4e-4,
) -> list[dict]:
    """Every arm for the same number of steps, marked on validation scenes."""
    exam = Exam.draw("val", 400)
    lines = lessons.clip.encode_texts(exam.lines)
    rows = []
    for name, (inherit, weights) in ARMS.items():
        for seed in seeds:
            student = new_student(lessons, inherit, seed)
            history = train(
                student,
                lessons,
                names,
                weights,
                steps,
                lr=lr,
                seed=seed,
                bf16=True,
                progress=False,
            )
            marks = exam.mark(student, names, lines)
            marks = {key: round(value, 3) for key, value in marks.items()}
            rows.append(
                {
                    "arm": name,
                    "seed": seed,
                    **marks,
                    "ms_a_picture": round(1000 / history.items_per_second, 1),
                }
            )
            say(str(rows[-1]))
    return rows


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m vlmtutor.experiments.student",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "parts",
        nargs="*",
        default=[],
        metavar="PART",
        help="lessons, student, figures, losses (all by default)",
    )
    parser.add_argument("--scenes", type=int, default=16_000)
    parser.add_argument("--steps", type=int, default=1600)
    parser.add_argument("--arm-steps", type=int, default=80)
    parser.add_argument("--arm-seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--lr", type=float, default=4e-4)
    parser.add_argument("--optimizer", default="adamw")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--out", type=Path, default=FOLDER, help="folder for the student"
    )
    args = parser.parse_args(argv)
    parts = args.parts or ["lessons", "student", "figures", "losses"]
    torch.set_num_threads(args.threads)
    start = time.perf_counter()

    def say(text: str) -> None:
        print(f"[{time.perf_counter() - start:5.0f} s] {text}", flush=True)

    teacher = load_clip()
    names = text_classifier(teacher, [c.name for c in load_categories()])
    if "lessons" in parts:
        lessons = Lessons.ask(teacher, lesson_scenes(args.scenes))
        say(f"{lessons.save(args.scenes)} written")
    try:
        notes = stored.load(CACHE.stem)
    except FileNotFoundError:
        notes = {}
    notes |= stored.heading() | {"teacher": stored.fingerprint(teacher)}

    def keep(part: str, found) -> None:
        notes[part] = found
        say(f"{stored.save(notes, CACHE.stem)} written")

    if {"student", "losses"} & set(parts):
        lessons = Lessons.cached(teacher, args.scenes)
        say(f"{len(lessons)} lessons of {args.scenes} scenes")
    if "student" in parts:
        student = new_student(lessons)
        exam = Exam.draw("val", 400)
        lines = teacher.encode_texts(exam.lines)

        def look(model) -> None:
            say(str(exam.mark(student, names, lines)))

        begun = time.perf_counter()
        train(
            student,
            lessons,
            names,
            SHIPPED,
            args.steps,
            lr=args.lr,
            optimizer=args.optimizer,
            bf16=True,
            evaluate=look,
            every=400,
            progress=False,
        )
        minutes = (time.perf_counter() - begun) / 60
        say(f"{save_clip(student, args.out)} written")
        keep(
            "student",
            {
                "steps": args.steps,
                "scenes": len(lessons.images),
                "batch": 32,
                "lr": args.lr,
                "optimizer": args.optimizer,
                "minutes": round(minutes, 1),
                **SHIPPED,
            },
        )
    if "figures" in parts:
        lines = [line for c in load_categories() for line in c.held_out_memes]
        clips = {"StickerCLIP": teacher, "student": load_clip(args.out)}
        rows = table(clips, names, teacher.encode_texts(lines))
        for row in rows:
            say(str(row))
        keep("table", rows)
    if "losses" in parts:
        notes["arms_setup"] = {
            "scenes": args.scenes,
            "mirrored": True,
            "optimizer": "AdamW",
            "lr": args.lr,
            "batch": 32,
            "steps": args.arm_steps,
            "exam": "400 validation scenes",
        }
        arms = compare(lessons, names, args.arm_steps, args.arm_seeds, say, args.lr)
        keep("arms", arms)
    return 0


if __name__ == "__main__":
    sys.exit(main())
