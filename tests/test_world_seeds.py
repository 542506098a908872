"""A seed is a scene: the same one always, and in one split only."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmtutor.world import DOMAINS, StickerWorld, backgrounds, glyphs, seeds, seeds_of
from vlmtutor.world.ledger import SHARED, meetings

quick = settings(max_examples=60, deadline=None)
SEEDS = st.integers(0, 3 * 10**9 - 1)
SIZES = st.integers(16, 512)
NUMBERS = st.sampled_from([None, 1, 2, 3, 4])


def forget():
    """Drop every cached glyph and background."""
    for cached in (
        glyphs.ink,
        glyphs.sticker_array,
        glyphs.disc_alpha,
        backgrounds.background,
    ):
        cached.cache_clear()


@quick
@given(SEEDS, SIZES, NUMBERS, st.sampled_from(DOMAINS))
def test_a_seed_repeats_to_the_pixel(seed, size, n, domain):
    once = StickerWorld(size).scene(seed, n, domain)
    first, caption = once.array.copy(), once.caption
    forget()
    again = StickerWorld(size).scene(seed, n, domain)
    assert np.array_equal(first, again.array)
    assert np.array_equal(once.owners, again.owners)
    assert caption == again.caption and once.layout == again.layout


DIGEST = """
import hashlib
from vlmtutor.world import DOMAINS, StickerWorld
total = hashlib.sha256()
for size in (33, 96):
    world = StickerWorld(size)
    for seed in range(40):
        scene = world.scene(seed, domain=DOMAINS[seed % len(DOMAINS)])
        total.update(scene.array.tobytes() + scene.owners.tobytes())
        total.update(repr((scene.caption, scene.layout)).encode())
        total.update(repr([o.span for o in scene.objects]).encode())
print(total.hexdigest())
"""


def test_a_seed_repeats_in_other_processes():
    seen = set()
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [sys.executable, "-c", DIGEST],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        seen.add(done.stdout.strip())
    assert len(seen) == 1 and len(seen.pop()) == 64


def test_other_seeds_give_other_scenes():
    world = StickerWorld(48)
    pictures = {
        hashlib.sha256(world.scene(seed).array.tobytes()).digest()
        for seed in range(200)
    }
    assert len(pictures) == 200


@quick
@given(SEEDS, SIZES, st.sampled_from(DOMAINS))
def test_size_and_domain_leave_the_contents_alone(seed, size, domain):
    plain = StickerWorld(96).scene(seed)
    other = StickerWorld(size).scene(seed, domain=domain)
    assert other.layout == plain.layout and other.caption == plain.caption
    names = [o.name for o in plain.objects]
    assert [o.name for o in other.objects] == names
    for a, b in zip(plain.objects, other.objects, strict=True):
        near = [v / 96 for v in a.box]
        assert [v / size for v in b.box] == pytest.approx(near, abs=0.16)


SPLITS = st.sampled_from(["train", "val", "test"])
STARTS = st.integers(0, 10**9 - 10**6)


@quick
@given(SPLITS, SPLITS, STARTS, STARTS, st.integers(0, 10**6))
def test_splits_never_share_a_seed(one, other, start, begin, n):
    a, b = seeds(one, n, start), seeds(other, n, begin)
    assert len(a) == len(b) == n
    if one != other and n:
        assert a[-1] < b[0] or b[-1] < a[0]
    assert seeds(one, n, start) == a


@pytest.mark.parametrize("one", ["train", "val", "test"])
def test_a_split_ends_before_the_next(one):
    whole = seeds(one, 10**9)
    for other in {"train", "val", "test"} - {one}:
        theirs = seeds(other, 10**9)
        assert whole[-1] < theirs[0] or theirs[-1] < whole[0]
    for n, start in ((10**9 + 1, 0), (1, 10**9), (-1, 0), (1, -1)):
        with pytest.raises(ValueError, match="a split has"):
            seeds(one, n, start)
    with pytest.raises(ValueError, match="use train, val or test"):
        seeds("training", 1)


def test_owners_draw_scenes_of_their_own():
    M = 1_000_000
    assert list(seeds_of("tasks", "val", 2, 3, 70)) == [
        s + 10**9 for s in (503 * M + 70, 503 * M + 71)
    ]
    assert (
        set(SHARED)
        == meetings()
        == {
            ("pretraining", "lessons"),
            ("evaluation", "lessons"),
            ("scene sets", "why VLMs"),
        }
    )


@pytest.mark.parametrize(
    "owner, n, seed, offset",
    [("tasks", 2, 0, 999_999), ("tasks", 1, 50, 0), ("tasks", 1, -1, 0)],
)
def test_nobody_draws_what_belongs_to_others(owner, n, seed, offset):
    with pytest.raises(ValueError, match="has no"):
        seeds_of(owner, "train", n, seed, offset)
    with pytest.raises(KeyError):
        seeds_of(owner, "elsewhere", 1)
