"""Pre-training batches: reproducible, and true of their pictures."""

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmtutor.models import ImageSettings
from vlmtutor.pretrain import data as module
from vlmtutor.pretrain.build import IMAGE_MEAN, IMAGE_STD
from vlmtutor.pretrain.config import PretrainConfig
from vlmtutor.pretrain.data import (
    PretrainData,
    augment,
    random_phrase,
    to_pixel_values,
    to_pixels,
)
from vlmtutor.pretrain.pixels import cropped
from vlmtutor.world import StickerWorld, backgrounds, load_categories, seeds, seeds_of

quick = settings(max_examples=20, deadline=None)
TABLE = load_categories()
PLACES = list(backgrounds.PHRASES.values())
FEW = {"batch_size": 12, "mosaics": 4, "every_category": 70}


def config(**knobs):
    return PretrainConfig(**FEW | knobs)


def parts(batch):
    """All that a batch or its mosaics hold, to compare."""
    return {
        k: v.numpy().tobytes() if isinstance(v, torch.Tensor) else v
        for k, v in vars(batch).items()
    }


@quick
@given(st.integers(0, 50_000), st.integers(0, 3))
def test_a_step_and_a_seed_mean_one_batch(step, seed):
    knobs = config(seed=seed, batch_size=3, mosaics=1)
    one, two = PretrainData(knobs), PretrainData(knobs)
    two.batch(step + 1, 32, 0.5), two.mosaics(step + 2, 32)  # leave no trace
    assert parts(one.batch(step, 32, 0.5)) == parts(two.batch(step, 32, 0.5))
    assert parts(one.mosaics(step, 32)) == parts(two.mosaics(step, 32))
    later = one.batch(step + 1, 32, 0.5)
    assert parts(later)["pixels"] != parts(one.batch(step, 32, 0.5))["pixels"]


def test_no_scene_is_used_twice_and_all_are_of_the_training_split(monkeypatch):
    drawn = []

    def recording(*args):
        drawn.append(seeds_of(*args))
        return drawn[-1]

    monkeypatch.setattr(module, "seeds_of", recording)
    for seed in (0, 1, 3):
        data = PretrainData(config(seed=seed, batch_size=2, mosaics=1))
        for step in (0, 1, 2, 999_999):
            data.batch(step, 24, 0.5), data.mosaics(step, 24)
    every = [s for some in drawn for s in some]
    assert len(every) == 3 * 4 * (2 + 4) == len(set(every))
    train = seeds("train", 10**9)
    assert all(seed in train for seed in every)
    with pytest.raises(ValueError, match="seed 4"):  # others begin there
        PretrainData(config(seed=4)).batch(0, 24, 0.5)


class Painted:
    """Instead of a scene: one colour that tells category and background."""

    def __init__(self, layout, size, domain, seed):
        self.layout, self.size = layout, size

    @property
    def array(self):
        code = (
            self.layout.placements[0].category % 256,
            self.layout.placements[0].category // 256,
            backgrounds.NAMES.index(self.layout.background),
        )
        return np.full((self.size, self.size, 3), code, np.uint8)


def painted(pixels):
    """Pictures [N, 3, H, W] → what Painted wrote: [N, H, W] each."""
    low, high, place = pixels.long().unbind(1)
    return low + 256 * high, place


@pytest.mark.parametrize("size", [32, 64, 96])
@pytest.mark.parametrize("every_name", [True, False])
def test_present_tells_what_each_quarter_shows(monkeypatch, size, every_name):
    monkeypatch.setattr(module, "Scene", Painted)
    data = PretrainData(config(augment=0.0, every_name=every_name))
    shared = splits = 0
    for step in range(6):
        mosaics = data.mosaics(step, size)
        category, place = painted(mosaics.pixels)
        row, column = (8 * s for s in mosaics.split)
        assert 0 < row < size and 0 < column < size
        splits += row != column
        assert len(mosaics.phrases) == len(mosaics.present)
        used = mosaics.phrases[-len(set(place.flatten().tolist())) :]
        named = len(mosaics.phrases) - len(used)
        assert set(used) <= set(PLACES)
        for m in range(4):
            quarters = [
                (slice(a, b), slice(c, d))
                for a, b in ((0, row), (row, size))
                for c, d in ((0, column), (column, size))
            ]
            where = [place[m][q].unique() for q in quarters]
            shared += len({int(p) for p in where}) == 1
            for k, q in enumerate(quarters):
                shown, background = category[m][q].unique(), where[k]
                assert len(shown) == len(background) == 1  # one scene
                true = mosaics.present[:, 4 * m + k]
                assert true[:named].sum() == true[named:].sum() == 1
                phrase = mosaics.phrases[int(true[:named].int().argmax())]
                words = words_of(TABLE[int(shown)])
                assert phrase in words
                name = backgrounds.NAMES[int(background)]
                spoken = used[int(true[named:].int().argmax())]
                assert spoken == backgrounds.PHRASES[name]
        if every_name:
            assert named == len(data.categories)
        else:
            assert mosaics.present.any(1).all()
    assert splits and 6 <= shared <= 18  # half have one background


def words_of(category):
    """All that a phrase may call a category."""
    rng = random.Random(0)
    return {random_phrase(rng, category) for _ in range(600)}


@pytest.mark.parametrize("every_name", [True, False])
def test_a_batch_tells_what_its_pictures_show(monkeypatch, every_name):
    monkeypatch.setattr(module, "Scene", Painted)
    data = PretrainData(config(augment=0.0, every_name=every_name))
    for share in (0.0, 0.5, 1.0):
        batch = data.batch(3, 32, share)
        first, _ = painted(batch.pixels)
        assert batch.pixels.shape == (12, 3, 32, 32)
        assert batch.present.shape == (len(batch.phrases), 12)
        assert len(batch.phrases) == len(batch.categories)
        kinds = [
            {batch.categories[p] for p in column.nonzero().flatten()}
            for column in batch.present.T
        ]
        for k in range(12):
            assert int(first[k].unique()) in kinds[k]
            lone = next(iter(kinds[k])) if len(kinds[k]) == 1 else -1
            assert batch.single[k] == lone
            for j in range(12):
                assert batch.same[k, j] == (kinds[k] == kinds[j])
        assert batch.same.any(1).all() and batch.same.float().std() > 0
        for phrase, category in zip(batch.phrases, batch.categories, strict=True):
            assert phrase in words_of(TABLE[category])
        if every_name:
            assert batch.categories == data.categories
        if share == 1:
            assert (batch.single >= 0).all()


def test_every_category_thins_the_table():
    assert PretrainData(config(every_category=1)).categories == list(range(len(TABLE)))
    data = PretrainData(config(every_category=104))
    assert data.categories == [0, 104, 208, 312]
    seen = set()
    for step in range(5):
        batch = data.batch(step, 32, 0.5)
        seen |= set(batch.single.tolist())
    assert seen == {-1, *data.categories}


def test_pixels_are_those_that_the_exported_model_gets():
    scenes = [StickerWorld(96).scene(seed) for seed in range(3)]
    ours = to_pixel_values(to_pixels(np.stack([s.array for s in scenes])))
    used = ImageSettings(96, (96, 96), mean=IMAGE_MEAN, std=IMAGE_STD)
    theirs = np.stack([used.pixel_values(s.image) for s in scenes])
    assert torch.allclose(ours, torch.from_numpy(theirs), atol=1e-6)
    assert ours.abs().max() <= 1


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.3, 1.0]))
def test_augmentation_repeats_and_keeps_the_form(seed, strength):
    pixels = StickerWorld(48).scene(seed).array
    before = pixels.copy()
    once, again = (
        augment(pixels, np.random.default_rng(seed), strength) for _ in range(2)
    )
    assert once.shape == pixels.shape and once.dtype == np.uint8
    assert np.array_equal(once, again) and np.array_equal(pixels, before)
    none = augment(pixels, np.random.default_rng(seed), 0.0)
    assert np.array_equal(none, pixels)


def test_augmentation_changes_many_pictures_but_not_what_they_show():
    changed = []
    for seed in range(60):
        pixels = StickerWorld(48).scene(seed).array
        drawn = augment(pixels, np.random.default_rng(seed), 1.0)
        changed.append(not np.array_equal(drawn, pixels))
        a, b = pixels.mean(-1).ravel(), drawn.mean(-1).ravel()
        assert np.corrcoef(a, b)[0, 1] > 0.6
    assert 0.5 < np.mean(changed) < 0.9


def test_a_caption_is_cut_by_its_commas_and_ands():
    caption = "a photo of a cat, two big dogs and a red pan, and sand on a beach."
    assert module.cut_phrases(caption) == [
        "a photo of a cat",
        "two big dogs",
        "a red pan",
        "sand on a beach",
    ]
    assert module.cut_phrases("a cat and a cat") == ["a cat"]


def test_phrases_of_captions_stand_where_their_caption_does():
    data = PretrainData(config(phrases="caption", every_name=False, batch_size=12))
    batch = data.batch(0, 32, 0.2)
    assert len(batch.phrases) == len(batch.present) == len(set(batch.phrases))
    for phrase, row in zip(batch.phrases, batch.present, strict=True):
        for caption, there in zip(batch.captions, row, strict=True):
            assert there == (phrase in module.cut_phrases(caption))
    assert batch.present.any(0).all() and batch.present.any(1).all()


def test_a_crop_keeps_most_of_the_scene_and_its_caption():
    whole = PretrainData(config(augment=0.0, batch_size=20)).batch(0, 48, 0.3)
    crop = PretrainData(config(augment=0.0, batch_size=20, crop=0.6))
    crop = crop.batch(0, 48, 0.3)
    assert crop.captions == whole.captions
    assert crop.pixels.shape == whole.pixels.shape
    assert not torch.equal(crop.pixels, whole.pixels)
    ramp = np.tile(np.arange(240, dtype=np.uint8)[:, None], (1, 240))
    ramp = np.stack([ramp, ramp.T, ramp], -1)
    rng = np.random.default_rng(0)
    for _ in range(50):
        seen = cropped(ramp, rng, 0.6).astype(float)
        high, wide = np.ptp(seen[..., 0]) / 239, np.ptp(seen[..., 1]) / 239
        assert 0.58 < high * wide <= 1 and abs(high - wide) < 0.02
    assert cropped(ramp, rng, 1.0) is ramp
