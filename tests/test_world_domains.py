"""Domains: the same scenes drawn otherwise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmtutor.world import DOMAINS, StickerWorld
from vlmtutor.world.domains import STRENGTH, apply_domain

quick = settings(max_examples=40, deadline=None)
SEEDS = st.integers(0, 3 * 10**9 - 1)
SIZES = st.integers(16, 256)
OTHERS = st.sampled_from([d for d in DOMAINS if d != "sticker"])


def distance(a, b):
    return np.abs(a.astype(float) - b).mean()


@quick
@given(SEEDS, SIZES, OTHERS, st.sampled_from([None, 0.0, 0.3, 1.0]))
def test_a_domain_keeps_shape_and_dtype(seed, size, domain, strength):
    plain = StickerWorld(size).scene(seed).array
    before = plain.copy()
    drawn = apply_domain(plain, domain, seed, strength)
    assert drawn.shape == plain.shape and drawn.dtype == np.uint8
    assert np.array_equal(plain, before)  # the scene itself is left alone


@quick
@given(SEEDS, SIZES, OTHERS)
def test_a_domain_is_deterministic_and_differs(seed, size, domain):
    world = StickerWorld(size)
    plain, drawn = world.scene(seed), world.scene(seed, domain=domain)
    again = world.scene(seed, domain=domain)
    assert np.array_equal(drawn.array, again.array)
    assert distance(drawn.array, plain.array) > 2  # least: pale things, as a sketch
    assert np.array_equal(drawn.owners, plain.owners)
    assert drawn.caption == plain.caption


@pytest.mark.parametrize("size", [16, 64, 96, 224])
def test_all_domains_differ_from_each_other(size):
    world = StickerWorld(size)
    for seed in range(5):
        drawn = [world.scene(seed, domain=d).array for d in DOMAINS]
        for i, a in enumerate(drawn):
            for b in drawn[i + 1 :]:
                assert distance(a, b) > 4


@pytest.mark.parametrize("domain", list(STRENGTH))
def test_strength_sets_how_far_a_domain_lies(domain):
    world = StickerWorld(96)
    mild, strong = [], []
    for seed in range(8):
        plain = world.scene(seed).array
        mild.append(distance(apply_domain(plain, domain, seed, 0.1), plain))
        strong.append(distance(apply_domain(plain, domain, seed, 1), plain))
    assert np.mean(mild) < 0.7 * np.mean(strong)
    default = apply_domain(plain, domain, seed, STRENGTH[domain])
    assert np.array_equal(apply_domain(plain, domain, seed), default)


def test_each_domain_looks_as_its_name_says():
    world = StickerWorld(96)
    plain = [world.scene(seed).array for seed in range(20)]

    def drawn(domain):
        return [apply_domain(a, domain, 0) for a in plain]

    def colorfulness(images):
        return np.mean([np.ptp(a.astype(int), axis=-1) for a in images])

    def detail(images):
        return np.mean([np.abs(np.diff(a.astype(int), axis=1)) for a in images])

    assert colorfulness(drawn("sketch")) < 0.8 * colorfulness(plain)
    assert np.mean(drawn("night")) < 0.6 * np.mean(plain)
    assert detail(drawn("noisy")) > 2 * detail(plain)
    colors = [len(np.unique(a.reshape(-1, 3), axis=0)) for a in plain]
    fewer = [len(np.unique(a.reshape(-1, 3), axis=0)) for a in drawn("pixel")]
    assert np.mean(fewer) < 0.3 * np.mean(colors)


def test_the_sticker_domain_and_unknown_ones():
    plain = StickerWorld(32).scene(1).array
    assert apply_domain(plain, "sticker", 0) is plain
    with pytest.raises(ValueError, match="'dusk': use one of sticker"):
        apply_domain(plain, "dusk", 0)
