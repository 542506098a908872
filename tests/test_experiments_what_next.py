"""The stored runs of notebook 19, in small."""

from __future__ import annotations

import json

import pytest
import transfer_tiny

from vlmtutor.experiments import get_experiment
from vlmtutor.experiments.what_next import few, teachers, texts, unlabelled
from vlmtutor.transfer.tasks import Task

EXPERIMENT = get_experiment("19")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """A few scenes, one step."""

    def of(module, **values):
        for name, value in values.items():
            monkeypatch.setattr(module, name, value)

    clip = transfer_tiny.clip()
    of(few, TEST=8)
    of(few.efficient, PAIRS=70, SIZES=(70, 90))
    of(few.world, STEPS=1)
    of(texts, TEST=8, SKETCHES=1, open_backbone=lambda name: clip)
    of(texts.texts, PAIRS=70, STEPS=1)
    of(unlabelled, SHOTS=2, TASKS=(("cats", "night"),))
    of(unlabelled, open_backbone=lambda name: clip)
    names = transfer_tiny.CLASSES
    task = Task(clip, ["cat", "dog", "fox", "lion"], n_test=2, n_train=2)
    task.called = [*names, "owl"]
    of(unlabelled, make_task=lambda *args, **options: task)
    of(teachers, TEST=8, LESSON=70, POOL=8, VAL=8)
    of(teachers.several, BASE_STEPS=1, TEACHER_STEPS=1, STEPS=1)
    fit = unlabelled.coop.fit
    of(unlabelled.coop, fit=lambda *a, **k: fit(*a, **{**k, "steps": 1}))


@pytest.mark.parametrize("part", EXPERIMENT.parts)
def test_a_part_measures_its_rows_and_checks(part):
    found = EXPERIMENT.parts[part](part, 1, "phraseclip")
    json.dumps(found, allow_nan=False)
    names = [row["row"] for row in found["rows"]]
    assert len(set(names)) == len(names)
    checks = [check["name"] for check in found["checks"]]
    assert len(set(checks)) == len(checks) >= 3
    for row in found["rows"]:
        scores = dict(row["scores"])
        gap, times = scores.pop("gap", 0), scores.pop("times the pairs", 1)
        assert all(0 <= share <= 1 for share in scores.values()), row
        assert -1 <= gap <= 1 and times > 0
    again = EXPERIMENT.parts[part](part, 1, "phraseclip")
    assert [r["scores"] for r in again["rows"]] == [r["scores"] for r in found["rows"]]


def test_each_part_knows_its_code():
    hashes = {EXPERIMENT.hash(part) for part in EXPERIMENT.parts}
    assert len(hashes) == 4
