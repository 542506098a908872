"""LSeg, CLIPSeg, Fusioner and ZegCLIP are what they say: identity tests."""

from __future__ import annotations

import functools
from types import SimpleNamespace

import pytest
import torch
from distill_tiny import bench
from transfer_tiny import clip, close

from vlmtutor.distill.bench.answers import predict
from vlmtutor.distill.parts import refine, texts
from vlmtutor.distill.segmentation import clipseg, fusioner, lseg, zegclip
from vlmtutor.distill.supervision import IGNORE, Masked, Partial
from vlmtutor.models.inside import as_map, vision_blocks

NAMES = bench().names
BASE = bench().base
METHODS = {
    "LSeg": (lseg, {"steps": 2}),
    "LSeg on states": (lseg, {"steps": 2, "encoder": "states"}),
    "CLIPSeg": (clipseg, {"steps": 2}),
    "Fusioner": (fusioner, {"steps": 2}),
    "ZegCLIP": (zegclip, {"steps": 2}),
}


@functools.cache
def fitted(name, **settings):
    module, own = METHODS[name]
    return module.fit(clip(), bench().data(Masked), 0, **own | settings)


def frozen_weights():
    return [p.clone() for p in clip().model.parameters()]


@pytest.mark.parametrize("name", METHODS)
def test_training_leaves_clip_alone_and_is_the_same_each_time(name):
    module, settings = METHODS[name]
    before = frozen_weights()
    first, second = (
        module.fit(clip(), bench().data(Masked), 3, **settings) for _ in range(2)
    )
    after = clip().model.parameters()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert all(p.requires_grad for p in clip().model.parameters())
    pictures = bench().test_pictures
    a, b = (m.scores(pictures, NAMES, bench().seen) for m in (first, second))
    assert torch.equal(a, b)
    assert first.trained > 0
    labels = predict(first, pictures, NAMES, bench().seen)
    assert int(labels.max()) <= len(NAMES)


# LSeg


def test_lseg_smooths_all_labels_with_one_filter():
    smooth = lseg.Smoothing(last=False)
    scores = torch.randn(2, 5, 6, 6)
    order = torch.tensor([3, 1, 4, 0, 2])
    close(smooth(scores)[:, order], smooth(scores[:, order]))
    assert smooth(scores[:, :2]).shape == (2, 2, 6, 6)


def test_lseg_permutes_with_its_labels():
    model, pictures = fitted("LSeg"), bench().test_pictures
    order = torch.randperm(len(NAMES), generator=torch.manual_seed(0))
    a = model.scores(pictures, NAMES)[:, :-1][:, order]
    b = model.scores(pictures, [NAMES[k] for k in order])[:, :-1]
    close(a, b)


def test_lseg_reads_pixels_and_no_picture_tower():
    model, pictures = fitted("LSeg"), bench().test_pictures[:2]
    with torch.no_grad():
        before = model.net.encode(pictures)
    other = type(pictures)(pictures.clip, pictures.images.flip(0))
    with torch.no_grad():
        close(model.net.encode(other), before.flip(0), atol=1e-5)
    assert other.made == {"pixel_values"}  # no pass through CLIP


def test_lsegs_words_are_the_frozen_text_embeddings():
    model = fitted("LSeg")
    W, places = model.vectors(NAMES)
    assert torch.equal(W, texts.text_classifier(clip(), NAMES))
    assert torch.equal(places, texts.background_classifier(clip()))
    shuffled = fitted("LSeg", shuffled=True).vectors(NAMES)[0]
    n = len(BASE)
    moved = torch.cat([W[:n], W[n + 1 :], W[n : n + 1]])
    assert torch.equal(shuffled, moved)


def test_lseg_can_be_kept_to_base_names():
    scores = fitted("LSeg", answers="base").scores(bench().test_pictures, NAMES)
    new = torch.arange(len(NAMES)) >= len(BASE)
    assert (scores[:, :-1][:, new] == -torch.inf).all()
    assert scores[:, :-1][:, ~new].isfinite().all()


def test_learned_labels_replace_words():
    model = fitted("LSeg", classifier="learned")
    W, places = model.vectors(NAMES)
    # as many vectors for the background as words have, or arms differ in two things
    assert places.shape == texts.background_classifier(clip()).shape
    assert not torch.equal(W[: len(BASE)], texts.text_classifier(clip(), BASE))
    assert model.trained > fitted("LSeg").trained


# CLIPSeg


def test_clipsegs_map_of_a_name_ignores_other_names():
    model, pictures = fitted("CLIPSeg"), bench().test_pictures
    alone = model.maps(pictures, NAMES[:1])
    close(model.maps(pictures, NAMES)[:, :1], alone, atol=1e-6)


def test_clipseg_reads_several_levels_and_is_told_once():
    decoder = fitted("CLIPSeg").decoder
    states = [s[:2] for s in fitted("CLIPSeg").states(bench().test_pictures)]
    prompt = torch.randn(2, 1, clip().embed_dim)
    whole = decoder(states, prompt)
    assert whole.shape == (2, 1, clip().image_size, clip().image_size)
    for k in range(len(states)):  # every level matters
        other = list(states)
        other[k] = torch.randn_like(other[k])
        assert not torch.allclose(decoder(other, prompt), whole)
    # scale and shift are all that a prompt can do
    decoder_blind = clipseg.Decoder(clip(), len(states), 48, 0)
    for layer in (decoder_blind.scale, decoder_blind.shift):
        torch.nn.init.zeros_(layer.weight)
    close(decoder_blind(states, prompt), decoder_blind(states, -3 * prompt))


def test_clipsegs_prompts_keep_their_lengths():
    raw = clipseg.raw_texts(clip(), ["a dog", "the cat"])
    close(
        torch.nn.functional.normalize(raw, dim=-1),
        clip().encode_texts(["a dog", "the cat"]),
    )
    assert not torch.allclose(raw.norm(dim=-1), torch.ones(2), atol=0.01)


def test_clipseg_takes_pictures_for_prompts():
    words, picture = fitted("CLIPSeg"), fitted("CLIPSeg", prompt="image")
    pictures = bench().test_pictures
    a, b = (m.maps(pictures, NAMES) for m in (words, picture))
    assert a.shape == b.shape and not torch.allclose(a, b)


def test_a_random_tower_begins_as_the_model_itself_does():
    other = clipseg.untrained(clip(), 5)
    config = clip().model.config.vision_config
    own, drawn = (c.model.vision_model.embeddings for c in (clip(), other))
    for name in ("class_embedding", "position_embedding"):
        pair = [getattr(e, name) for e in (own, drawn)]
        pair = [getattr(e, "weight", e) for e in pair]
        assert not torch.equal(*pair), name
    spread = drawn.position_embedding.weight.std()
    wanted = config.initializer_range * config.initializer_factor
    assert 0.5 * wanted < spread < 2 * wanted
    again = clipseg.untrained(clip(), 5).model.state_dict()
    same = other.model.state_dict()
    assert all(torch.equal(again[k], same[k]) for k in same)


def test_false_area_is_where_any_absent_name_says_yes():
    maps = torch.zeros(6, len(NAMES), 4, 4)
    tags = bench().oracle_tags
    absent = [int((~row).nonzero()[0]) for row in tags]
    here = [int(row.nonzero()[0]) for row in tags]
    for k in range(6):
        maps[k, here[k]] = 0.9  # what is there may say yes everywhere
        maps[k, absent[k], 0] = 0.9  # a quarter of the picture

    parts = iter(maps.split(16))
    model = SimpleNamespace(maps=lambda pictures, names: next(parts))
    trial = SimpleNamespace(bench=bench(), model=lambda info: model)
    close(clipseg.false_area(trial), torch.full((6,), 0.25))


def test_a_highlight_shows_the_thing_on_dark_ground():
    import numpy as np

    image = np.full((16, 16, 3), 200, np.uint8)
    mask = np.zeros((16, 16), bool)
    mask[4:8, 6:10] = True
    prompt = np.asarray(clipseg.highlight(image, mask))
    assert prompt.shape[0] == prompt.shape[1]
    assert (prompt == 200).all(-1).sum() == mask.sum()
    assert prompt[0, 0].max() <= 20


# Fusioner


def test_fusion_makes_names_depend_on_the_picture():
    net = fitted("Fusioner").net
    W = texts.text_classifier(clip(), NAMES)
    dense = bench().test_pictures.dense[:2]
    _, names = net.fuse(dense, W)
    assert not torch.allclose(names[0], names[1], atol=1e-4)
    bare = fusioner.FusionNet(clip().embed_dim, 0, 64, 0)
    _, names = bare.fuse(dense, W)
    close(names[0], names[1])


def test_fusion_goes_both_ways():
    net = fitted("Fusioner").net
    dense = bench().test_pictures.dense[:1]
    W = texts.text_classifier(clip(), NAMES)
    pixels, names = net.fuse(dense, W)
    other_pixels, _ = net.fuse(dense, W.flip(0)[:2])
    assert not torch.allclose(pixels, other_pixels, atol=1e-4)
    _, other_names = net.fuse(torch.randn_like(dense), W)
    assert not torch.allclose(names, other_names, atol=1e-4)


def test_fusioners_logits_start_from_clips_cosines():
    """Those of pixels, after the decoder: not only those of patches."""
    W, dense = (texts.text_classifier(clip(), NAMES), bench().test_pictures.dense)
    cosines = refine.upsample(as_map(dense @ W.T), 16)
    found = {}
    for start in ("agreement", "chance"):
        net = fusioner.FusionNet(clip().embed_dim, 2, 64, 0, start)
        with torch.no_grad():
            pair = torch.stack([cosines.flatten(), net(dense, W).flatten()])
        found[start] = torch.corrcoef(pair)[0, 1]
    assert found["agreement"] > max(0.8, found["chance"])


@pytest.mark.parametrize("name", ["Fusioner", "ZegCLIP"])
def test_few_pixels_are_a_name_before_training(name):
    module, _ = METHODS[name]
    data = bench().data(Masked)
    shares = {}
    for start in ("agreement", "chance"):
        model = module.fit(clip(), data, 0, steps=0, start=start)
        maps = model.scores(data.pictures, BASE)[:, :-1]
        shares[start] = float((maps > 0.5).float().mean())
    assert 0.01 < shares["agreement"] < 0.1 < shares["chance"]
    assert module.AS_PUBLISHED.settings == {"start": "chance"}


def near_names(D: int, names: int, cells: int):
    """Unit vectors [names, D], and patches [2, cells, D] that lie near them."""
    g = torch.Generator().manual_seed(0)
    W = torch.nn.functional.normalize(torch.randn(names, D, generator=g), dim=-1)
    which = torch.randint(names, (2, cells), generator=g)
    noise = torch.randn(2, cells, D, generator=g) / D**0.5
    return W, torch.nn.functional.normalize(W[which] + noise, dim=-1), which


# width of CLIP's space, names, cells: as of the models in the box and the bench
SIZES = 192, 50, 144


def test_fusioner_starts_from_cosines_in_a_space_of_three_times_its_width():
    W, patches, which = near_names(*SIZES)
    assert fusioner.WIDTH < W.shape[1]
    net = fusioner.FusionNet(W.shape[1], 2, fusioner.WIDTH, 0)
    with torch.no_grad():
        pixels, names = net.fuse(patches, W)
        pixels = torch.nn.functional.normalize(pixels, dim=-1)
        names = torch.nn.functional.normalize(names, dim=-1)
    best = (pixels @ names.mT).argmax(-1)
    assert (best == which).float().mean() > 0.8


def test_zegclip_starts_from_cosines_with_the_settings_of_its_row():
    """Two layers, a descriptor, and a width that is not CLIP's."""
    W, patches, which = near_names(*SIZES)

    class Wide:
        embed_dim = W.shape[1]
        model = clip().model

    net = zegclip.ZegNet(Wide(), seed=0)
    assert zegclip.WIDTH < W.shape[1] and len(net.layers) == 2 and net.descriptor
    picture = torch.nn.functional.normalize(patches.mean(1), dim=-1)
    net.embeds = lambda states: (picture, patches)
    with torch.no_grad():
        logits = net(patches, W)[-1].flatten(2)
    assert (logits.argmax(1) == which).float().mean() > 0.8
    chance = zegclip.ZegNet(Wide(), seed=0, start="chance")
    chance.embeds = net.embeds
    with torch.no_grad():
        logits = chance(patches, W)[-1].flatten(2)
    assert (logits.argmax(1) == which).float().mean() < 0.2


def test_fusioner_takes_other_names_for_each_picture():
    net = fitted("Fusioner").net
    W, dense = (texts.text_classifier(clip(), NAMES), bench().test_pictures.dense)
    each = torch.stack([W[:2], W[2:4]])
    both = net(dense[:2], each)
    close(both[1:], net(dense[1:2], W[2:4]), atol=1e-4)


def test_fusioner_says_yes_or_no_per_name():
    scores = fitted("Fusioner").scores(bench().test_pictures, NAMES)
    assert scores.min() >= 0 and scores.max() <= 1
    assert not torch.allclose(scores.sum(1), torch.ones(1))


def test_word_vectors_need_no_picture_and_never_change():
    names = ["tiger", "lion", "violin"]
    a, b = (fusioner.word_vectors(names, 256) for _ in range(2))
    assert torch.equal(a, b)
    assert a[0] @ a[1] > a[0] @ a[2]  # like things share words


# ZegCLIP


def test_zegclips_mask_of_a_name_ignores_the_vocabulary():
    model, pictures = fitted("ZegCLIP"), bench().test_pictures
    all_names = model.logits(pictures, NAMES)
    for k in (0, len(NAMES) - 1):
        close(all_names[:, k], model.logits(pictures, [NAMES[k]])[:, 0])


def test_zegclips_query_is_text_times_picture_beside_text():
    net = zegclip.ZegNet(clip(), prompts=False, layers=1)
    seen = []
    net.query.register_forward_pre_hook(lambda m, args: seen.append(args[0]))
    states = bench().test_pictures.hidden(len(vision_blocks(clip())) - 2)
    W = texts.text_classifier(clip(), NAMES)
    net(states, W)
    g = bench().test_pictures.image_embeds
    root = clip().embed_dim ** 0.5
    want = torch.cat([W * g[:, None], W.expand(len(g), -1, -1)], -1)
    close(seen[0], root * want, atol=2e-2)  # states are kept in half


def test_without_prompts_the_tower_is_clips_own():
    net = zegclip.ZegNet(clip(), prompts=False)
    pictures = bench().test_pictures
    states = pictures.hidden(len(vision_blocks(clip())) - 2)
    picture, patches = net.embeds(states)
    close(picture, pictures.image_embeds, atol=5e-3)
    close(patches, pictures.patch_tokens, atol=5e-3)


def test_zegclip_starts_from_clips_cosines():
    net = zegclip.ZegNet(clip(), prompts=False, descriptor=False, layers=1)
    states = bench().test_pictures.hidden(len(vision_blocks(clip())) - 2)
    W = texts.text_classifier(clip(), NAMES)
    with torch.no_grad():
        cosines = net.embeds(states)[1] @ W.T  # [N, T, C]
        logits = net(states, W)[-1].flatten(2).mT
    pair = torch.stack([cosines.flatten(), logits.flatten()])
    assert torch.corrcoef(pair)[0, 1] > 0.9


def test_zegclips_patches_are_normed_after_their_projection():
    net, seen = zegclip.ZegNet(clip(), prompts=False), []
    net.layers[0].key.register_forward_pre_hook(lambda m, args: seen.append(args[0]))
    states = bench().test_pictures.hidden(len(vision_blocks(clip())) - 2)
    with torch.no_grad():
        net(states, texts.text_classifier(clip(), NAMES))
    close(seen[0].mean(-1), torch.zeros(seen[0].shape[:2]), atol=1e-4)
    close(seen[0].std(-1), torch.ones(seen[0].shape[:2]), atol=1e-2)


def test_focal_losses_are_shared_out_among_the_masks_that_are_there():
    g = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 2, 2, generator=g)
    labels = torch.tensor([[[0, 0], [3, 3]], [[1, 2], [3, 3]]])  # 3 masks of 6
    yes = (labels[:, None] == torch.arange(3)[:, None, None]).float()
    p = logits.sigmoid()
    right, side = yes * p + (1 - yes) * (1 - p), yes * 0.25 + (1 - yes) * 0.75
    focal = (side * (1 - right) ** 2 * -right.log()).mean((2, 3)).sum() / 3
    there = yes.flatten(2).any(-1)
    p, y = p[there].flatten(1), yes[there].flatten(1)
    dice = (1 - (2 * (p * y).sum(1) + 1) / ((p + y).sum(1) + 1)).mean()
    close(zegclip.mask_loss(logits, labels, False), 100 * focal + dice, atol=1e-4)


def test_the_mask_is_the_attention_before_its_softmax():
    layer = zegclip.LookLayer(8, 1)
    names, patches = torch.randn(1, 2, 8), torch.randn(1, 3, 8)
    _, raw = layer(names, patches)
    by_hand = layer.query(names) @ layer.key(patches).transpose(1, 2) / 8**0.5
    close(raw, by_hand, atol=1e-5)


def test_the_offset_sends_no_thing_to_the_background():
    pictures, seen = bench().test_pictures, bench().seen
    plain, less = (
        fitted("ZegCLIP", offset=x, background=0.3).scores(pictures, NAMES, seen)
        for x in (0.0, 0.25)
    )
    ground = len(NAMES)
    before, after = plain.argmax(1), less.argmax(1)
    assert torch.equal(before == ground, after == ground)
    close(plain[:, :ground][:, seen] - 0.25, less[:, :ground][:, seen])
    close(plain[:, :ground][:, ~seen], less[:, :ground][:, ~seen])


def test_focal_and_dice_leave_unlabelled_pixels_out():
    logits = torch.randn(1, 2, 2, 2)
    labels = torch.tensor([[[0, 1], [2, IGNORE]]])
    before = zegclip.mask_loss(logits, labels, exclusive=False)
    logits[..., 1, 1] += 5.0
    close(zegclip.mask_loss(logits, labels, exclusive=False), before)


def test_self_training_needs_novel_names_and_changes_the_net():
    data = bench().data(Partial)
    settings = {"names": NAMES, "novel": bench().novel, "steps": 2}
    alone, taught = (
        zegclip.fit(clip(), data, 0, self_train_at=at, **settings) for at in (None, 0.5)
    )
    pictures = bench().test_pictures
    a, b = (m.logits(pictures, NAMES) for m in (alone, taught))
    assert not torch.allclose(a, b)
