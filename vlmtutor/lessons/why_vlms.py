"""One task, and what each way to solve it needs: labels and steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from ..metrics import accuracy
from ..models.towers import ConvNet
from ..objectives.contrastive import nt_xent
from ..pairs import normalize, to_images
from ..seeding import seeded_weights
from ..training import History, evaluating, fit
from ..views import crops, quarter_turns, recolor
from ..world import StickerWorld, seeds_of

CLASSES = (
    "cat", "dog", "lion", "fox", "wolf", "bear", "panda", "pig", "cow",
    "horse", "rabbit", "mouse",
)  # fmt: skip
DOMAIN, SIZE = "sketch", 48
WIDTH = 64  # of the network
PROBE_C = 1.0  # of 1, 10, 100, 1000 no worse on validation pictures


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

    def __init__(self, seed: int = 0):
        super().__init__()
        with seeded_weights(seed):
            self.encoder = ConvNet(SIZE, 12, WIDTH, 2)
            self.head = nn.Linear(WIDTH, len(CLASSES))

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
    """Train on labels, in place; with ``test`` its accuracy on the way."""
    generator = torch.Generator().manual_seed(seed)

    def loss(model, batch):
        images, labels = batch
        pixel_values = crops(normalize(images), generator)
        return F.cross_entropy(model(pixel_values), labels)

    def score(model):
        return accuracy(predict(model, test), test.labels)

    return fit(
        model,
        loss,
        [train.images, train.labels],
        steps,
        batch_size=64,
        lr=lr,
        seed=seed,
        evaluate=score if test else None,
        every=every,
        **options,
    )


def predict_rotation(
    encoder: nn.Module,
    images: Tensor,
    steps: int = 400,
    seed: int = 0,
    lr: float = 3e-3,
    **options,
) -> History:
    """Pre-train in place: by how many right angles was a picture turned?

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


def simclr(
    encoder: nn.Module,
    images: Tensor,
    steps: int = 400,
    seed: int = 0,
    lr: float = 3e-3,
    **options,
) -> History:
    """Pre-train in place: which two views are of one picture?

    ``images`` [N, 3, S, S] uint8 without labels.  A small network on top
    projects the features and is thrown away afterwards.
    Chen et al. 2020, arXiv 2002.05709.
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


def labels_to(curve: dict[int, float], goal: float) -> int | None:
    """The fewest labels a class of a curve {labels: accuracy} for ``goal``."""
    good = [k for k, value in curve.items() if value >= goal]
    return min(good, default=None)
