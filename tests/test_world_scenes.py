"""Scenes: boxes, masks, pixels and seeds."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmtutor.world import (
    Layout,
    Placement,
    Scene,
    StickerWorld,
    backgrounds,
    glyphs,
    load_categories,
    seeds,
)

quick = settings(max_examples=60, deadline=None)
SEEDS = st.integers(0, 3 * 10**9 - 1)
SIZES = st.integers(16, 512)
NUMBERS = st.sampled_from([None, 1, 2, 3, 4])


@quick
@given(SEEDS, SIZES, NUMBERS)
def test_picture_boxes_and_masks_fit_any_canvas(seed, size, n):
    scene = StickerWorld(size).scene(seed, n=n)
    assert scene.array.shape == (size, size, 3)
    assert scene.array.dtype == np.uint8
    assert scene.image.size == (size, size) and scene.image.mode == "RGB"
    assert np.array_equal(np.asarray(scene.image), scene.array)
    assert 1 <= len(scene.objects) <= 4
    for o in scene.objects:
        x0, y0, x1, y1 = o.box
        assert 0 <= x0 < x1 <= size and 0 <= y0 < y1 <= size
        assert o.mask.shape == (size, size) and o.mask.dtype == bool
        outside = o.mask.copy()
        outside[y0:y1, x0:x1] = False
        assert not outside.any()


@quick
@given(SEEDS, SIZES, st.integers(2, 4))
def test_a_pixel_shows_one_sticker_at_most(seed, size, n):
    objects = StickerWorld(size).scene(seed, n=n).objects
    for a, b in itertools.combinations(objects, 2):
        assert not (a.mask & b.mask).any()


@quick
@given(SEEDS, st.integers(64, 256), NUMBERS)
def test_every_sticker_can_be_seen(seed, size, n):
    for o in StickerWorld(size).scene(seed, n=n).objects:
        assert o.mask.any()


def test_neighbours_hide_less_than_half_of_a_sticker():
    world = StickerWorld(96)
    for seed in seeds("test", 400):
        layout = world.scene(seed).layout
        together = Scene(layout, 96, "sticker", seed).objects
        for spot, o in zip(layout.placements, together, strict=True):
            alone = replace(layout, placements=(spot,))
            whole = Scene(alone, 96, "sticker", seed).objects[0].mask
            assert o.mask.sum() > 0.5 * whole.sum(), (seed, o)
            assert not (o.mask & ~whole).any()


def test_a_lone_sticker_has_a_mask_even_on_the_smallest_canvas():
    for c in load_categories():
        spot = Placement(c.index, 0.5, 0.5, 0.22, False, "red")
        scene = Scene(Layout("grass", 0, (spot,)), 16, "sticker", 0)
        x0, y0, x1, y1 = scene.objects[0].box
        mask = scene.objects[0].mask[y0:y1, x0:x1]
        assert mask.any(), c.name
        art = np.asarray(glyphs.sticker(c.char, max(mask.shape)))
        assert (art[mask][:, 3] > 0).all(), c.name  # no see-through pixel


@quick
@given(SEEDS, SIZES, st.booleans())
def test_the_box_is_tight_and_holds_the_sticker_itself(seed, size, mirrored):
    """The last sticker lies on top, so its opaque pixels are the glyph's."""
    world = StickerWorld(size)
    layout = world.scene(seed).layout
    *rest, last = layout.placements
    last = replace(last, mirrored=mirrored)
    layout = replace(layout, placements=(*rest, last))
    scene = Scene(layout, size, "sticker", seed)
    found = scene.objects[-1]
    x0, y0, x1, y1 = found.box
    art = world.sticker(found.name, max(x1 - x0, y1 - y0))
    art = np.asarray(art)[:, ::-1] if mirrored else np.asarray(art)
    assert art.shape == (y1 - y0, x1 - x0, 4)
    solid = art[..., 3] == 255
    shown = scene.array[y0:y1, x0:x1]
    assert np.array_equal(shown[solid], art[solid][:, :3])
    assert found.mask[y0:y1, x0:x1][solid].all()
    assert found.mirrored is mirrored


@quick
@given(SEEDS, SIZES, st.integers(2, 4))
def test_a_sticker_changes_only_its_own_place(seed, size, n):
    layout = StickerWorld(size).scene(seed, n=n).layout
    with_it = Scene(layout, size, "sticker", seed)
    fewer = replace(layout, placements=layout.placements[:-1])
    without = Scene(fewer, size, "sticker", seed)
    changed = (with_it.array != without.array).any(-1)
    last = layout.placements[-1]
    reach = max(4, last.size * size) / 2 + 3  # of sticker or disc
    y, x = np.mgrid[:size, :size] + 0.5
    far = np.abs(x - last.x * size) > reach
    far |= np.abs(y - last.y * size) > reach
    assert changed.any() and not (changed & far).any()
    for before, after in zip(without.objects, with_it.objects, strict=False):
        assert before.box == after.box
        assert not (after.mask & ~before.mask).any()  # hidden, never more


@quick
@given(SEEDS)
def test_a_disc_has_the_colour_that_it_says(seed):
    size = 96
    layout = StickerWorld(size).scene(seed, n=1, discs=1).layout
    scene = Scene(layout, size, "sticker", seed)
    found = scene.objects[0]
    x0, y0, x1, y1 = found.box
    p = layout.placements[0]
    radius = p.size * size / 2
    y, x = np.mgrid[:size, :size] + 0.5
    rim = np.hypot(x - p.x * size, y - p.y * size) < radius - 2
    rim[y0:y1, x0:x1] = False
    assert (scene.array[rim] == backgrounds.COLORS[found.color]).all()
    assert rim.sum() > 0.1 * radius**2


def test_size_and_place_words_follow_the_picture():
    def words(x, y, size):
        spot = Placement(0, x, y, size, False, None)
        return spot.size_word, spot.position

    assert words(0.5, 0.5, 0.4) == (None, "middle")
    assert words(0.2, 0.2, 0.25) == ("small", "top left")
    assert words(0.7, 0.5, 0.5) == ("big", "right")
    assert words(0.5, 0.8, 0.3) == (None, "bottom")


@pytest.mark.parametrize("seed", ["7", 7.0, None])
def test_a_seed_that_is_no_whole_number_is_refused(seed):
    with pytest.raises(TypeError):
        StickerWorld(32).scene(seed)


def test_numpys_whole_numbers_are_seeds_too():
    world = StickerWorld(32)
    assert world.scene(np.int64(7)).caption == world.scene(7).caption
