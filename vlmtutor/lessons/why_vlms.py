"""One task, five roads to it, and what each needs: labels and steps.

``python -m vlmtutor.lessons.why_vlms`` runs what notebook 01 has no time
for: every number of labels, three seeds, a longer pre-training.  It writes
``notebooks/results/01_why_vlms.json`` with seeds, date and machine.
"""

from __future__ import annotations

import argparse
import copy
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from .. import stored
from ..metrics import accuracy
from ..models import load_clip
from ..models.towers import ConvNet
from ..objectives.contrastive import nt_xent
from ..pairs import normalize, to_images
from ..seeding import seeded_weights
from ..training import History, evaluating, fit
from ..transfer import linear_probe
from ..transfer.base import fit_zero_shot
from ..transfer.pictures import Pictures
from ..views import crops, quarter_turns, recolor
from ..world import StickerWorld, seeds_of

CLASSES = (
    "cat", "dog", "lion", "fox", "wolf", "bear", "panda", "pig", "cow",
    "horse", "rabbit", "mouse",
)  # fmt: skip
DOMAIN, SIZE = "sketch", 48
WIDTH = 64  # of the network
PROBE_C = 1.0  # of 1, 10, 100, 1000 no worse on validation pictures
LABELS = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Sample:
    """Pictures ``images`` [N, 3, S, S] uint8 with ``labels`` [N]."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def pixel_values(self) -> Tensor:
        """[N, 3, S, S] from -1 to 1."""
        return normalize(self.images)

    @property
    def pictures(self) -> list[Image.Image]:
        arrays = self.images.permute(0, 2, 3, 1).numpy()
        return [Image.fromarray(array) for array in arrays]

    def rows(self, k: int) -> Tensor:
        """Where the first ``k`` pictures of each class are."""
        return torch.arange(len(self)).view(len(CLASSES), -1)[:, :k].flatten()

    def first(self, k: int) -> Sample:
        """``k`` pictures of each class; fewer are among the more."""
        rows = self.rows(k)
        return Sample(self.images[rows], self.labels[rows])


def sample(split: str, per_class: int, seed: int = 0) -> Sample:
    """The task's pictures, one animal each, those of a class together."""
    world, scenes = StickerWorld(SIZE), []
    for c, name in enumerate(CLASSES):
        scenes += [
            world.scene(s, n=1, domain=DOMAIN, categories=[name])
            for s in seeds_of("why VLMs", split, per_class, seed, 1_000 * c)
        ]
    labels = torch.arange(len(CLASSES)).repeat_interleave(per_class)
    return Sample(to_images(scenes), labels)


def unlabeled(n: int, seed: int = 0) -> Tensor:
    """Pictures [n, 3, S, S] uint8 of the same kind; nobody named them."""
    world = StickerWorld(SIZE)
    return to_images(
        [
            world.scene(s, n=1, domain=DOMAIN, categories=CLASSES)
            for s in seeds_of("why VLMs, unlabeled", "train", n, seed)
        ]
    )


# Hand-made features


def hog_features(images: Tensor) -> np.ndarray:
    """Histograms of oriented gradients: [N, 3, S, S] uint8 → [N, F].

    Dalal and Triggs 2005, https://doi.org/10.1109/CVPR.2005.177.
    """
    from skimage.feature import hog

    arrays = images.permute(0, 2, 3, 1).numpy()
    return np.stack(
        [
            hog(array, pixels_per_cell=(8, 8), cells_per_block=(2, 2), channel_axis=-1)
            for array in arrays
        ]
    )


def hog_svm(train: Sample, test: Sample) -> float:
    """Test accuracy of a linear support vector machine on HOG."""
    from sklearn.svm import LinearSVC

    machine = LinearSVC(C=1.0, random_state=0)
    machine.fit(hog_features(train.images), train.labels.numpy())
    return accuracy(machine.predict(hog_features(test.images)), test.labels)


# A network, from nothing or pre-trained


class Classifier(nn.Module):
    """A small CNN and a linear layer: pixel_values [B, 3, S, S] → [B, C]."""

    def __init__(self, classes: int = len(CLASSES), seed: int = 0):
        super().__init__()
        with seeded_weights(seed):
            self.encoder = ConvNet(SIZE, 12, WIDTH, 2)
            self.head = nn.Linear(WIDTH, classes)

    def features(self, pixel_values: Tensor) -> Tensor:
        """The mean of the last map: [B, 64]."""
        return self.encoder(pixel_values)[:, 0]

    def forward(self, pixel_values: Tensor) -> Tensor:
        return self.head(self.features(pixel_values))


def predict(model: nn.Module, data: Sample) -> Tensor:
    """Logits [N, C]."""
    with evaluating(model):
        parts = data.pixel_values.split(256)
        return torch.cat([model(part) for part in parts])


def supervised(
    model: Classifier,
    train: Sample,
    steps: int = 150,
    seed: int = 0,
    test: Sample | None = None,
    every: int = 25,
    lr: float = 3e-3,
    **options,
) -> History:
    """Train on labels, in place; with ``test`` look at it on the way."""
    generator = torch.Generator().manual_seed(seed)

    def loss(model, batch):
        images, labels = batch
        pixel_values = crops(normalize(images), generator)
        return F.cross_entropy(model(pixel_values), labels)

    def look(model):
        return accuracy(predict(model, test), test.labels)

    return fit(
        model,
        loss,
        [train.images, train.labels],
        steps,
        batch_size=64,
        lr=lr,
        seed=seed,
        evaluate=look if test else None,
        every=every,
        **options,
    )


def which_way_is_up(
    encoder: nn.Module,
    images: Tensor,
    steps: int = 400,
    seed: int = 0,
    lr: float = 3e-3,
    **options,
) -> History:
    """Pre-train in place: guess how far a picture was turned.

    ``images`` [N, 3, S, S] uint8 without labels; the answers come from the
    turning.  A linear layer for the four answers is thrown away afterwards.
    Gidaris et al. 2018, arXiv 1803.07728.
    """
    generator = torch.Generator().manual_seed(seed)
    with seeded_weights(seed):
        answer = nn.Linear(WIDTH, 4)

    def loss(parts, images):
        encoder, answer = parts
        seen = crops(normalize(images), generator, least=0.8)
        seen = recolor(seen, generator, 0.3)
        turned, turns = quarter_turns(seen, generator)
        return F.cross_entropy(answer(encoder(turned)[:, 0]), turns)

    return fit(
        nn.ModuleList([encoder, answer]),
        loss,
        images,
        steps,
        batch_size=128,
        lr=lr,
        seed=seed,
        **options,
    )


def two_views(
    encoder: nn.Module,
    images: Tensor,
    steps: int = 400,
    seed: int = 0,
    lr: float = 3e-3,
    **options,
) -> History:
    """Pre-train in place: two views of a picture find each other.

    SimCLR (Chen et al. 2020, arXiv 2002.05709), with its small network on
    top that is thrown away afterwards.
    """
    generator = torch.Generator().manual_seed(seed)
    with seeded_weights(seed):
        projection = nn.Sequential(nn.Linear(WIDTH, 128), nn.GELU(), nn.Linear(128, 64))

    def view(pixel_values):
        seen = crops(pixel_values, generator, least=0.5)
        return recolor(seen, generator, 0.5)

    def loss(parts, images):
        encoder, projection = parts
        pixel_values = normalize(images)
        both = torch.cat([view(pixel_values), view(pixel_values)])
        embeds = F.normalize(projection(encoder(both)[:, 0]), dim=-1)
        return nt_xent(*embeds.chunk(2), temperature=0.2)

    return fit(
        nn.ModuleList([encoder, projection]),
        loss,
        images,
        steps,
        batch_size=128,
        lr=lr,
        seed=seed,
        **options,
    )


def steps_to(history: History, goal: float) -> int | None:
    """The first step at which an evaluation reached ``goal``."""
    for step, value in history.evaluations:
        if value >= goal:
            return step
    return None


def labels_to(curve: dict[int, float], goal: float) -> int | None:
    """The fewest labels a class of a curve {labels: accuracy} for ``goal``."""
    good = [k for k, value in curve.items() if value >= goal]
    return min(good, default=None)


def frozen_clip(clip, train: Sample, test: Sample, labels=LABELS) -> dict:
    """StickerCLIP without training and with a linear probe.

    {"zero-shot": accuracy, 1: …, 2: …}: the accuracies for each number of
    labels a class.
    """
    seen, asked = (Pictures(clip, x.pictures) for x in (train, test))
    names = list(CLASSES)
    zero_shot = fit_zero_shot(clip, None, None, names)
    found = {"zero-shot": accuracy(zero_shot(asked), test.labels)}
    seen.image_embeds  # noqa: B018 (computed once, for all parts)
    for k in labels:
        rows = train.rows(k)
        probe = linear_probe.fit(clip, seen[rows], train.labels[rows], names, C=PROBE_C)
        found[k] = accuracy(probe(asked), test.labels)
    return found


@dataclass(frozen=True)
class Plan:
    """How much a run may use; the notebook's own runs are smaller."""

    labels: tuple[int, ...] = LABELS
    aside: tuple[int, ...] = (4, 16)
    test: int = 40  # pictures a class
    unlabeled: int = 6000
    pretraining: int = 600  # steps
    steps: int = 250
    every: int = 25


def run(seed: int, plan: Plan, clip) -> list[dict]:
    """Every road once: rows of method, labels, seed, accuracy, seconds.

    Rows of a network also hold its ``curve``, [step, accuracy] of the test.
    """
    train = sample("train", max(plan.labels), seed)
    test, rows = sample("test", plan.test), []

    def note(method: str, labels: int, value: float, **more) -> None:
        row = {"method": method, "labels": labels, "seed": seed}
        rows.append(row | {"accuracy": round(value, 4)} | more)

    for k, value in frozen_clip(clip, train, test, plan.labels).items():
        if k == "zero-shot":
            note("zero-shot", 0, value)
        else:
            note("probe", k, value)
    for k in plan.labels:
        note("HOG", k, hog_svm(train.first(k), test))
    pictures = unlabeled(plan.unlabeled, seed)
    scratch, turned, paired = (Classifier(seed=seed) for _ in range(3))
    quiet = {"seed": seed, "progress": False}
    which_way_is_up(turned.encoder, pictures, plan.pretraining, **quiet)
    two_views(paired.encoder, pictures, plan.pretraining // 2, **quiet)
    starts = {"scratch": scratch, "turned": turned, "two views": paired}
    for method, start in starts.items():
        few = method == "two views"  # a look aside: two points are enough
        for k in plan.aside if few else plan.labels:
            model = copy.deepcopy(start)
            history = supervised(
                model, train.first(k), plan.steps, test=test, every=plan.every, **quiet
            )
            curve = [[s, round(v, 4)] for s, v in history.evaluations]
            note(
                method, k, curve[-1][1], seconds=round(history.seconds, 1), curve=curve
            )
    return rows


def mean_accuracy(rows: list[dict], method: str) -> dict[int, float]:
    """{labels: mean over the seeds} of a method."""
    found: dict[int, list[float]] = {}
    for row in rows:
        if row["method"] == method:
            found.setdefault(row["labels"], []).append(row["accuracy"])
    return {k: sum(values) / len(values) for k, values in found.items()}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, help="another file to write")
    args = parser.parse_args(arguments)
    begun, plan, clip, rows = time.perf_counter(), Plan(), load_clip(), []
    for seed in args.seeds:
        rows += run(seed, plan, clip)
        minutes = (time.perf_counter() - begun) / 60
        print(f"seed {seed}: done after {minutes:.1f} min", flush=True)
    results = stored.heading() | {
        "minutes": round(minutes, 1),
        "model": stored.fingerprint(clip),
        "domain": DOMAIN,
        "size": SIZE,
        "plan": asdict(plan),
        "seeds": args.seeds,
        "rows": rows,
    }
    print(stored.save(results, "01_why_vlms", args.out))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
