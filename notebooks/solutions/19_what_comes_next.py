"""Solutions to the exercises of 19_what_comes_next."""

import torch
from PIL import Image

import vlmtutor as vt
from vlmtutor.lessons.what_next import data as small
from vlmtutor.lessons.what_next import texts
from vlmtutor.world.domains import apply_domain


def corrected(logits, pool):
    """Logits [N, C] and those of the pool [M, C] → [N, C].

    What a name gets on average says nothing of a picture: it goes.
    """
    return logits - pool.mean(0)


def believed(logits):
    """Teachers' logits [T, N, C] → for each picture a teacher: [N].

    Probabilities, not logits: a teacher whose logits are all large is not
    sure of anything.
    """
    return logits.softmax(-1).amax(-1).argmax(0)


def sentences_named(clip, each=12):
    """Share of sketches that classifiers of sentences name: {arm: share}."""
    world, images = vt.StickerWorld(clip.image_size), []
    for c, name in enumerate(small.NAMES):
        for seed in vt.seeds("test", each, 70_000_000 + 1000 * c):
            scene = world.scene(seed, n=1, categories=[name])
            pixels = apply_domain(scene.array, "sketch", seed, 0.47)
            images.append(Image.fromarray(pixels))
    labels = torch.arange(len(small.NAMES)).repeat_interleave(each)
    embeds, found = clip.encode_images(images), {}
    for arm, own in texts.sentences().items():
        best = (embeds @ texts.sentence_classifier(clip, own).T).argmax(1)
        found[arm] = float((best == labels).float().mean())
    return found
