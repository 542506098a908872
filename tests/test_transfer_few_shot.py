"""Few-shot tasks: what is drawn, who meets whom, how it is scored."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from transfer_tiny import clip, colors, tiny_clip

from vlmtutor import stored
from vlmtutor.transfer import get_fit, scene_sets, tasks
from vlmtutor.transfer.few_shot import accuracy, first
from vlmtutor.transfer.pictures import Pictures
from vlmtutor.transfer.tasks import GROUPS, Split, Task, make_task
from vlmtutor.world import StickerWorld, find_category

NAMES = ["cat", "bird", "dog", "fox", "owl"]
zero_shot = get_fit("zero-shot")


@functools.cache
def task() -> Task:
    """Tests look, and leave it alone."""
    return Task(clip(), NAMES, "pixel", n_test=3)


def pixels(split) -> np.ndarray:
    return np.stack([np.asarray(i) for i in split.pictures.images])


def test_shots_are_nested_and_in_order():
    few, many = task().shots(2), task().shots(4)
    assert len(few) == 10 and len(many) == 20
    assert few.labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    rows = [4 * c + i for c in range(5) for i in range(2)]
    assert (pixels(few) == pixels(many)[rows]).all()
    assert few.classes == NAMES


def test_splits_and_seeds_share_no_picture():
    parts = [task().shots(4), task().shots(4, seed=1), task().val()]
    parts.append(task().test())
    found = [image.tobytes() for p in parts for image in p.pictures.images]
    assert len(found) == len(set(found)) == 20 + 20 + 20 + 15
    again = Task(clip(), NAMES, "pixel", n_test=3)
    assert (pixels(again.shots(4)) == pixels(parts[0])).all()


def test_halves_are_the_even_and_the_odd_classes():
    base, novel = task().test("base"), task().test("novel")
    assert base.classes == ["cat", "dog", "owl"]
    assert novel.classes == ["bird", "fox"]
    assert novel.labels.tolist() == [0, 0, 0, 1, 1, 1]
    whole = pixels(task().test())
    assert (pixels(base)[3:6] == whole[6:9]).all()
    assert (pixels(novel)[:3] == whole[3:6]).all()
    with pytest.raises(ValueError, match="not 'old'"):
        task().test("old")


def test_numbers_of_shots():
    assert len(task().val(1)) == 5 and len(task().val(16)) == 20
    for k in (0, 17):
        with pytest.raises(ValueError, match="1 to 16"):
            task().shots(k)


def test_strength_moves_pictures_away():
    plain = pixels(Task(clip(), NAMES, n_test=3).test()).astype(int)
    far = [
        abs(pixels(Task(clip(), NAMES, "night", s, 3).test()) - plain).mean()
        for s in (0.1, 0.5, 0.9)
    ]
    assert 0 < far[0] < far[1] < far[2]


def test_tasks_by_name():
    for name, names in GROUPS.items():
        assert [find_category(n).name for n in names] == list(names)
        assert make_task(clip(), name).classes == list(names)
    mixed = make_task(clip(), "mixed", "night", strength=0.4)
    assert len(mixed.classes) == len(set(mixed.classes)) == 42
    assert (mixed.domain, mixed.strength) == ("night", 0.4)
    with pytest.raises(ValueError, match="faces"):
        make_task(clip(), "dogs")


def test_a_task_within_has_the_base_classes_and_other_pictures():
    inner = task().within()
    assert inner.names() == ["cat", "dog", "owl"] and inner.names("novel") == ["dog"]
    assert (inner.domain, inner.strength) == (task().domain, task().strength)
    own = {image.tobytes() for image in task().test().pictures.images}
    assert not own & {image.tobytes() for image in inner.val().pictures.images}


def test_classes_may_be_called_by_lines_that_no_model_was_told():
    named, told = (make_task(clip(), "cats", lines=lines) for lines in (False, True))
    assert told.names("base") == [
        find_category(c).held_out_memes[0] for c in named.names("base")
    ]
    assert told.within().names() == told.names("base")
    draws = [t.draw("val", 0).images[5].tobytes() for t in (named, told)]
    assert draws[0] == draws[1]  # the pictures stay


def test_a_task_has_the_strength_that_was_set():
    for (name, domain), strength in tasks.STRENGTHS.items():
        assert make_task(clip(), name, domain).strength == strength
    assert make_task(clip(), "faces", "pixel", strength=0.1).strength == 0.1
    assert make_task(clip(), "cats", "noisy").strength is None


def test_strengths_are_those_that_were_found_on_validation_pictures():
    found = {}
    for part in stored.load("domains")["parts"]:
        nearest = part["rows"][0]
        task_and_domain = tuple(part["part"].split(", "))
        found[task_and_domain] = nearest["strength"]
        assert 0.4 <= nearest["scores"]["base"] <= 0.6, part["part"]
        assert 0.4 <= nearest["scores"]["mean"] <= 0.6, part["part"]
    assert found == tasks.STRENGTHS


def test_encode_computes_features_beforehand():
    model = tiny_clip()
    mine = Task(model, NAMES, n_test=3).encode((0, 1))
    model.encode_images = model.model = None
    assert mine.shots(2, seed=1).pictures.image_embeds.shape == (10, 16)
    assert mine.test().pictures.image_embeds.shape == (15, 16)


def test_calibrated_strength_hits_the_middle():
    # A model whose accuracy falls with the strength of the domain.
    def score(strength: float) -> float:
        return 1 - strength**2

    tried = tasks.bisect_strength(score, target=0.5, steps=8)
    found, reached = tried[0]
    assert abs(score(found) - 0.5) < 0.02 and reached == score(found)
    gaps = [abs(reached - 0.5) for _, reached in tried]
    assert len(tried) == 8 and gaps == sorted(gaps)
    # Out of reach, the nearest end is what one gets.
    (found, reached), *_ = tasks.bisect_strength(lambda s: 0.9 - s / 9)
    assert found > 0.95 and reached == 0.9 - found / 9


def test_calibration_looks_at_validation_pictures_only(monkeypatch):
    drawn = []
    draw = Task.draw
    monkeypatch.setattr(
        Task, "draw", lambda self, *what: drawn.append(what) or draw(self, *what)
    )
    found = tasks.zero_shot_halves(make_task(clip(), "cats", "night"))
    assert set(found) == {"base", "novel"}
    assert all(0 <= share <= 1 for share in found.values())
    assert drawn == [("val", tasks.CALIBRATION_SEED)]


class Knows:
    """A predictor that finds class 0 only, or a class it is told."""

    def __init__(self, share: float):
        self.share = share

    def __call__(self, pictures):
        logits = torch.zeros(len(pictures), 5)
        logits[:, int(self.share)] = 1
        return logits

    def with_classes(self, classes):
        return self


def test_accuracy():
    assert accuracy(Knows(0), task().test()) == pytest.approx(0.2)


def test_first_takes_some_of_each_class():
    images, labels = colors(3)
    split = Split(Pictures(clip(), images), labels, ["a", "b", "c"])
    few = first(split, 2)
    assert few.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert few.pictures.images == [images[i] for i in (0, 1, 3, 4, 6, 7)]
    assert first(split, None) is split


def test_test_pictures_of_other_seeds_are_others():
    few = Task(clip(), NAMES, n_test=1)
    assert (pixels(few.test()) == pixels(few.test(seed=0))).all()
    assert (pixels(few.test()) != pixels(few.test(seed=1))).any()


def test_scene_sets_know_their_scenes():
    few = scene_sets.scene_set(clip(), NAMES, 6, "test", stickers=2)
    for row, scene in enumerate(few.scenes):
        there = {NAMES.index(o.name) for o in scene.objects}
        assert set(few.labels[row].nonzero()[:, 0].tolist()) == there
        assert few.captions[row] == scene.caption
    maps = few.label_maps()
    assert maps.shape == (6, 32, 32)
    first = few.scenes[0]
    for thing in first.objects:
        found = maps[0][torch.from_numpy(thing.mask)]
        assert (found == NAMES.index(thing.name)).all()
    empty = torch.from_numpy(first.owners) < 0
    assert (maps[0][empty] == -1).all()
    assert (few.label_maps(background=9)[0][empty] == 9).all()


def test_scene_sets_may_lie_as_far_off_as_one_likes():
    plain, near, far = (
        scene_sets.scene_set(clip(), NAMES, 2, domain=domain, strength=strength)
        for domain, strength in (("sticker", None), ("night", 0.2), ("night", 0.9))
    )
    means = [pixels(few).mean() for few in (plain, near, far)]
    assert means[0] > means[1] > means[2]
    usual = scene_sets.scene_set(clip(), NAMES, 2, domain="night")
    scene = usual.scenes[0]
    own = StickerWorld(32).scene(scene.seed, domain="night", categories=NAMES)
    assert (pixels(usual)[0] == own.array).all()


def test_scene_sets_of_splits_and_seeds_differ():
    sets = [
        scene_sets.scene_set(clip(), NAMES, 5, split, seed)
        for split, seed in (("train", 0), ("train", 1), ("test", 0))
    ]
    seeds = [scene.seed for few in sets for scene in few.scenes]
    assert len(set(seeds)) == 15


def test_other_words_leave_the_name_out():
    words = scene_sets.other_words(["cat", "dog"])
    assert set(words) == {"cat", "dog"}
    assert "cats" in words["cat"] and "cat" not in words["cat"]
    assert all(words["dog"])


def test_captions_are_those_of_training_scenes():
    found = scene_sets.scene_captions(clip(), NAMES, 8, seed=2)
    own = scene_sets.scene_set(clip(), NAMES, 3, "train", seed=2)
    assert len(found) == 8 and found[:3] == own.captions
