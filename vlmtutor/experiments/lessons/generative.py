"""Notebook 04: what a writer says that had minutes, after a reader that had some."""

from __future__ import annotations

from functools import partial

from ...lessons import generative as lesson
from ...models.decoding import write_captions
from ...models.words import to_text
from ...seeding import generator
from ...training import evaluating, fit
from ..experiment import Experiment
from . import FROM_SCRATCH, rounded

SCENES, TEST = 12_000, 400
READ, WRITE = 1500, 2500  # steps
SHOWN = 4  # captions kept as they were written


def write(name: str, seed: int, backbone: str) -> dict:
    """Captions of unseen scenes; the writer sees as the reader did, at first."""
    train, test = lesson.make_data(SCENES, TEST, seed)
    words = len(train.tokenizer)
    options = {"batch_size": 64, "lr": 3e-3, "seed": seed, "progress": False}
    reader = lesson.new_model(words, seed=seed)
    fill = partial(lesson.reader_loss, generator=generator(seed))
    first = fit(reader, fill, train, READ, **options)
    writer = lesson.new_model(words, causal=True, seed=seed)
    writer.image.load_state_dict(reader.image.state_dict())
    then = fit(writer, lesson.writer_loss, train, WRITE, **options)
    with evaluating(writer):
        ids = write_captions(writer, test.pixel_values, length=20)
    said = [to_text(test.tokenizer, row) for row in ids]
    return {
        "scores": rounded(lesson.slots_right(said, test.captions)),
        "steps": READ + WRITE,
        "fit_s": round(first.seconds + then.seconds, 1),
        "written": said[:SHOWN],
    }


EXPERIMENT = Experiment(
    name="04_generative",
    about="captions of a writer that had minutes",
    parts={"writer": write},
    seeds=3,
    backbones=FROM_SCRATCH,
)
