"""Notebook 19: what each future must leave as it is, and what it must move."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from transfer_tiny import clip as tiny_clip

from vlmtutor.distill.student import teachers as several
from vlmtutor.lessons.what_next import data as world
from vlmtutor.lessons.what_next import efficient, texts
from vlmtutor.models.frameworks import TwoTower
from vlmtutor.objectives.contrastive import clip_loss
from vlmtutor.objectives.efficient import (
    TextQueue,
    nearest_loss,
    simsiam_loss,
    views_loss,
)
from vlmtutor.transfer import coop, upl
from vlmtutor.transfer.base import HAND_PROMPT, ZeroShot
from vlmtutor.world.rewrites import load_rewrites


def unit(*shape, seed=0):
    made = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return F.normalize(made, dim=-1)


@pytest.fixture(scope="module")
def spoken():
    return world.make_data(80, 20, spoken=True)


@pytest.fixture(scope="module")
def data():
    read = [t for arm in texts.arms().values() for row in arm for t in row]
    return world.make_data(80, 20, texts=read)


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


# The material


def test_no_scene_is_trained_on_and_tested(data):
    own = {s.seed for s in data.train.scenes}
    tests = {s.seed for s in data.test.scenes}
    other = world.make_data(80, 20, seed=1)
    assert len(own) == 80 and len(tests) == 20 and not own & tests
    assert not own & {s.seed for s in other.train.scenes}
    assert all(len(s.objects) == 1 for s in data.train.scenes)


def test_spoken_captions_vary_and_others_do_not(data, spoken):
    assert set(data.train.captions) <= set(world.CAPTIONS)
    assert not set(spoken.train.captions) <= set(world.CAPTIONS)
    assert spoken.test.captions == data.test.captions


def test_another_domain_has_the_same_scenes_and_words(data):
    away = world.redrawn(data.test, "night", 0.5)
    assert torch.equal(away.input_ids, data.test.input_ids)
    assert away.images.float().mean() < data.test.images.float().mean() - 10
    assert torch.equal(world.redrawn(data.test, "sticker").images, data.test.images)


def test_every_wording_counts_alike(data):
    model = TwoTower(world.config(data))
    once = world.right(model, data.test, data.prompts)
    twice = world.right(model, data.test, [(c, c) for c in world.CAPTIONS])
    assert torch.equal(once, twice)
    other = [(a, b) for a, b in zip(world.CAPTIONS, world.CAPTIONS[::-1], strict=True)]
    mixed = world.right(model, data.test, other)
    assert set(mixed.tolist()) <= {0.0, 0.5, 1.0} and not torch.equal(once, mixed)


# a. few pairs


def test_equal_views_and_wordings_are_clips_loss():
    images, words = unit(6, 8), unit(6, 8, seed=1)
    plain = clip_loss(images, words, 5.0)
    assert torch.allclose(views_loss((images,) * 2, (words,) * 2, 5.0), plain)
    other = views_loss((images, unit(6, 8, seed=2)), (words,), 5.0)
    assert not torch.allclose(other, plain)


def test_simsiam_sends_no_gradient_to_its_target():
    a, b = unit(4, 8).requires_grad_(), unit(4, 8, seed=1).requires_grad_()
    p = unit(4, 8, seed=2).requires_grad_()
    simsiam_loss((p, p), (a, b)).backward()
    assert a.grad is None and b.grad is None and p.grad.abs().sum() > 0
    assert simsiam_loss((a, b), (b, a)).item() == pytest.approx(-1)


def test_a_queue_of_ones_own_texts_is_clips_loss():
    images, words, queue = unit(6, 8), unit(6, 8, seed=1), TextQueue(100)
    near, rows = queue.nearest(words)
    assert torch.equal(near, words) and rows.tolist() == list(range(6))
    plain = clip_loss(images, words, 5.0)
    assert torch.allclose(nearest_loss(images, near, rows, 5.0), plain)
    queue.embeds = unit(3, 8, seed=2)
    near, rows = queue.nearest(words)
    assert not torch.allclose(nearest_loss(images, near, rows, 5.0), plain)


def test_a_queue_forgets_the_oldest():
    queue = TextQueue(4)
    for k in range(3):
        queue.push(torch.full((2, 1), float(k)))
    assert queue.embeds[:, 0].tolist() == [1, 1, 2, 2]


@pytest.mark.parametrize("arm", ["SLIP", "SimSiam", "nearest text"])
def test_without_weight_an_arm_learns_what_clip_learns(spoken, arm):
    ends = []
    for loss in (efficient.Objective("CLIP"), efficient.Objective(arm, weight=0.0)):
        model = efficient.Model(world.config(spoken))
        model, history = world.train(spoken, loss, steps=2, model=model)
        ends.append((model, history.terms["contrast"]))
    (a, first), (b, second) = ends
    assert second == pytest.approx(first, abs=1e-4)  # sums in another order
    assert torch.allclose(weights(a.image), weights(b.image), atol=2e-4)


@pytest.mark.parametrize("arm", efficient.ARMS[1:])
def test_each_arm_moves_other_weights_than_clip(spoken, arm):
    words = efficient.wordings(spoken)
    ends = []
    for name in ("CLIP", arm):
        model = efficient.Model(world.config(spoken))
        loss = efficient.Objective(name, words)
        model, history = world.train(spoken, loss, steps=2, model=model)
        ends.append(weights(model.image))
    assert not torch.equal(*ends)


def test_views_that_change_nothing_are_clip(spoken):
    batch = world.few(spoken.train, 16).batch(range(16))
    model, losses = efficient.Model(world.config(spoken)), {}
    for arm in ("CLIP", "one view", "two texts", "two views, two texts"):
        loss = efficient.Objective(arm, view=lambda pixels, rng: pixels)
        losses[arm] = sum(loss(model, batch).values()).item()
    assert losses == pytest.approx(dict.fromkeys(losses, losses["CLIP"]), abs=1e-5)
    with pytest.raises(ValueError, match="an arm is in"):
        efficient.Objective("SwAV")


def test_dearer_arms_are_counted_as_dearer(spoken):
    equal = {arm: efficient.equal_steps(spoken, arm, 100) for arm in efficient.ARMS}
    assert equal["CLIP"] == equal["one view"] == 100
    assert 250 < equal["SLIP"] <= equal["SimSiam"] < 310
    assert 150 < equal["two views, two texts"] < equal["SLIP"]


def test_how_many_pairs_an_arm_is_worth():
    curve = {100: 0.2, 200: 0.4, 400: 0.4, 800: 0.8}
    assert efficient.multiplier(curve, 100, 0.2) == pytest.approx(1)
    assert efficient.multiplier(curve, 100, 0.3) == pytest.approx(2**0.5)
    assert efficient.multiplier(curve, 100, 0.9) == pytest.approx(8)
    assert efficient.multiplier(curve, 200, 0.1) == pytest.approx(0.5)


# b. texts of a language model


def test_rewrites_are_all_there_and_all_different():
    rows = load_rewrites()
    assert tuple(rows) == tuple(world.NAMES)
    known = [t for r in rows.values() for t in (*r.train, *r.unseen)]
    assert len(set(known)) == len(known) == 210
    assert {(len(r.train), len(r.unseen)) for r in rows.values()} == {(5, 2)}
    assert max(len(t.split()) for t in known) <= 14
    assert all(t == t.lower() for t in known)


def test_arms_differ_in_one_thing():
    arms = texts.arms()
    for name, rows in arms.items():
        assert {len(row) for row in rows} == {1 if name == "captions" else 6}
        assert tuple(row[0] for row in rows) == world.CAPTIONS, name
    for own, mixed in zip(arms["rewrites"], arms["words mixed up"], strict=True):
        words = [sorted(" ".join(row[1:]).split()) for row in (own, mixed)]
        assert words[0] == words[1] and own != mixed
        assert [len(t.split()) for t in own] == [len(t.split()) for t in mixed]
    read = {t for rows in arms.values() for row in rows for t in row}
    for name, rows in texts.questions().items():
        asked = {t for row in rows for t in row}
        assert (asked <= read) == (name == "captions")
        assert name == "captions" or not asked & read


def test_without_rewrites_the_stream_is_clips(data):
    ends = []
    duplicates = tuple((c,) * 6 for c in world.CAPTIONS)
    arms = texts.arms()
    for own in (arms["captions"], duplicates, arms["rewrites"]):
        model, history = world.train(data, texts.Drawn(data, own), steps=2)
        ends.append(history.loss)
    plain, history = world.train(data, steps=2)
    assert ends[0] == pytest.approx(history.loss, abs=1e-5)
    assert ends[1] == pytest.approx(ends[0], abs=1e-5)
    assert ends[2] != pytest.approx(ends[0], abs=1e-3)


def test_a_classifier_of_one_sentence_is_that_sentence():
    clip = tiny_clip()
    once = texts.sentence_classifier(clip, [["a dog"], ["a cat"]])
    assert torch.allclose(once, clip.encode_texts(["a dog", "a cat"]), atol=1e-6)
    more = texts.sentence_classifier(clip, [["a dog", "a bird"], ["a cat"] * 2])
    assert torch.allclose(more[1], once[1], atol=1e-6)
    assert not torch.allclose(more[0], once[0], atol=1e-3)
    own = texts.sentences()
    assert {len(row) for rows in own.values() for row in rows} == {5}


# c. pictures without labels


def test_pseudo_labels_are_the_surest_of_each_name():
    logits = torch.tensor([[3.0, 0], [2, 0], [1, 0], [0, 5], [0.1, 0]])
    rows, labels = upl.pseudo_labels(logits, 2)
    assert rows.tolist() == [0, 1, 3] and labels.tolist() == [0, 0, 1]
    rows, labels = upl.pseudo_labels(logits, 9)
    assert sorted(rows.tolist()) == [0, 1, 2, 3, 4]
    assert torch.equal(labels, logits.argmax(1)[rows])


@pytest.fixture(scope="module")
def pool():
    clip = tiny_clip()
    names = ["dog", "cat", "bird"]
    W = ZeroShot(clip, names, [HAND_PROMPT]).weights
    noise = unit(12, clip.embed_dim, seed=4)
    labels = torch.arange(3).repeat_interleave(4)
    return clip, F.normalize(W[labels] + noise, dim=1), labels, names


def test_a_prompt_that_does_not_learn_is_where_it_started(pool):
    clip, embeds, labels, names = pool
    hand = ZeroShot(clip, names, [HAND_PROMPT])(embeds)
    still = upl.fit(*pool, steps=2, lr=0.0)
    assert torch.allclose(still(embeds), hand, atol=1e-3)
    moved = upl.fit(*pool, steps=2, lr=0.1)
    assert not torch.allclose(moved(embeds), hand, atol=1e-3)


def test_with_true_labels_it_is_coop_and_without_it_sees_none(pool):
    clip, embeds, labels, names = pool
    hand = ZeroShot(clip, names, [HAND_PROMPT])(embeds)
    rows, pseudo = upl.pseudo_labels(hand, 2)
    options = {"steps": 3, "lr": 0.05}
    told = upl.fit(*pool, k=2, oracle=True, **options)
    same = coop.fit(clip, embeds[rows], labels[rows], names, **options)
    assert torch.equal(told.context, same.context)
    own = upl.fit(*pool, k=2, **options)
    same = coop.fit(clip, embeds[rows], pseudo, names, **options)
    assert torch.equal(own.context, same.context)
    blind = upl.fit(clip, embeds, labels.roll(1), names, k=2, **options)
    assert torch.equal(own.context, blind.context)


def test_the_correction_makes_names_equal_on_the_pool_and_nothing_else(pool):
    clip, embeds, labels, names = pool
    plain = ZeroShot(clip, names, [HAND_PROMPT])
    even = upl.Unbiased(clip, names, embeds)
    assert torch.allclose(even(embeds).mean(0), torch.zeros(3), atol=1e-4)
    apart = even(embeds) - plain(embeds)
    assert torch.allclose(apart, apart[:1].expand_as(apart), atol=1e-4)
    assert even.parameters_trained == 0
    other = even.with_classes(["fox", "owl"])
    assert torch.allclose(other(embeds).mean(0), torch.zeros(2), atol=1e-4)


# d. several teachers


@pytest.fixture(scope="module")
def taught(data):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(several, "BASE_STEPS", 2)
        patch.setattr(several, "TEACHER_STEPS", 2)
        base, teachers = several.make_teachers(data)
        one = several.generalist(base, data)
    return base, teachers, one


@pytest.fixture(scope="module")
def answers(data, taught):
    return several.ask(taught[1], world.make_data(8, 1, 1).train, data.prompts)


def test_teachers_share_their_words_and_not_their_eyes(data, taught):
    base, teachers, one = taught
    for teacher in (*teachers, one):
        assert torch.equal(
            teacher.encode_texts(data.prompts), base.encode_texts(data.prompts)
        )
        assert teacher.scale() == base.scale()
        assert not any(p.requires_grad for p in teacher.parameters())
    eyes = [weights(m.image) for m in (base, *teachers, one)]
    for k, own in enumerate(eyes):
        assert not any(torch.equal(own, other) for other in eyes[k + 1 :])


def test_answers_are_of_the_pictures_in_their_domain(answers):
    assert answers.embeds.shape[:2] == (3, 24) and len(answers.images) == 24
    assert answers.home.tolist() == [0] * 8 + [1] * 8 + [2] * 8


def test_an_untrained_student_is_its_inheritance(data, taught, answers):
    base = taught[0]
    still = several.teach(data, base, answers, "mean", steps=0)
    thin = copy.deepcopy(base)
    thin.image.layers = thin.image.layers[:1]
    same = several.embeds_of(thin, answers.images)
    assert torch.allclose(several.embeds_of(still, answers.images)[0], same, atol=1e-6)
    chance = several.teach(data, None, answers, "mean", steps=0)
    assert not torch.allclose(several.embeds_of(chance, answers.images)[0], same)


def loss_of(answers, way, student, **options):
    torch.manual_seed(0)
    rows = torch.arange(len(answers.images))
    lesson = several.Lesson(answers, way, **options)
    return lesson(student, [answers.images, rows]).item()


def test_equal_teachers_are_one(data, taught, answers):
    alike = copy.copy(answers)
    alike.embeds = answers.embeds[:1].expand(3, -1, -1)
    student = several.Student(data, taught[0])
    three = several.Student(data, taught[0], heads=3)
    one = loss_of(answers, "one", student)
    for way in ("told", "mean", "surest"):
        assert loss_of(alike, way, student) == pytest.approx(one, abs=1e-6), way
    assert loss_of(alike, "heads", three) == pytest.approx(one, abs=1e-6)
    single = copy.copy(answers)
    single.embeds = answers.embeds[:1]
    for way in several.WAYS:
        if way not in ("probabilities", "told"):
            found = loss_of(single, way, student)
            assert found == pytest.approx(one, abs=1e-6), way
    # different teachers: different lessons
    found = [loss_of(answers, way, student) for way in ("mean", "told", "surest")]
    assert len({round(x, 7) for x in (one, *found)}) > 1
    with pytest.raises(ValueError, match="a way is in"):
        several.Lesson(answers, "vote")


def test_only_who_may_knows_where_a_picture_comes_from(data, taught, answers):
    other = copy.copy(answers)
    other.home = answers.home.roll(8)
    student, three = (several.Student(data, taught[0], heads=n) for n in (1, 3))
    for way in several.WAYS:
        who = three if way in several.SEVERAL_HEADS else student
        same = loss_of(answers, way, who) == loss_of(other, way, who)
        assert same == (way != "told"), way


def test_the_teacher_that_is_learned_worst_is_never_dropped(answers):
    lesson = several.Lesson(answers, "dropping")
    errors = torch.rand(3, 400, generator=torch.Generator().manual_seed(7))
    kept = lesson.kept(errors)
    assert kept[errors.argmax(0), torch.arange(400)].all()
    assert 0.55 < kept.mean() < 0.78  # one of three, and half of the others
    assert several.Lesson(answers, "heads").kept(errors).all()


def test_a_lesson_moves_the_student_and_nobody_else(data, taught, answers):
    before = [weights(m) for m in (taught[0], *taught[1])]
    start = several.Student(data, taught[0])
    end = several.teach(data, taught[0], answers, "mean", steps=2)
    assert not torch.equal(weights(start), weights(end))
    after = [weights(m) for m in (taught[0], *taught[1])]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    again = several.teach(data, taught[0], answers, "mean", steps=2)
    assert torch.equal(weights(again), weights(end))


def test_several_answers_are_averaged_as_probabilities(answers):
    labels = answers.embeds.new_zeros(answers.embeds.shape[1]).long()
    one = several.judged(answers.embeds[:1], answers, labels)
    copies = several.judged(answers.embeds[:1].expand(3, -1, -1), answers, labels)
    assert torch.equal(one, copies)
    mean = (answers.scale * answers.embeds @ answers.names.T).softmax(-1).mean(0)
    assert torch.allclose(several.shares(answers.embeds, answers), mean)
