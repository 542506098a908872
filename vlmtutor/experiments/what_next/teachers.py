"""Three teachers and their students, and what one teacher or none can do."""

from __future__ import annotations

import torch

from ...distill.student import teachers as several
from ...lessons.what_next import data as world
from ...verdict import Check
from ..experiment import Seconds
from ..lessons import rounded
from .shared import TEST, measured

LESSON, POOL, VAL = 1500, 400, 200  # scenes: of teachers, of students, to choose
BEST = "student of the best"
TEACHERS = (
    Check("a student of all beats one of the best teacher", "mean", BEST),
    Check("it beats the best teacher", "mean", "best teacher"),
    Check("it keeps up with all teachers at once", "mean", "ensemble", at_least=True),
    Check("it beats one of a teacher of all domains", "mean", "student of one for all"),
    Check("the surest teacher of a picture beats the mean", "surest", "mean"),
    Check("a head a teacher beats the mean of teachers", "heads", "mean"),
    Check("lessons add to what was inherited", "mean", "inherited, untrained"),
    Check("inherited weights add to the lessons", "mean", "mean, from scratch"),
)


def together(name: str, seed: int, backbone: str) -> dict:
    """Three teachers, students of one and of all, and what was inherited."""
    seconds = Seconds()
    drawn = world.make_data(LESSON + POOL, TEST, seed)
    pairs, test = drawn.train, drawn.test
    unseen = world.make_data(1, VAL, seed, pairs.captions, split="val").test
    lesson = world.Data(pairs.subset(range(LESSON)), test, drawn.prompts)
    with seconds("teacher_s"):
        base, taught = several.make_teachers(lesson, seed)
        one = several.generalist(base, lesson, seed)
        more = pairs.subset(range(LESSON, LESSON + POOL))
        pool, alone = (several.ask(t, more, lesson.prompts) for t in (taught, [one]))

    def teach(way: str, start=base, said=pool, **options):
        return several.teach(lesson, start, said, way, seed=seed, **options)

    models = {"model of stickers": [base], "ensemble": taught}
    for k, domain in enumerate(several.DOMAINS):
        models[f"teacher of {domain}"] = [taught[k]]
        models[f"student of {domain}"] = [teach("one", which=k)]
    models["teacher of all domains"] = [one]
    models["student of one for all"] = [teach("one", said=alone)]
    with seconds("fit_s"):
        models["mean"] = [teach("mean")]
    models |= {way: [teach(way)] for way in several.WAYS if way not in ("one", "mean")}
    models["inherited, untrained"] = [teach("mean", steps=0)]
    models["mean, from scratch"] = [teach("mean", None)]

    tried = {row: named(own, unseen, pool) for row, own in models.items()}
    right = {row: named(own, test, pool) for row, own in models.items()}
    means = {row: hits.mean(0) for row, hits in right.items()}
    best = {}
    for kind, arm in (("teacher", "best teacher"), ("student", BEST)):
        rows = [f"{kind} of {domain}" for domain in several.DOMAINS]
        best[kind] = max(rows, key=lambda row: tried[row].mean())
        means[arm] = means[best[kind]]
    rows = [{"row": row, "scores": of_domains(hits)} for row, hits in right.items()]
    next(row for row in rows if row["row"] == "mean").update(seconds)
    return {"rows": rows, "checks": measured(TEACHERS, means, seed), "best": best}


def named(models: list, pairs, pool) -> torch.Tensor:
    """Whether models together name each scene in each domain: [3, N]."""
    found = []
    for own in several.drawn(pairs):
        embeds = [several.embeds_of(m, own.images) for m in models]
        embeds = torch.cat([e.reshape(-1, *e.shape[-2:]) for e in embeds])
        found.append(several.judged(embeds, pool, own.labels))
    return torch.stack(found)


def of_domains(hits: torch.Tensor) -> dict[str, float]:
    """[3, N] → what is named in each domain, and their mean."""
    each = dict(zip(several.DOMAINS, hits.mean(1), strict=True))
    return rounded({**each, "mean": hits.mean()})
