"""Layouts: numbers, places, overlap and swaps, before anything is drawn."""

import itertools
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmtutor.world import Layout, StickerWorld, complete_caption, random_layout
from vlmtutor.world import layout as layouts
from vlmtutor.world.backgrounds import COLORS, NAMES, PHRASES, VARIANTS

quick = settings(max_examples=300, deadline=None)
SEEDS = st.integers(0, 3 * 10**9 - 1)
POOL = list(range(100))


def drawn(seed, n=None, pool=POOL, **options):
    return random_layout(random.Random(seed), pool, n, **options)


@quick
@given(SEEDS, st.sampled_from([None, 1, 2, 3, 4]))
def test_a_layout_holds_one_to_four_stickers_inside_the_canvas(seed, n):
    layout = drawn(seed, n)
    count = len(layout.placements)
    assert count == n if n else 1 <= count <= 4
    assert layout.background in NAMES and layout.background in PHRASES
    assert 0 <= layout.variant < VARIANTS
    for p in layout.placements:
        assert p.category in POOL
        assert p.color is None or p.color in COLORS
        assert 0 < p.size <= 0.84
        assert p.size / 2 - 1e-9 <= p.x <= 1 - p.size / 2 + 1e-9
        assert p.size / 2 - 1e-9 <= p.y <= 1 - p.size / 2 + 1e-9


def shared_share(a, b):
    """Area that two squares share, as a share of the smaller one."""
    sides = [
        min(p + a.size / 2, q + b.size / 2) - max(p - a.size / 2, q - b.size / 2)
        for p, q in ((a.x, b.x), (a.y, b.y))
    ]
    return max(0, sides[0]) * max(0, sides[1]) / min(a.size, b.size) ** 2


@quick
@given(SEEDS, st.sampled_from([2, 3, 4]))
def test_a_neighbour_covers_at_most_a_quarter(seed, n):
    placements = drawn(seed, n).placements
    for a, b in itertools.combinations(placements, 2):
        assert shared_share(a, b) <= layouts.MAX_COVERED + 1e-9


def test_every_number_and_overlap_do_occur():
    many = [drawn(seed) for seed in range(300)]
    assert {len(one.placements) for one in many} == {1, 2, 3, 4}
    overlaps = [
        shared_share(a, b)
        for one in many
        for a, b in itertools.combinations(one.placements, 2)
    ]
    assert 0.2 < sum(share > 0 for share in overlaps) / len(overlaps) < 0.9
    spots = [p for one in many for p in one.placements]
    discs = sum(p.color is not None for p in spots) / len(spots)
    assert abs(discs - layouts.DISC_SHARE) < 0.05
    assert {p.size_word for p in spots} == {"small", "big", None}
    assert {p.mirrored for p in spots} == {True, False}
    assert {one.background for one in many} == set(NAMES)


@quick
@given(SEEDS, st.integers(2, 4))
def test_repeats_are_all_or_nothing_when_asked(seed, n):
    always = Counter(p.category for p in drawn(seed, n, repeats=1).placements)
    assert sorted(always.values())[-1] >= 2
    assert sorted(always.values())[:-1] == [1] * (len(always) - 1)
    never = drawn(seed, n, repeats=0).placements
    assert len({p.category for p in never}) == n


@quick
@given(SEEDS)
def test_discs_are_all_or_nothing_when_asked(seed):
    assert all(p.color for p in drawn(seed, discs=1).placements)
    assert not any(p.color for p in drawn(seed, discs=0).placements)


@quick
@given(
    SEEDS,
    st.integers(1, 4),
    st.lists(st.integers(0, 415), min_size=1, max_size=6, unique=True),
    st.sampled_from([0, 0.5, 1]),
)
def test_few_categories_still_fill_the_scene(seed, n, pool, repeats):
    placements = drawn(seed, n, pool, repeats=repeats).placements
    assert len(placements) == n
    assert {p.category for p in placements} <= set(pool)


@quick
@given(SEEDS, st.integers(2, 4))
def test_swaps_undo_themselves(seed, n):
    layout = drawn(seed, n)
    for swap in (Layout.swap_colors, Layout.swap_stickers):
        assert swap(swap(layout)) == layout
        assert swap(layout).placements[2:] == layout.placements[2:]
        assert swap(layout).background == layout.background


@quick
@given(SEEDS, st.integers(2, 4))
def test_a_swap_changes_one_thing(seed, n):
    layout = drawn(seed, n)
    a, b = layout.placements[:2]
    c, d = layout.swap_colors().placements[:2]
    assert (c.color, d.color) == (b.color, a.color)
    assert (c.category, c.x, c.y, c.size) == (a.category, a.x, a.y, a.size)
    e, f = layout.swap_stickers().placements[:2]
    assert (e.x, e.y, f.x, f.y) == (b.x, b.y, a.x, a.y)
    assert (e.category, e.size, e.color) == (a.category, a.size, a.color)


@quick
@given(SEEDS)
def test_a_swap_makes_the_caption_wrong(seed):
    layout = drawn(seed, 2, repeats=0)
    truth = complete_caption(layout).text
    assert complete_caption(layout.swap_stickers()).text != truth
    a, b = layout.placements
    same_colors = a.color == b.color
    swapped = complete_caption(layout.swap_colors()).text
    assert (swapped == truth) == same_colors


def test_a_seed_means_the_same_layout_on_every_machine():
    first, second = drawn(7, 2).placements
    assert (first.category, second.category) == (19, 50)
    assert (first.x, first.y) == pytest.approx((0.25894996, 0.5202294))
    assert (first.size, second.size) == pytest.approx((0.43622427, 0.41766645))
    assert (first.mirrored, second.mirrored) == (True, False)


@pytest.mark.parametrize("n", [0, 5, -1])
def test_a_scene_cannot_hold_that_many(n):
    with pytest.raises(ValueError, match=f"1 to 4 stickers .* not {n}"):
        drawn(0, n)


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="no categories"):
        drawn(0, 1, pool=[])
    for swap in (Layout.swap_colors, Layout.swap_stickers):
        with pytest.raises(ValueError, match="two stickers"):
            swap(drawn(0, 1))


@quick
@given(SEEDS, st.integers(1, 4), st.integers(1, 3))
def test_a_world_keeps_to_the_categories_that_you_name(seed, n, kinds):
    names = ["cat", "pizza", "rocket"][:kinds]
    scene = StickerWorld(32).scene(seed, n=n, categories=names)
    assert len(scene.objects) == n
    assert {o.name for o in scene.objects} <= set(names)
