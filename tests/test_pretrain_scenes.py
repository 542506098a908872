"""Scenes and lines that training alone draws; those of others stay theirs."""

import hashlib
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from vlmtutor.memes import read_captions
from vlmtutor.pretrain import layouts, lines
from vlmtutor.pretrain.config import PretrainConfig
from vlmtutor.pretrain.data import PretrainData
from vlmtutor.pretrain.layouts import (
    LARGE,
    MAX_TILT,
    SMALL,
    casts,
    posed_layout,
    scene_layout,
    turned,
)
from vlmtutor.pretrain.lines import clauses, line_about, scene_caption
from vlmtutor.world import (
    CaptionMix,
    Layout,
    Placement,
    Scene,
    StickerWorld,
    find_category,
    glyphs,
    load_categories,
    posters,
    random_layout,
    seeds_of,
)
from vlmtutor.world.layout import covers

TABLE = load_categories()
EVERY = list(range(len(TABLE)))
MIX = CaptionMix()


def posed(n=400):
    return [posed_layout(random.Random(seed), EVERY) for seed in range(n)]


def test_scenes_of_others_are_what_they_were(monkeypatch):
    """Their layouts to the last digit, and drawn without the new step."""
    digest = hashlib.sha256()
    for owner in ("evaluation", "lessons"):
        for seed in seeds_of(owner, "test", 300):
            layout = StickerWorld(48).scene(seed).layout
            spots = [
                (p.category, p.x, p.y, p.size, p.mirrored, p.color)
                for p in layout.placements
            ]
            assert not any(p.tilt for p in layout.placements)
            shown = layout.background, layout.variant, spots
            digest.update(repr(shown).encode())
    assert digest.hexdigest()[:16] == "714b92235b628581"
    monkeypatch.setattr(glyphs, "tilted", None)
    assert StickerWorld(48).scene(5).array.any()


def test_posed_scenes_are_of_all_kinds():
    kinds = Counter()
    for layout in posed():
        spots = layout.placements
        assert 1 <= len(spots) <= 4
        for p in spots:
            assert abs(p.tilt) <= MAX_TILT
            assert p.size / 2 <= p.x <= 1 - p.size / 2
            assert p.size / 2 <= p.y <= 1 - p.size / 2
        large, *rest = sorted((p.size for p in spots), reverse=True)
        if rest and large >= LARGE[0] and max(rest) <= SMALL[1]:
            kinds["large and small"] += 1
            assert spots[0].size == large  # the small ones are drawn later
            on = any(covers(spots[0], p) > 0.5 for p in spots[1:])
            kinds["on top"] += on
        elif len(rest) == 1 and rest[0] >= 0.46:
            kinds["two large"] += 1
    assert kinds["large and small"] > 150 and kinds["two large"] > 70
    assert 75 < kinds["on top"] < kinds["large and small"]
    tilts = [p.tilt for layout in posed() for p in layout.placements]
    assert 0.5 < np.mean([t != 0 for t in tilts]) < 0.7
    assert max(tilts) > 28 and min(tilts) < -28


def test_a_layout_has_a_seed():
    assert posed_layout(random.Random(3), EVERY) == posed_layout(
        random.Random(3), EVERY
    )
    few = posed_layout(random.Random(3), [7, 9])
    assert {p.category for p in few.placements} <= {7, 9}


def test_a_tilted_sticker_is_turned_and_the_rest_stays():
    spot = Placement(find_category("pencil").index, 0.5, 0.5, 0.6, False, None)
    angles, sizes = [], []
    for tilt in (0, 30, -20):
        layout = Layout("sky", 1, (Placement(**vars(spot) | {"tilt": tilt}),))
        y, x = np.nonzero(Scene(layout, 96, "sticker", 0).owners == 0)
        assert abs(x.mean() - 48) < 3 and abs(y.mean() - 48) < 3
        (xx, xy), (_, yy) = np.cov(x, y)
        # of its long axis; y goes down, so anticlockwise is the other sign
        angles.append(-np.degrees(np.arctan2(2 * xy, xx - yy)) / 2)
        sizes.append(len(x))
    straight, *others = angles
    for tilt, angle in zip((30, -20), others, strict=True):
        off = (angle - straight - tilt + 90) % 180 - 90
        assert abs(off) < 4
    assert sizes[1] == pytest.approx(sizes[0], rel=0.1)


def test_what_a_poster_shows_together_is_never_drawn(monkeypatch):
    names = ["grumpy cat", "alarm clock", "T-rex", "broccoli", "rocket"]
    few = [find_category(n).index for n in names]
    assert frozenset(few[:2]) in casts() and len(casts()) == len(posters.POSTERS)
    seen = Counter()
    for seed in range(400):
        layout = scene_layout(random.Random(seed), few, 0.2, 0.5)
        seen[frozenset(p.category for p in layout.placements)] += 1
    assert not seen.keys() & casts()
    assert seen[frozenset((few[0], few[2]))]  # other pairs are


def test_without_posed_scenes_the_draw_is_as_before():
    for seed in range(20):
        rng = random.Random(seed)
        n = 1 if rng.random() < 0.45 else rng.choice((2, 2, 2, 2, 3, 4))
        expected = random_layout(rng, EVERY, n)
        again = random.Random(seed)
        assert scene_layout(again, EVERY, 0.45, 0.0) == expected
        assert again.random() == rng.random()


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_scenes_of_two_things_get_a_line_about_both(share, monkeypatch):
    told = []
    monkeypatch.setattr(
        lines, "line_about", lambda rng, a, b: told.append({a.index, b.index}) or "x"
    )
    for seed in range(60):
        layout = posed_layout(random.Random(seed), EVERY)
        kinds = {p.category for p in layout.placements}
        before = len(told)
        text = scene_caption(random.Random(seed), layout, MIX, share)
        assert (text == "x") == (len(told) > before) == (share == 1 and len(kinds) > 1)
        if text == "x":
            assert told[-1] <= kinds and len(told[-1]) == 2
            assert layout.placements[0].category in told[-1]


def words(text):
    return "".join(c if c.isalnum() else " " for c in text.lower()).split()


def test_a_line_speaks_of_both_and_of_nobody_else():
    for seed in range(300):
        rng = random.Random(seed)
        a, b = rng.sample(TABLE, 2)
        text = line_about(rng, a, b)
        assert "{" not in text and len(text.split()) <= 48
        spoken = {
            c.index: [
                part
                for part in (
                    c.name,
                    *c.synonyms,
                    *c.descriptions,
                    *(x for m in c.memes for x in clauses(m)),
                )
                if " ".join(words(part)) in " ".join(words(text))
            ]
            for c in (a, b)
        }
        assert spoken[a.index] and spoken[b.index], text


def test_lines_are_of_training_lines_alone():
    held_out = {" ".join(words(m)) for c in TABLE for m in c.held_out_memes}
    images = Path(layouts.__file__).parents[2] / "images"
    captions = {" ".join(words(t)) for t in read_captions(images / "captions.txt")}
    rng = random.Random(0)
    own = [" ".join(words(line_about(rng, *rng.sample(TABLE, 2)))) for _ in range(3000)]
    assert len(set(own)) > 2900
    for kept in held_out | captions:
        assert not any(kept in text for text in own)


def test_turned_changes_nothing_but_tilts():
    plain = random_layout(random.Random(5), EVERY, 3)
    tilted = turned(random.Random(1), plain)
    assert tilted != plain
    straight = [Placement(**vars(p) | {"tilt": 0.0}) for p in tilted.placements]
    assert tuple(straight) == plain.placements


def test_batches_hold_them_and_mosaics_are_tilted():
    knobs = {"batch_size": 40, "mosaics": 2, "every_category": 8}
    both = [
        PretrainData(PretrainConfig(**knobs, posed_share=p, line_share=p))
        for p in (0.0, 1.0)
    ]
    plain, posed_ = (data.batch(0, 32, 0.5) for data in both)
    assert plain.captions != posed_.captions
    assert (plain.single < 0).sum() < (posed_.single < 0).sum()
    (a, b) = (data.mosaics(0, 32) for data in both)
    assert torch.equal(a.present.any(0), b.present.any(0))
    assert not torch.equal(a.pixels, b.pixels)
    assert a.phrases[-a.places :] == sorted(set(a.phrases[-a.places :]))
