"""Texts of a language model: in training, and for a classifier of PhraseCLIP."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor

from ...lessons.what_next import data as world
from ...lessons.what_next import texts
from ...models.clip import Clip
from ...verdict import Check
from ...world import StickerWorld, seeds_of
from ...world.domains import apply_domain
from ..experiment import open_backbone
from ..lessons import rounded
from ..transfer import PHRASECLIP
from .shared import TEST, measured

SKETCH, SKETCHES = 0.47, 12  # strength; pictures a name
PLACE = 500_000  # of the sketches among the scenes of tasks
READ = (
    Check("rewrites help with rewrites nobody read", "rewrites", "captions"),
    Check("they help more than templates", "rewrites", "templates"),
    Check("five rewrites help more than one", "rewrites", "one rewrite"),
    Check("sentences help more than their words", "rewrites", "words mixed up"),
)
PLAIN = (Check("they cost nothing on captions", "rewrites", "captions", at_least=True),)
SENTENCES = (
    Check("rewrites name sketches better than templates", "rewrites", "templates"),
    Check(
        "a name's own rewrite helps it more than another's",
        "name and rewrite",
        "name and another's rewrite",
    ),
)


def rewritten(name: str, seed: int, backbone: str) -> dict:
    """Captions, or texts in their place; then sentences for PhraseCLIP."""
    arms, asked = texts.arms(), texts.questions()
    read = [text for arm in arms.values() for row in arm for text in row]
    material = world.make_data(texts.PAIRS, TEST, seed, read)
    rows, right = [], {}
    for arm, own in arms.items():
        loss = texts.Drawn(material, own, seed)
        model, history = world.train(material, loss, steps=texts.STEPS, seed=seed)
        found = {q: world.right(model, material.test, t) for q, t in asked.items()}
        right[arm] = found
        scores = rounded({q: hits.mean() for q, hits in found.items()})
        seconds = round(history.seconds, 1)
        own = {"row": arm, "scores": scores, "steps": texts.STEPS, "fit_s": seconds}
        rows.append({**own, "table": "training"})

    def of(question):
        return {arm: found[question] for arm, found in right.items()}

    checks = measured(READ, of("unseen rewrites"), seed)
    checks += measured(PLAIN, of("captions"), seed)
    own, more = classified(open_backbone(PHRASECLIP), seed)
    return {"rows": rows + own, "checks": checks + more}


def classified(clip: Clip, seed: int) -> tuple[list[dict], list[dict]]:
    """Sketches named by classifiers of sentences: rows, and checks."""
    images, labels = sketches(clip.image_size, seed)
    embeds, right = clip.encode_images(images), {}
    for arm, own in texts.sentences().items():
        best = (embeds @ texts.sentence_classifier(clip, own).T).argmax(1)
        right[arm] = (best == labels).float()
    rows = [
        {
            "row": f"sentences: {arm}",
            "scores": rounded({"sketches": hits.mean()}),
            "table": "sentences",
        }
        for arm, hits in right.items()
    ]
    return rows, measured(SENTENCES, right, seed)


def sketches(size: int, seed: int, each: int = SKETCHES) -> tuple[list, Tensor]:
    """Single stickers of the 30 names as sketches; pictures, labels [N]."""
    drawn, images = StickerWorld(size), []
    for c, name in enumerate(world.NAMES):
        offset = PLACE + 1000 * c
        for number in seeds_of("tasks", "test", each, seed, offset):
            scene = drawn.scene(number, n=1, categories=[name])
            pixels = apply_domain(scene.array, "sketch", number, SKETCH)
            images.append(Image.fromarray(pixels))
    return images, torch.arange(len(world.NAMES)).repeat_interleave(each)
