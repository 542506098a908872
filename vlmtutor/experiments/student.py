"""A smaller picture tower, distilled from StickerCLIP's: notebook 11.

Ways of teaching it for a few steps each; shapes of like cost; a longer school,
whose student (of seed 0) the studio finds in ``runs``; and two from scratch,
long enough to learn, by the teacher's answers and by captions alone, which tell
what is the teacher's, what the school's and what was inherited.  Captions ask
only the teacher's text encoder, which every student keeps.  Every row has the
student before training beside it.  The teacher's answers are asked for once
and kept beside the results.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import torch

from .. import stored
from ..distill.student.exam import Exam, milliseconds
from ..distill.student.lessons import CACHE, Lessons, lesson_scenes, train
from ..distill.student.maps import compared_by_scene, heat, two_things
from ..distill.student.prune import fewer_neurons
from ..distill.student.small_clip import image_parameters, small_clip
from ..models.clip import Clip
from ..models.saving import save_clip
from ..naming import text_classifier
from ..verdict import Check, resample_mean
from ..world import load_categories
from .experiment import Experiment, Seconds, open_backbone

FOLDER = stored.FOLDER.parents[1] / "runs" / "stickerclip_student"
SCENES, LR = 16_000, 4e-4
NEURONS = 11 / 24  # of each MLP: six layers then cost less than four whole

# The ways of teaching: (inherit, weights of the losses).
SHIPPED = {"feature": 1.0, "logit": 1.0}
ARMS = {
    "from scratch, captions": (False, {"contrast": 1.0}),
    "from scratch, feature + logit": (False, SHIPPED),
    "inherited, captions": (True, {"contrast": 1.0}),
    "inherited, relation": (True, {"relation": 100.0}),
    "inherited, feature": (True, {"feature": 1.0}),
    "inherited, logit": (True, {"logit": 1.0}),
    "inherited, affinity": (True, {"affinity": 1.0}),
    "inherited, feature + logit": (True, SHIPPED),
}
# Shapes of like cost: (layers, neurons of each MLP).
SHAPES = {
    "four layers, the middle out": ((0, 1, 4, 5), 1.0),
    "four layers, spread evenly": ((0, 2, 4, 5), 1.0),
    "five layers, narrower": ((0, 1, 3, 4, 5), 17 / 24),
    "six layers, half of the neurons": (None, 1 / 2),
}
ARM_STEPS, SHAPE_STEPS, LONG_STEPS, SCRATCH_STEPS = 80, 500, 1600, 6400
TEACHER, STUDENT, SCRATCH = "StickerCLIP", "student", "from scratch, long"
CAPTIONS = f"{SCRATCH}, captions"
EXPLAINED = 60  # scenes whose maps are compared
BOTH = "inherited, feature + logit"
FEW = f"{ARM_STEPS} steps; from chance it takes thousands to learn"
CHECKS = (
    Check(
        "inherited weights beat a start from chance",
        BOTH,
        [*ARMS][1],
        "top1",
        budget=FEW,
    ),
    # the first also trains on the names that the exam asks for, the second not
    Check("the teacher's answers beat captions", BOTH, [*ARMS][2], "top1"),
    Check("so they do about captions alone", "inherited, affinity", [*ARMS][2], "top1"),
    Check("both losses beat vectors alone", BOTH, "inherited, feature", "top1"),
)
# Is it distillation or inheritance that keeps the explanations?  By scene.
BEFORE, AFTER = "before", "after"
EXPLAINS = (
    Check(
        "school brings an inherited student's maps nearer to the teacher's",
        (STUDENT, AFTER),
        (STUDENT, BEFORE),
        "agrees",
    ),
    Check(
        "from chance, the teacher's answers bring maps nearer than captions do",
        (SCRATCH, AFTER),
        (CAPTIONS, AFTER),
        "agrees",
    ),
    Check(
        "weights inherited and nothing learned are nearer than all of school",
        (STUDENT, BEFORE),
        (SCRATCH, AFTER),
        "agrees",
    ),
)


@functools.cache
def answers(backbone: str) -> Lessons:
    """The teacher's answers: those that are kept, or asked for and kept."""
    teacher = open_backbone(backbone)
    try:
        return Lessons.cached(teacher, SCENES, CACHE)
    except (FileNotFoundError, ValueError):  # none yet, or another teacher's
        lessons = Lessons.ask(teacher, lesson_scenes(SCENES))
        lessons.save(SCENES, CACHE)
        return lessons


def new_student(
    lessons: Lessons,
    inherit: bool = True,
    seed: int = 0,
    layers: Sequence[int] | None = None,
    neurons: float = NEURONS,
) -> Clip:
    """A student before school: by default the course's."""
    student = small_clip(lessons.clip, layers, inherit=inherit, seed=seed)
    there = student.model.config.vision_config.intermediate_size
    few = torch.arange(min(256, len(lessons.images)))
    return fewer_neurons(
        student, round(neurons * there), lessons.batch(few).pixel_values
    )


def names_of(teacher: Clip) -> torch.Tensor:
    """The teacher's classifier of all categories: [C, D]."""
    return text_classifier(teacher, [c.name for c in load_categories()])


def marked(clip: Clip, teacher: Clip, exams: Sequence[Exam]) -> dict:
    """Means of exams' marks, and each as [mean, least, most]."""
    names = names_of(teacher)
    marks = [e.mark(clip, names, teacher.encode_texts(e.lines)) for e in exams]
    spread = {
        key: [round(float(f([m[key] for m in marks])), 4) for f in (np.mean, min, max)]
        for key in marks[0]
    }
    return {"scores": {key: own[0] for key, own in spread.items()}, "exams": spread}


@functools.cache
def explained(backbone: str, split: str, seed: int) -> tuple:
    """Scenes of two things, and the teacher's maps for the first of them."""
    scenes = two_things(split, EXPLAINED, seed)
    return [heat(open_backbone(backbone), scene, 0) for scene in scenes], scenes


def seen_of(clip: Clip, backbone: str, split: str, seed: int) -> tuple[dict, list]:
    """How far a student explains itself as its teacher does; agreement by scene."""
    names = names_of(open_backbone(backbone))
    found, by_scene = compared_by_scene(clip, *explained(backbone, split, seed), names)
    told = {key: round(value, 4) for key, value in found.items()}
    return told, [round(value, 4) for value in by_scene]


def school(
    seed, backbone, inherit, weights, steps, exams, maps=None, **shape
) -> tuple[Clip, dict]:
    """A student after school, and its part; ``maps``: a split, to compare maps."""
    seconds, teacher = Seconds(), open_backbone(backbone)
    with seconds("teacher_s"):
        lessons = answers(backbone)
    student = new_student(lessons, inherit, seed, **shape)
    before, agrees = marked(student, teacher, exams)["scores"], {}
    if maps:
        told, agrees[BEFORE] = seen_of(student, backbone, maps, seed)
        before |= told
    with seconds("fit_s"):
        train(
            student,
            lessons,
            names_of(teacher),
            weights,
            steps,
            lr=LR,
            seed=seed,
            bf16=True,
            progress=False,
        )
    found = marked(student, teacher, exams)
    if maps:
        told, agrees[AFTER] = seen_of(student, backbone, maps, seed)
        found |= {"scores": found["scores"] | told, "agrees_by_scene": agrees}
    return student, {
        **found,
        "step0": before,
        "steps": steps,
        "trained": image_parameters(student),
        "supervision": " + ".join(weights),
        **seconds,
    }


def teach(name: str, seed: int, backbone: str) -> dict:
    """One way of teaching, marked on validation scenes."""
    exam = Exam.draw("val", 400, seed)
    student, found = school(seed, backbone, *ARMS[name], ARM_STEPS, [exam], "val")
    names = names_of(open_backbone(backbone))
    right = (student.encode_images(exam.pictures, 16) @ names.T).argmax(1)
    right = (right == exam.labels).int().tolist()
    return {**found, "table": "ways", "right": right}


def shape(name: str, seed: int, backbone: str) -> dict:
    """A tower of another shape, marked on validation scenes."""
    layers, neurons = SHAPES[name]
    exam = Exam.draw("val", 800, seed)
    own = {"layers": layers, "neurons": neurons}
    student, found = school(seed, backbone, True, SHIPPED, SHAPE_STEPS, [exam], **own)
    return {**found, "table": "shapes", **costs(student)}


def final_exams() -> list[Exam]:
    return [Exam.draw("test", 500, seed) for seed in range(3)]


def ship(name: str, seed: int, backbone: str) -> dict:
    """The longer school, marked on test scenes."""
    student, found = school(
        seed, backbone, True, SHIPPED, LONG_STEPS, final_exams(), "test"
    )
    if seed == 0:
        save_clip(student, FOLDER)
    return {**found, **costs(student)}


def scratch(name: str, seed: int, backbone: str) -> dict:
    """The same tower from chance, long enough to learn; on test scenes."""
    weights = {SCRATCH: SHIPPED, CAPTIONS: {"contrast": 1.0}}[name]
    student, found = school(
        seed, backbone, False, weights, SCRATCH_STEPS, final_exams(), "test"
    )
    return {**found, **costs(student)}


def reference(name: str, seed: int, backbone: str) -> dict:
    """The teacher itself."""
    teacher = open_backbone(backbone)
    found = marked(teacher, teacher, final_exams())
    found["scores"] |= seen_of(teacher, backbone, "test", seed)[0]
    return {**found, **costs(teacher)}


def costs(clip: Clip) -> dict:
    """Milliseconds a picture, alone and in a batch; the tower's parameters."""
    (alone,), (many,) = milliseconds([clip]), milliseconds([clip], batch=16, n=32)
    return {
        "ms": round(alone, 2),
        "ms_of_16": round(many, 2),
        "tower_parameters": image_parameters(clip),
    }


def compare(found: dict[str, dict]) -> list[dict]:
    """The checks of one seed, each on the same scenes."""

    def names_right(part: str) -> list | None:
        return found.get(part, {}).get("right")

    def maps_agree(arm: tuple[str, str]) -> list | None:
        return found.get(arm[0], {}).get("agrees_by_scene", {}).get(arm[1])

    measured = []
    for checks, values in ((CHECKS, names_right), (EXPLAINS, maps_agree)):
        for check in checks:
            arms = [values(arm) for arm in (check.better, check.worse)]
            owner = check.better if checks is CHECKS else check.better[0]
            if None not in arms:
                difference = resample_mean(np.subtract(*arms))
                measured.append({**check.measured(difference), "method": owner})
    return measured


EXPERIMENT = Experiment(
    name="11_distil_a_student",
    about="ways to teach a smaller picture tower, and a longer school",
    parts={
        TEACHER: reference,
        STUDENT: ship,
        **dict.fromkeys((SCRATCH, CAPTIONS), scratch),
        **dict.fromkeys(ARMS, teach),
        **dict.fromkeys(SHAPES, shape),
    },
    # from chance a student takes the better part of an hour
    fewer={TEACHER: 1, **dict.fromkeys((SCRATCH, CAPTIONS, *SHAPES), 3)},
    compare=compare,
    code=lambda name: [
        f"vlmtutor.distill.student.{part}"
        for part in ("exam", "lessons", "maps", "prune", "small_clip")
    ],
)
