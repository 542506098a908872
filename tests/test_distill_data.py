"""The dense bench: who may see what, and features made once."""

from __future__ import annotations

import dataclasses
import gc
import weakref

import pytest
import torch
from distill_tiny import bench, protocol
from transfer_tiny import clip, close

from vlmtutor.distill.bench.names import further_names
from vlmtutor.distill.bench.protocol import (
    BASE,
    DISTRACTORS,
    NOVEL,
    PARTS,
    PSEUDO_NOVEL,
    Bench,
    Protocol,
)
from vlmtutor.distill.pictures import DensePictures, once, taps
from vlmtutor.distill.supervision import (
    IGNORE,
    Captioned,
    Masked,
    Partial,
    Regions,
    Tagged,
    Unlabeled,
)
from vlmtutor.models import inside
from vlmtutor.world import find_category


def test_value_path_is_the_last_block_with_the_identity_for_attention():
    pictures = bench().test_pictures
    states = inside.hidden_states(clip(), pictures.pixel_values)
    block, hidden = inside.vision_blocks(clip())[-1], states[-2]
    eye = torch.eye(hidden.shape[1])
    value = inside.value_path(block, hidden)
    close(value, inside.run_block(block, hidden, eye))
    close(pictures.dense, inside.read_out(clip(), value)[:, 1:])
    theirs = clip().patch_features(pictures.pixel_values).flatten(1, 2)
    close(pictures.dense, theirs.detach())


def test_blocks_are_those_of_transformers():
    pixels = bench().test_pictures.pixel_values
    states = inside.hidden_states(clip(), pixels)
    for k, block in enumerate(inside.vision_blocks(clip())):
        close(inside.run_block(block, states[k]), states[k + 1])
    theirs = clip().patch_features(pixels, path="attention").flatten(1, 2)
    close(inside.read_out(clip(), states[-1])[:, 1:], theirs)


def test_features_are_right_and_made_once():
    pictures = DensePictures(clip(), bench().test_pictures.images)
    images = [pictures.look(k) for k in range(len(pictures))]
    close(pictures.image_embeds, clip().encode_images(images))
    assert pictures.dense is pictures.dense
    theirs = clip().patch_features(pictures.pixel_values, "attention")
    close(pictures.patch_tokens, theirs.flatten(1, 2).detach(), atol=5e-3)
    L, T = 4, 1 + 16
    assert pictures.attention.shape == (6, L, T, T)
    close(pictures.attention.float().sum(-1), torch.ones(6, L, T), atol=5e-3)
    states = inside.hidden_states(clip(), pictures.pixel_values)
    for layer in (0, 1, *taps(clip()), 4):
        close(pictures.hidden(layer), states[layer].detach(), atol=5e-3)
    assert pictures.keys.shape == (6, 16, 32)


def test_what_was_forgotten_can_be_made_again():
    pictures = DensePictures(clip(), bench().test_pictures.images)
    keys, first = pictures.keys, pictures.hidden(0)
    pictures.forget()
    assert pictures.made == {"pixel_values", "image_embeds", "dense", *taps(clip())}
    assert torch.equal(pictures.keys, keys)
    assert torch.equal(pictures.hidden(0), first)


def test_slices_keep_what_is_known():
    pictures = DensePictures(clip(), bench().test_pictures.images)
    pictures.prepare("keys")
    for rows in (slice(1, 3), [1, 2], torch.arange(6) == 1):
        part = pictures[rows]
        assert part.made == pictures.made >= {"keys", "dense"}
        close(part.dense[0], pictures.dense[1])
        close(part.hidden(1)[0], pictures.hidden(1)[1])
        assert torch.equal(part.images[0], pictures.images[1])


def test_mirrored_pictures_are_mirrored_in_all_that_is_kept():
    pictures = bench().test_pictures[:2]
    pictures.prepare("keys")
    turned = pictures.mirrored()
    assert torch.equal(turned.images, pictures.images.flip(2))
    assert torch.equal(turned.pixel_values, pictures.pixel_values.flip(3))
    for layer in taps(clip()):
        a, b = pictures.hidden(layer), turned.hidden(layer)
        assert torch.equal(a[:, 0], b[:, 0])
        assert torch.equal(inside.as_map(a[:, 1:]).flip(-1), inside.as_map(b[:, 1:]))
    mirrored_keys = inside.as_map(pictures.keys).flip(-1)
    close(inside.as_map(turned.keys), mirrored_keys, atol=1e-5)
    assert torch.equal(turned.mirrored().dense, pictures.dense)


def test_tags_go_with_the_pictures_that_were_given_them():
    pictures, tags = bench().test_pictures, bench().oracle_tags
    told = pictures.with_tags(tags)
    assert torch.equal(told[1:3].tags, tags[1:3]) and pictures.tags is None
    assert torch.equal(told.mirrored().tags, tags)


def test_what_is_shared_is_made_once_and_goes_with_its_owner():
    class Owner:
        pass

    owner, other, made = Owner(), Owner(), []

    def make():
        made.append(Owner())
        return made[-1]

    assert once(owner, "a", make) is once(owner, "a", make) is made[0]
    assert once(owner, "b", make) is made[1] and once(other, "a", make) is made[2]
    gone = [weakref.ref(thing) for thing in made]
    made.clear()
    del owner
    gc.collect()
    assert [ref() is None for ref in gone] == [True, True, False]


def test_shifted_grid_lies_on_the_pixels():
    # pass (i, j) holds the rows 2 r + i and the columns 2 c + j
    g, D = 3, 1
    passes = torch.arange(4.0).view(1, 2, 2, 1, 1, D).expand(1, 2, 2, g, g, D)
    fine = inside.interleave(passes)[0, ..., 0]
    assert fine.shape == (6, 6)
    assert fine[:2, :2].tolist() == [[0, 1], [2, 3]]
    pixels = torch.arange(8.0).view(1, 1, 1, 8).expand(1, 1, 8, 8)
    moved = inside.shift_pixels(pixels, 0, -2)[0, 0, 0]
    assert moved.tolist() == [0, 0, 0, 1, 2, 3, 4, 5]
    shifted = bench().test_pictures.shifted
    assert shifted.shape == (6, 4 * 16, 16)
    close(shifted.norm(dim=-1), torch.ones(6, 64))


def test_types_hold_only_what_they_say():
    b = bench()
    have = {
        Unlabeled: {"pictures"},
        Captioned: {"pictures", "captions", "spans"},
        Tagged: {"pictures", "tags", "names"},
        Regions: {"pictures", "regions"},
        Masked: {"pictures", "labels", "regions", "names"},
        Partial: {"pictures", "labels", "regions", "names"},
    }
    for kind, fields in have.items():
        data = b.data(kind)
        assert type(data) is kind
        assert {f.name for f in dataclasses.fields(data)} == fields
        known = {*vars(data.pictures), *data.pictures.made}
        assert not known & {"scenes", "captions", "labels", "seed"}
        assert data.pictures.tags is None
    assert b.data(Masked) is b.data(Masked)
    both = b.data((Regions, Captioned))
    assert [type(part) for part in both] == [Regions, Captioned]
    with pytest.raises(TypeError, match="no data"):
        b.data(int)


def test_mask_scenes_hold_no_novel_sticker():
    b = bench()
    names = {o.name for s in b.scenes("masks") for o in s.objects}
    assert names <= set(b.base)
    masked = b.data(Masked)
    assert masked.labels.max() == len(b.base) and masked.labels.min() >= 0
    on = masked.regions >= 0
    assert torch.equal(on, masked.labels < len(b.base))


def test_partial_masks_leave_novel_stickers_open():
    b = bench()
    data, scenes = b.data(Partial), b.scenes("archive")
    assert (data.labels == IGNORE).any()
    for labels, regions, scene in zip(data.labels, data.regions, scenes, strict=False):
        for thing in scene.objects:
            mine = torch.from_numpy(thing.mask)
            known = thing.name in b.base
            want = b.base.index(thing.name) if known else IGNORE
            assert (labels[mine] == want).all()
            assert ((regions[mine] >= 0) == known).all()


def test_tags_and_phrases_come_from_the_scene():
    b = bench()
    data = b.data(Tagged)
    for tags, scene in zip(data.tags, b.scenes("archive"), strict=True):
        there = {o.name for o in scene.objects if o.mask.any()}
        assert {b.names[k] for k in tags.nonzero()[:, 0]} == there
    captioned = b.data(Captioned)
    for phrases, text in zip(captioned.phrases(), captioned.captions, strict=True):
        assert phrases and all(phrase in text for phrase in phrases)


def test_captions_speak_of_more_than_anybody_asks_for():
    """Or they would tell a method the very names of the test."""
    b = bench()
    spoken = {o.name for s in b.scenes("captions") for o in s.objects}
    assert spoken - set(b.names)
    asked = {
        o.name for p in ("archive", "test") for s in b.scenes(p) for o in s.objects
    }
    assert asked <= set(b.names)
    assert len(Protocol().names("captions")) == len(BASE) + len(NOVEL) + DISTRACTORS


def test_more_names_are_masked_and_never_tested():
    few, many = (dataclasses.replace(protocol(), more=n) for n in (0, 9))
    assert set(few.names("masks")) < set(many.names("masks"))
    assert many.names("test") == few.names("test")
    wide = Bench(clip(), many)
    data = wide.data(Masked)
    assert data.names[: len(many.base)] == list(many.base)
    assert len(data.names) == len(many.base) + 9
    assert not set(data.names) & set(many.novel)
    assert int(data.labels.max()) <= len(data.names)
    assert torch.equal(wide.test_pictures.images, bench().test_pictures.images)
    assert further_names(3) == further_names(9)[:3]


def test_noisy_pictures_show_the_same_scenes():
    b = bench()
    noisy = b.pictures("test", "noisy")
    assert not torch.equal(noisy.images, b.test_pictures.images)
    for a, c in zip(b.scenes("test"), b.scenes("test", "noisy"), strict=True):
        assert (a.owners == c.owners).all()


def test_classes_have_relatives_and_pseudo_novel_ones_are_base():
    for name in NOVEL:
        category = find_category(name)
        assert not category.base and category.relative in BASE
    assert all(find_category(name).base for name in BASE)
    pseudo = Protocol().pseudo()
    assert set(pseudo.novel) == set(PSEUDO_NOVEL) <= set(BASE)
    assert not set(pseudo.base) & set(pseudo.novel)
    assert not set(NOVEL) & {*pseudo.base, *pseudo.novel}


def test_no_two_splits_share_a_scene():
    small = Protocol.small()
    seeds = [
        scene.seed
        for p in (small, Protocol.small(1), small.pseudo())
        for part in PARTS
        for scene in p.scenes(part, 32)
    ]
    assert len(seeds) == len(set(seeds))


def test_benches_are_the_same_each_time():
    a, b = bench(), Bench(clip(), protocol())
    assert torch.equal(a.test_pictures.images, b.test_pictures.images)
    assert a.data(Captioned).captions == b.data(Captioned).captions
    other = Bench(clip(), protocol(1))
    assert not torch.equal(a.test_pictures.images, other.test_pictures.images)
