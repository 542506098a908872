"""Tasks on Sticker World: other domains, and groups of look-alikes.

A task has classes, a pool of labelled training pictures for each seed,
validation pictures and a fixed test set; scenes of the three never meet, nor
do they meet those that StickerCLIP was trained on.  Even classes are base
(methods learn from them), odd ones novel (known by name only).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from ..world import StickerWorld, find_category, load_categories, seeds_of
from ..world.domains import apply_domain
from .base import ZeroShot
from .pictures import Pictures

SHOTS = (1, 2, 4, 8, 16)
PER_CLASS = {"train": 16, "val": 4, "test": 20}
CLASS_STRIDE = 1_000  # scenes of a class, at most
CALIBRATION_SEED = 49  # no run uses it
TARGET = 0.5  # of zero-shot, the mean of both halves

# How far from the stickers: what leaves PhraseCLIP's zero-shot at TARGET on
# validation pictures, found by ``python -m vlmtutor experiment domains``.
STRENGTHS = {
    ("mixed", "sketch"): 0.47,
    ("vehicles", "night"): 0.8,
    ("faces", "pixel"): 0.97,
    ("mixed", "night"): 0.75,
    ("mixed", "pixel"): 0.98,
}

GROUPS = {
    "faces": (
        "grinning face", "laughing face with tears", "angel face",
        "devil face", "heart-eyes face", "kissing face",
        "crazy tongue-out face", "cool face", "nerd face", "star-struck face",
        "partying face", "neutral face", "eye-rolling face", "grimacing face",
        "thinking face", "shushing face", "zipped-mouth face",
        "sleeping face", "masked face", "nauseated face", "vomiting face",
        "sneezing face", "hot face", "freezing face", "exploding head",
        "cowboy face", "pleading face", "sobbing face", "screaming face",
        "furious face", "swearing face", "clown face",
    ),
    "cats": (
        "smiling cat", "laughing cat", "heart-eyes cat", "grumpy cat",
        "crying cat", "shocked cat", "cat", "lion", "tiger", "fox",
    ),
    "vehicles": (
        "car", "taxi", "jeep", "bus", "police car", "ambulance",
        "fire engine", "truck", "tractor", "racing car", "motorcycle",
        "scooter", "bicycle", "skateboard", "steam train", "helicopter",
        "airplane", "rocket", "flying saucer", "satellite", "sailboat",
        "ship",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Split:
    """Pictures with labels [N], which index ``classes``."""

    pictures: Pictures
    labels: Tensor
    classes: list[str]

    def __len__(self) -> int:
        return len(self.labels)


class Task:
    """Single stickers of some classes in one domain.

    ``strength`` overrides how far the domain lies from the stickers (0 to 1);
    ``n_train``, ``n_val`` and ``n_test`` pictures a class are drawn.
    ``called`` are other words for the classes, one each, in place of their
    names.  ``half`` of the methods below is "all", "base" or "novel"; labels
    then index the classes of that half.
    """

    def __init__(
        self,
        clip,
        classes: Sequence[str],
        domain: str = "sticker",
        strength: float | None = None,
        n_test: int = PER_CLASS["test"],
        n_train: int = PER_CLASS["train"],
        n_val: int = PER_CLASS["val"],
        called: Sequence[str] | None = None,
    ):
        self.clip, self.classes = clip, list(classes)
        self.called = list(called or classes)
        self.domain, self.strength = domain, strength
        self.sizes = {"train": n_train, "val": n_val, "test": n_test}
        self._pool = functools.cache(self.draw)

    def names(self, half: str = "all") -> list[str]:
        """The classes of a half."""
        return [self.called[c] for c in self._members(half)]

    def within(self) -> Task:
        """The base classes as a task of their own: half of them play novel.

        To choose settings on: its pictures are others than this task's, and
        no novel class is looked at.
        """
        own = self._members("base")
        return Task(
            self.clip,
            [self.classes[c] for c in own],
            self.domain,
            self.strength,
            n_train=self.sizes["train"],
            n_val=self.sizes["val"],
            called=[self.called[c] for c in own],
        )

    def _members(self, half: str) -> list[int]:
        step = {"all": (0, 1), "base": (0, 2), "novel": (1, 2)}
        if half not in step:
            raise ValueError(f"half is all, base or novel, not {half!r}")
        start, every = step[half]
        return list(range(len(self.classes)))[start::every]

    def draw(self, split: str, seed: int) -> Pictures:
        """Pictures of all classes, those of a class together."""
        world = StickerWorld(self.clip.image_size)
        n = self.sizes[split]
        images = []
        for c, name in enumerate(self.classes):
            for scene_seed in seeds_of("tasks", split, n, seed, c * CLASS_STRIDE):
                scene = world.scene(scene_seed, n=1, categories=[name])
                pixels = apply_domain(
                    scene.array, self.domain, scene_seed, self.strength
                )
                images.append(Image.fromarray(pixels))
        return Pictures(self.clip, images)

    def _split(self, split: str, seed: int, k: int, half: str) -> Split:
        n = self.sizes[split]
        if not 1 <= k <= n:
            raise ValueError(f"1 to {n} {split} pictures a class, not {k}")
        members = self._members(half)
        rows = [c * n + i for c in members for i in range(k)]
        labels = torch.arange(len(members)).repeat_interleave(k)
        return Split(self._pool(split, seed)[rows], labels, self.names(half))

    def encode(
        self,
        seeds: Iterable[int] = (0,),
        kind: str = "image_embeds",
        splits: Sequence[str] = ("train", "val", "test"),
    ) -> Task:
        """Compute features now, so that all parts of a split share them."""
        for split in splits:
            for seed in seeds:
                getattr(self._pool(split, seed), kind)
        return self

    def shots(self, k: int, seed: int = 0, half: str = "all") -> Split:
        """``k`` training pictures a class; more shots include the fewer."""
        return self._split("train", seed, k, half)

    def val(self, k: int = 4, seed: int = 0, half: str = "all") -> Split:
        """min(k, n_val) pictures a class, to choose settings by."""
        k = min(k, self.sizes["val"])
        return self._split("val", seed, k, half)

    def test(self, half: str = "all", seed: int = 0) -> Split:
        """Test pictures: by default the same ones for every seed of a fit."""
        return self._split("test", seed, self.sizes["test"], half)


def make_task(
    clip, name: str, domain: str = "sticker", lines: bool = False, **options
) -> Task:
    """A task by its name: a group of :data:`GROUPS`, or "mixed".

    "mixed" has 42 classes from all over the world.  With ``lines`` each class
    is called by a meme line that no model was told (the first one held out).
    The strength is that of :data:`STRENGTHS` where it has one; ``options`` go
    to :class:`Task`.  Raises ValueError where there is no such task.
    """
    if name == "mixed":
        classes = [c.name for c in load_categories()[::10]]
    elif name in GROUPS:
        classes = GROUPS[name]
    else:
        known = ", ".join(["mixed", *GROUPS])
        raise ValueError(f"unknown task {name!r}: use one of {known}")
    if lines:
        options["called"] = [find_category(c).held_out_memes[0] for c in classes]
    options.setdefault("strength", STRENGTHS.get((name, domain)))
    return Task(clip, classes, domain, **options)


def bisect_strength(
    score: Callable[[float], float], target: float = TARGET, steps: int = 6
) -> list[tuple[float, float]]:
    """Strengths and their scores, the one nearest to ``target`` first.

    Halves the interval from 0 to 1 ``steps`` times, towards the strength at
    which ``score`` falls to ``target``.
    """
    low, high, tried = 0.0, 1.0, []
    for _ in range(steps):
        middle = (low + high) / 2
        tried.append((middle, score(middle)))
        if tried[-1][1] > target:
            low = middle
        else:
            high = middle
    return sorted(tried, key=lambda pair: abs(pair[1] - target))


def zero_shot_halves(task: Task, seed: int = CALIBRATION_SEED) -> dict[str, float]:
    """Ensembled zero-shot on validation pictures: "base" and "novel"."""
    found = {}
    for half in ("base", "novel"):
        split = task.val(task.sizes["val"], seed, half)
        right = ZeroShot(task.clip, split.classes)(split.pictures).argmax(1)
        found[half] = float((right == split.labels).float().mean())
    return found
