"""What holds for every transfer method alike."""

from __future__ import annotations

import pytest
import torch
from transfer_tiny import CLASSES, NOVEL, W_TEXT, W_VISION, D, clip, colors, tiny_clip

from vlmtutor import transfer
from vlmtutor.transfer.base import TiedToClasses

M, C = 4, len(CLASSES)  # context vectors, classes
CONTEXT = M * W_TEXT
UPT_LAYER = 4 * W_TEXT**2 + 4 * W_TEXT  # attention
UPT_LAYER += 2 * (W_TEXT**2 + W_TEXT) + 4 * W_TEXT  # MLP, norms
DECODER = 2 * (4 * D**2 + 4 * D) + 2 * (D**2 + D) + 6 * D
LAYER = 4 * (W_VISION**2 + W_VISION) + 2 * W_VISION * 32 + 32 + W_VISION
LAYER += 4 * W_VISION
# How many numbers each method tunes, counted by hand.
COUNTS = {
    "zero-shot": 0,
    "hand prompt": 0,
    "CoOp": CONTEXT,
    "CoCoOp": CONTEXT + D * 1 + 1 + 1 * W_TEXT + W_TEXT,
    "KgCoOp": CONTEXT,
    "ProGrad": CONTEXT,
    "TPT": CONTEXT,
    "VP": 3 * (32**2 - 16**2),
    "VPT-shallow": 5 * W_VISION,
    "VPT-deep": 4 * 5 * W_VISION,
    "UPT": (M + 5) * W_TEXT + UPT_LAYER + W_TEXT**2 + W_TEXT * W_VISION,
    "MaPLe": 2 * CONTEXT + 2 * (W_TEXT + 1) * W_VISION,
    "linear probe": C * D + C,
    "CLIP-Adapter": 2 * D * (D // 4),
    "Tip-Adapter": 0,
    "Tip-Adapter-F": 6 * D,
    "TaskRes": C * D,
    "WiSE-FT": C * D + 2 * LAYER + 2 * W_VISION + W_VISION * D,
    "CALIP": 0,
    "DualCoOp": 2 * CONTEXT,
    "TaI-DPT": 2 * CONTEXT,
    "DenseCLIP": CONTEXT + DECODER + D + 9 * (D + C) * C + C,
}
TIED = {"linear probe", "Tip-Adapter", "Tip-Adapter-F", "TaskRes", "DenseCLIP"}
NO_STEPS = {"zero-shot", "hand prompt", "TPT", "linear probe", "Tip-Adapter", "CALIP"}


def data(method: str):
    """Six examples and labels of the kind that a method learns from."""
    images, labels = colors(2)
    one_hot = torch.eye(C)[labels]
    if method == "TaI-DPT":
        return [f"a picture of a {CLASSES[label]}" for label in labels], one_hot
    if method in transfer.MULTI_LABEL:
        return images, one_hot
    if method in transfer.DENSE:
        return images, labels[:, None, None].expand(-1, 32, 32)
    return images, labels


def fitted(model, method: str, seed: int = 0):
    settings = {} if method in NO_STEPS else {"steps": 2}
    pictures, labels = data(method)
    fit = transfer.get_fit(method)
    return fit(model, pictures, labels, CLASSES, seed, **settings)


def count_hooks(model) -> int:
    return sum(
        len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.model.modules()
    )


@pytest.mark.parametrize("method", transfer.METHODS)
def test_fit_returns_a_predictor(method):
    images, _ = colors(2)
    predictor = fitted(clip(), method)
    shape = (6, C, 4, 4) if method in transfer.DENSE else (6, C)
    assert predictor(images).shape == shape
    assert not predictor(images).requires_grad
    assert torch.isfinite(predictor(images)).all()
    assert predictor.parameters_trained == COUNTS[method]
    probabilities = predictor.probabilities(images)
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    if not predictor.multi_label:
        torch.testing.assert_close(
            probabilities.sum(1), torch.ones_like(probabilities[:, 0])
        )


@pytest.mark.parametrize("method", transfer.METHODS)
def test_fit_leaves_clip_alone(method):
    model = tiny_clip()
    model.patch_features(model.preprocess(colors(1)[0]))  # own hooks
    hooks = count_hooks(model)
    before = {k: v.clone() for k, v in model.model.state_dict().items()}
    predictor = fitted(model, method)
    predictor(colors(1)[0])
    for name, value in model.model.state_dict().items():
        assert torch.equal(value, before[name]), name
    for parameter in model.model.parameters():
        assert parameter.grad is None
        assert parameter.requires_grad
    assert count_hooks(model) == hooks


@pytest.mark.parametrize("method", [m for m in transfer.METHODS if m not in NO_STEPS])
def test_every_tuned_parameter_moves(method):
    settings = {"steps": 3}
    if method == "WiSE-FT":
        settings["alpha"] = 1.0  # all the way to the fine-tuned weights
    pictures, labels = data(method)
    fit = transfer.get_fit(method)
    # With a step size of 0 parameters stay where they started.
    start = fit(clip(), pictures, labels, CLASSES, lr=0.0, **settings)
    end = fit(clip(), pictures, labels, CLASSES, **settings)
    pairs = zip(start.named_parameters(), end.parameters(), strict=True)
    moved = {n: not torch.equal(a, b) for (n, a), b in pairs}
    assert all(moved.values()), moved


@pytest.mark.parametrize("method", transfer.METHODS)
def test_a_seed_gives_the_same_predictor_twice(method):
    images, _ = colors(1, seed=1)
    torch.manual_seed(1)
    first = fitted(clip(), method, seed=3)(images)
    torch.manual_seed(2)  # global state must not matter
    assert torch.equal(fitted(clip(), method, seed=3)(images), first)


@pytest.mark.parametrize("method", transfer.METHODS)
def test_other_class_names(method):
    images, _ = colors(1)
    predictor = fitted(clip(), method)
    before = predictor(images)
    if method in TIED:
        with pytest.raises(TiedToClasses, match="fit on"):
            predictor.with_classes(NOVEL)
    else:
        other = predictor.with_classes(NOVEL)
        assert other(images).shape == (3, 2)
        assert other.classes == NOVEL
        assert other.parameters_trained > 0 or COUNTS[method] == 0
    assert predictor.classes == CLASSES
    assert torch.equal(predictor(images), before)
    assert torch.equal(predictor.with_classes(CLASSES)(images), before)


@pytest.mark.parametrize(
    "method",
    [
        "CoOp",
        "KgCoOp",
        "CoCoOp",
        "CLIP-Adapter",
        "Tip-Adapter-F",
        "TaskRes",
        "VPT-deep",
        "UPT",
        "MaPLe",
        "WiSE-FT",
    ],
)
def test_training_lowers_the_loss(method):
    images, labels = colors(4)
    fit = transfer.get_fit(method)

    def loss(**settings) -> float:
        predictor = fit(clip(), images, labels, CLASSES, **settings)
        logits = predictor(images)
        return float(torch.nn.functional.cross_entropy(logits, labels))

    settings = {"WiSE-FT": {"alpha": 1.0}, "KgCoOp": {"weight": 0.1}}
    settings = settings.get(method, {})
    before = loss(steps=1, lr=0.0, **settings)
    assert loss(steps=30, lr=2e-2, **settings) < before - 0.02


def test_unknown_method():
    with pytest.raises(KeyError, match="Tip-Adapter-F"):
        transfer.get_fit("Tip")
