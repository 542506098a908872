"""How transfer methods are compared: accuracies over shots, seeds, classes.

Settings are chosen on validation pictures, figures come from test pictures;
no function here lets a fit see either.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..metrics import harmonic_mean
from .base import Learner
from .tasks import SHOTS, Split, Task


def accuracy(predictor: Learner, split: Split) -> float:
    """Share of pictures whose best class is right."""
    predicted = predictor(split.pictures).argmax(1)
    return float((predicted == split.labels).float().mean())


def choose(
    fit: Callable,
    grid: dict[str, Sequence],
    train: Split,
    val: Split,
    seed: int = 0,
    score: Callable[[Learner, Split], float] = accuracy,
    **settings,
) -> tuple[Learner, dict, list[tuple[dict, float]]]:
    """Fit every combination of ``grid`` and keep the best on validation.

    Returns the predictor, its settings, and the whole search: each
    combination with its validation score.  Of equals the first wins.
    """
    search, best = [], None
    for values in itertools.product(*grid.values()):
        tried = dict(zip(grid, values, strict=True))
        predictor = fit(
            train.pictures.clip,
            train.pictures,
            train.labels,
            train.classes,
            seed,
            **settings,
            **tried,
        )
        figure = score(predictor, val)
        search.append((tried, figure))
        if best is None or figure > best[2]:
            best = predictor, tried, figure
    return best[0], best[1], search


def curve(
    fit: Callable,
    task: Task,
    shots: Sequence[int] = SHOTS,
    seeds: Sequence[int] = (0, 1, 2),
    half: str = "all",
    **settings,
) -> Tensor:
    """Test accuracy for each number of shots and seed: [K, S]."""
    test = task.test(half)
    rows = []
    for k in shots:
        row = []
        for seed in seeds:
            train = task.shots(k, seed, half)
            predictor = fit(
                task.clip, train.pictures, train.labels, train.classes, seed, **settings
            )
            row.append(accuracy(predictor, test))
        rows.append(row)
    return torch.tensor(rows)


def base_to_novel(
    fit: Callable, task: Task, k: int = 16, seeds: Sequence[int] = (0, 1, 2), **settings
) -> dict[str, list[float]]:
    """Learn on the base classes, be tested on both halves.

    Test accuracies, one a seed: "base", "novel", and "H", their harmonic
    mean.  Methods tied to their classes raise TiedToClasses.
    """
    base, novel = task.test("base"), task.test("novel")
    figures: dict[str, list] = {"base": [], "novel": [], "H": []}
    for seed in seeds:
        train = task.shots(k, seed, "base")
        predictor = fit(
            task.clip, train.pictures, train.labels, train.classes, seed, **settings
        )
        a = accuracy(predictor, base)
        b = accuracy(predictor.with_classes(novel.classes), novel)
        figures["base"].append(a)
        figures["novel"].append(b)
        figures["H"].append(harmonic_mean(a, b))
    return figures


def verdict(differences: Sequence[float], level: float = 0.95) -> str:
    """What paired differences say of the claim that they are above 0.

    "reproduced" or "not reproduced" where the interval of ``level`` around
    their mean (Student's t) leaves out 0, else "inconclusive".  Raises
    ValueError for fewer than two.
    """
    from scipy import stats

    d = torch.as_tensor(differences, dtype=torch.float64)
    if len(d) < 2:
        raise ValueError("one difference says nothing of luck")
    mean, error = float(d.mean()), float(d.std()) / len(d) ** 0.5
    half = stats.t.ppf((1 + level) / 2, len(d) - 1) * error
    if abs(mean) <= half:
        return "inconclusive"
    return "reproduced" if mean > 0 else "not reproduced"
