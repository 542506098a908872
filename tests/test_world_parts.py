"""Stickers and backgrounds alone, and what the world refuses."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vlmtutor.world import (
    StickerWorld,
    backgrounds,
    find_category,
    glyphs,
    load_categories,
)

quick = settings(max_examples=60, deadline=None)


def test_errors_say_what_to_do():
    world = StickerWorld(32)
    with pytest.raises(ValueError, match="at least 16 px, got 15"):
        StickerWorld(15)
    with pytest.raises(ValueError, match="sketch, pixel, night, noisy"):
        world.scene(0, domain="oil")
    with pytest.raises(ValueError, match="1 to 4"):
        world.scene(0, n=5)
    with pytest.raises(ValueError, match="no categories"):
        world.scene(0, categories=[])
    with pytest.raises(ValueError, match=r"a list: \['cat'\]"):
        world.scene(0, categories="cat")
    with pytest.raises(KeyError, match="near: tiger"):
        world.scene(0, categories=["tigger"])
    with pytest.raises(KeyError, match="no sticker is called 'qqqqq'"):
        world.sticker("qqqqq")
    with pytest.raises(ValueError, match="at least 1 pixel"):
        world.sticker("cat", -3)
    with pytest.raises(ValueError, match="no picture"):
        glyphs.sticker("\u2003", 20)


@quick
@given(st.sampled_from(load_categories()), st.integers(1, 300))
def test_a_sticker_alone(category, size):
    world = StickerWorld(32)
    picture = world.sticker(category.name, size)
    assert isinstance(picture, Image.Image) and picture.mode == "RGBA"
    assert max(picture.size) == size
    for name in (category.char, category.char + "\ufe0f"):
        assert world.sticker(name, size).tobytes() == picture.tobytes()
        assert find_category(name) is category


def test_what_is_cached_cannot_be_spoilt():
    for shared in (
        glyphs.sticker_array(find_category("cat").char, 30),
        glyphs.disc_alpha(30),
        backgrounds.background("grass", 30),
    ):
        with pytest.raises(ValueError, match="read-only"):
            shared[0] = 0
    scene = StickerWorld(32).scene(3)
    first = scene.image.tobytes()
    scene.image.paste((0, 0, 0), (0, 0, 32, 32))
    assert scene.image.tobytes() == first


@pytest.mark.parametrize("name", backgrounds.NAMES)
def test_backgrounds_have_variants_and_no_other_sizes(name):
    drawn = [
        backgrounds.background(name, 40, v).tobytes()
        for v in range(backgrounds.VARIANTS)
    ]
    assert len(set(drawn)) >= backgrounds.VARIANTS // 2
    for size in (16, 97, 512):
        picture = backgrounds.background(name, size, 1)
        assert picture.shape == (size, size, 3)
        assert picture.dtype == np.uint8 and picture.std() > 0
