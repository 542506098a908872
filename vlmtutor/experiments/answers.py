"""Which pictures a predictor gets right, stored so that methods can be compared.

Answers are, for each group of pictures, right [n] bool and confidence [n].
"""

from __future__ import annotations

import numpy as np

from ..metrics import harmonic_mean
from ..transfer.base import TiedToClasses
from ..transfer.tasks import Split
from ..verdict import resample

BINS = 15  # of the calibration error
# scores of several groups of pictures
MEANS = {
    **dict.fromkeys(("H", "both", "ECE"), ("base", "novel")),
    "shifted": ("night", "pixel"),
}

Answers = dict[str, tuple[np.ndarray, np.ndarray]]


def answers(
    predictor, base: Split, novel: Split | None = None, **others: Split
) -> Answers:
    """Of base and novel classes, and of others; without what is beyond it."""
    groups = {"base": base, "novel": novel, **others}
    found = {}
    for group, split in groups.items():
        if split is None:
            continue
        try:
            other = predictor.with_classes(split.classes)
        except TiedToClasses:
            continue
        probabilities = other.probabilities(split.pictures)
        confidence, best = probabilities.max(1)
        right = best == split.labels
        found[group] = right.numpy(), confidence.detach().numpy()
    return found


def scores_of(found: Answers) -> dict[str, float]:
    """Accuracies of the groups, H of base and novel, calibration errors."""
    scores = {group: float(right.mean()) for group, (right, _) in found.items()}
    if "novel" in scores:
        scores["H"] = harmonic_mean(scores["base"], scores["novel"])
    for group in found.keys() & {"base", "novel"}:
        weights = np.ones((1, len(found[group][0])))
        scores[f"{group} ECE"] = float(calibration(weights, *found[group])[0])
    return {name: round(value, 4) for name, value in sorted(scores.items())}


def calibration(weights: np.ndarray, right, confidence) -> np.ndarray:
    """Expected calibration error of resamples [R], as in :mod:`..metrics`."""
    place = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    bins = np.eye(BINS)[place]  # [N, BINS]
    gaps = weights @ (bins * (right - confidence)[:, None])
    return np.abs(gaps).sum(1) / weights.sum(1)


def packed(found: Answers, with_confidence: bool = False) -> dict:
    """Answers as JSON: bits in hexadecimal, confidences in per mille."""
    told = {}
    for group, (right, confidence) in found.items():
        told[group] = {"n": len(right), "right": np.packbits(right).tobytes().hex()}
        if with_confidence:
            told[group]["sure"] = [round(1000 * float(c)) for c in confidence]
    return told


def unpacked(told: dict) -> Answers:
    """What :func:`packed` made; confidences that were left out are 0."""
    found = {}
    for group, own in told.items():
        bits = np.frombuffer(bytes.fromhex(own["right"]), np.uint8)
        right = np.unpackbits(bits)[: own["n"]].astype(bool)
        sure = np.array(own.get("sure", [0] * own["n"])) / 1000
        found[group] = right, sure
    return found


def difference(better: dict, worse: dict, score: str) -> dict:
    """:func:`vlmtutor.verdict.resample` of two methods' packed answers."""
    arms = [unpacked(told) for told in (better, worse)]
    names = MEANS.get(score, (score,))
    sizes = [len(arms[0][name][0]) for name in names]

    def value(arm: Answers, weights: np.ndarray) -> np.ndarray:
        parts = np.split(weights, np.cumsum(sizes)[:-1], axis=1)
        if score == "ECE":
            pairs = zip(parts, names, strict=True)
            return np.mean([calibration(w, *arm[name]) for w, name in pairs], 0)
        a = [w @ arm[n][0] / w.sum(1) for w, n in zip(parts, names, strict=True)]
        if score == "H":
            return 2 * a[0] * a[1] / np.maximum(a[0] + a[1], 1e-12)
        return np.mean(a, 0)

    return resample(lambda w: value(arms[0], w) - value(arms[1], w), sizes)
