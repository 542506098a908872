"""Views keep what a picture shows, and draw from their generator alone."""

import pytest
import torch

from vlmtutor.views import crops, quarter_turns, recolor


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(n=6, size=16):
    return torch.rand(n, 3, size, size, generator=generator(9)) * 2 - 1


@pytest.mark.parametrize("view", [crops, recolor])
def test_the_generator_decides_and_nothing_global_changes(view):
    x, state = pictures(), torch.random.get_rng_state()
    first, second = view(x, generator(1)), view(x, generator(1))
    other = view(x, generator(2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(first, second) and first.shape == x.shape
    assert not torch.allclose(first, other, atol=1e-2)
    assert not torch.allclose(first[0] - x[0], first[1] - x[1], atol=1e-2)


def test_the_weakest_crop_is_the_picture_or_its_mirror():
    x = pictures(32)
    seen = crops(x, generator(), least=1.0, turn=0.0)
    same = (seen - x).abs().amax((1, 2, 3)) < 1e-5
    mirrored = (seen - x.flip(-1)).abs().amax((1, 2, 3)) < 1e-5
    assert (same ^ mirrored).all()
    assert 4 < same.sum() < 28


def test_crops_zoom_in_and_stay_inside():
    """On a slope from left to right a crop is a part of the slope."""
    slope = torch.linspace(-1, 1, 32).expand(64, 3, 32, 32)
    seen = crops(slope, generator(), least=0.5, turn=0.0)
    spread = seen.amax((1, 2, 3)) - seen.amin((1, 2, 3))
    assert spread.min() > 0.9 and spread.max() < 2.01
    assert spread.min() < 1.2  # some of them are near the least
    assert seen.abs().max() <= 1 + 1e-5


def test_recolour_keeps_channels_flat_and_strength_0_keeps_all():
    x = torch.full((5, 3, 4, 4), 0.25)
    seen = recolor(x, generator(), 0.5)
    assert torch.allclose(seen.std((2, 3)), torch.zeros(5, 3), atol=1e-6)
    assert (seen - 0.25).abs().max() <= 0.5 * 1.25 + 1e-6
    assert torch.equal(recolor(x, generator(), 0.0), x)


def test_quarter_turns_say_how_far_they_turned():
    x = pictures(40)
    turned, turns = quarter_turns(x, generator())
    assert set(turns.tolist()) == {0, 1, 2, 3}
    for picture, seen, k in zip(x, turned, turns.tolist(), strict=True):
        assert torch.equal(picture.rot90(k, (1, 2)), seen)
    assert torch.equal(x, pictures(40))


@pytest.mark.parametrize("n", [0, 1])
def test_empty_and_single_batches(n):
    x = pictures(n)
    assert crops(x, generator()).shape == x.shape
    assert recolor(x, generator()).shape == x.shape
    assert quarter_turns(x, generator())[0].shape == x.shape


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda x, g: crops(x, g, least=80), "a share of the side"),
        (lambda x, g: crops(x, g, turn=15), "in radians"),
        (lambda x, g: recolor(x, g, 30), "30 % is 0.3"),
        (lambda x, g: recolor(x[0], g), r"got \[3, 16, 16\]; one is x\[None\]"),
        (lambda x, g: crops(x[0], g), r"\[B, 3, S, S\]"),
        (lambda x, g: quarter_turns(x[:, :, :5], g), r"got \[6, 3, 5, 16\]"),
    ],
)
def test_what_would_give_a_wrong_picture_is_refused(mistake, message):
    with pytest.raises(ValueError, match=message):
        mistake(pictures(), generator())


@pytest.mark.parametrize("view", [crops, recolor])
def test_bytes_come_through_normalize(view):
    with pytest.raises(TypeError, match="normalize bytes first"):
        view(pictures().byte(), generator())


def test_bytes_may_be_turned():
    turned, _ = quarter_turns(pictures().byte(), generator())
    assert turned.dtype == torch.uint8
