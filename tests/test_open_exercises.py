"""What the open exercises say one finds: is it so?"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

import vlmtutor as vt
from vlmtutor import stored
from vlmtutor.distill.student import lessons
from vlmtutor.distill.student.exam import Exam
from vlmtutor.distill.student.prune import fewer_neurons
from vlmtutor.distill.student.small_clip import small_clip
from vlmtutor.lessons import frameworks, ranking, why_vlms
from vlmtutor.metrics import accuracy, recall_at_k
from vlmtutor.models.frameworks import TwoLeg
from vlmtutor.naming import text_classifier
from vlmtutor.objectives.contrastive import clip_loss
from vlmtutor.transfer import (
    base,
    clip_adapter,
    coop,
    dualcoop,
    few_shot,
    linear_probe,
    taskres,
    vp,
)
from vlmtutor.transfer.multi_label import hide_labels, mean_average_precision
from vlmtutor.transfer.scene_sets import scene_set
from vlmtutor.transfer.tasks import STRENGTHS, make_task

FOLDER = Path(__file__).resolve().parents[1] / "notebooks" / "solutions"


@pytest.fixture(scope="module")
def clip():
    return vt.load_clip()


@pytest.fixture(scope="module")
def world():
    return vt.StickerWorld(size=96)


def test_00_bare_names_are_as_good(clip, world):
    names = [category.name for category in world.categories]
    rows = [text_classifier(clip, names, t) for t in (vt.TEMPLATES, ["{}"])]
    for domain, least in (("sticker", 0.985), ("pixel", 0.4)):
        scenes = [world.scene(s, n=1, domain=domain) for s in vt.seeds("test", 100)]
        truth = torch.tensor([names.index(s.objects[0].name) for s in scenes])
        embeds = clip.encode_images([scene.image for scene in scenes])
        seven, bare = (accuracy(embeds @ row.T, truth) for row in rows)
        assert min(seven, bare) > least and abs(seven - bare) < 0.03


def test_00_a_true_label_that_needs_a_thought_is_not_believed(clip, world):
    rocket = world.scene(vt.seeds("test", 1)[0], n=1, categories=["rocket"]).image
    labels = ["a spaceship on its way up", "a bowl of soup", "a shy animal"]
    assert vt.zero_shot(clip, [rocket], labels)[0, 0] > 0.5
    labels = ["it never swims", "a bowl of soup", "a shy animal"]
    assert vt.zero_shot(clip, [rocket], labels)[0].argmax() == 1


def test_01_at_night_a_name_is_worth_more_labels(clip, monkeypatch):
    monkeypatch.setattr(why_vlms, "DOMAIN", "night")
    names = list(why_vlms.CLASSES)
    train, test = why_vlms.sample("train", 4, 0), why_vlms.sample("test", 25)
    embeds, seen = (clip.encode_images(s.pictures) for s in (test, train))
    zero_shot = accuracy(vt.zero_shot(clip, embeds, names), test.labels)
    probe = {}
    for k in (1, 2, 4):
        rows = train.rows(k)
        fitted = linear_probe.fit(clip, seen[rows], train.labels[rows], names, C=1.0)
        probe[k] = accuracy(fitted(embeds), test.labels)
    assert probe[1] < zero_shot and probe[2] < zero_shot < probe[4]


def test_02_a_match_that_has_not_learned_spoils_the_best_five():
    test = frameworks.test_pairs(20, frameworks.vocabulary())
    model = frameworks.make(TwoLeg, test.tokenizer, 0)
    pair = test.pixel_values, test.input_ids
    # embeddings of a good search: the right one is always among the best five
    similarity = torch.rand(20, 20, generator=torch.Generator().manual_seed(0))
    similarity += 2 * torch.eye(20)
    again = ranking.rerank(model, similarity, *pair, k=5)
    assert recall_at_k(similarity) == 1
    assert recall_at_k(again) < 0.6


def test_03_a_colder_temperature_than_its_own_fits_pairs_that_it_masters(clip, world):
    scenes = [world.scene(s, n=2) for s in vt.seeds("test", 100, start=200)]
    images = clip.encode_images([scene.image for scene in scenes])
    texts = clip.encode_texts([scene.caption for scene in scenes])
    losses = [clip_loss(images, texts, 1 / t).item() for t in (0.016, 0.022, 0.06)]
    own = clip_loss(images, texts, clip.logit_scale).item()
    assert losses[0] < losses[1] < own < losses[2]
    assert own < 0.002
    assert 0.029 < 1 / clip.logit_scale < 0.031


def solutions(name):
    spec = importlib.util.spec_from_file_location(f"of_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_04_habit_knows_sizes_and_nothing_else():
    from vlmtutor.lessons import generative

    train, test = generative.make_data(1000, 200)
    found = solutions("04_generative").habit(train.captions, test.captions)
    assert found.pop("size") == pytest.approx(0.76, abs=0.05)
    assert max(found.values()) < 0.15


def test_05_hard_negatives_are_lies_without_a_list_of_true_pairs():
    from vlmtutor.lessons import matching

    data = matching.make_data(1024, n_test=4)
    random, hard = solutions("05_alignment").lies(data.has)
    assert random == pytest.approx(0.04, abs=0.02)
    assert hard > 0.6
    # one sticker each, all different: nobody can be drawn wrongly
    apart = solutions("05_alignment").lies(torch.eye(16, dtype=torch.bool), size=16)
    assert apart == (0, 0)


def test_06_wrong_pairs_do_not_fall_silent():
    from vlmtutor.lessons import pretraining

    found = solutions("06_pretraining").cancelling(pretraining.make_data(2000, 60))
    (own, _), (mixed, _), (against, length) = (found[s] for s in (0.0, 0.4, 1.0))
    assert own == pytest.approx(1, abs=1e-3)
    assert against + 0.2 < mixed < 0.8
    assert length > 1.1


def test_07_words_guessed_for_sketches_gain_nothing():
    import vlmtutor as vt

    found = solutions("07_zero_shot").sketch_words(vt.load_clip())
    for usual, own in found.values():
        assert abs(usual - own) < 0.15
        assert usual > 0.4


@pytest.fixture(scope="module")
def phraseclip():
    return vt.load_clip("phraseclip")


def test_08_new_names_fall_early_and_then_no_further(phraseclip):
    home = make_task(phraseclip, "vehicles", lines=True, n_test=12)
    seen, novel = home.shots(16, 0, "base"), home.test("novel")
    data = phraseclip, seen.pictures, seen.labels, seen.classes, 0
    right = {}
    for steps in (0, 50, 300):
        fitted = coop.fit(*data, steps=steps, lr=3e-3)
        right[steps] = few_shot.accuracy(fitted.with_classes(novel.classes), novel)
    assert right[50] < right[0] - 0.05
    assert right[50] - 0.03 < right[300] < right[0]


def test_10b_dual_coop_needs_labels_and_its_own_scale(phraseclip):
    classes = make_task(phraseclip, "mixed").classes[:24]
    far = {"domain": "sketch", "strength": STRENGTHS["mixed", "sketch"]}
    test = scene_set(phraseclip, classes, 60, "test", **far)
    learn = scene_set(phraseclip, classes, 48, "train", 0, **far)

    def fitted(known, steps=40):
        labels = hide_labels(learn.labels, known, 0)
        data = phraseclip, learn.pictures, labels, classes, 0
        options = {"negative": None, "lr": 3e-4, "batch_size": 16}
        return dualcoop.fit(*data, steps=steps, **options)(test.pictures)

    some, few, none = fitted(0.5), fitted(0.1), fitted(0.5, steps=0)
    found = [mean_average_precision(z, test.labels) for z in (some, few, none)]
    assert found[0] > found[1] + 0.02 and abs(found[1] - found[2]) < 0.02
    flat = [(none * k).abs() > 4.6 for k in (1, 100 / phraseclip.logit_scale)]
    own, papers = (share.float().mean().item() for share in flat)
    assert own < 0.7 and papers > 0.8


def test_10_at_night_adapters_lead_with_one_picture_and_not_with_four(phraseclip):
    night = make_task(phraseclip, "mixed", "night", n_train=4, n_test=6)
    test = night.test("base")
    ways = {
        "probe": (linear_probe.fit, {"C": 10}),
        "adapter": (clip_adapter.fit, {"ratio": 0.5, "lr": 3e-3}),
        "residual": (taskres.fit, {"alpha": 1.0, "lr": 5e-3}),
    }
    for shots, least in ((1, 0.08), (4, -0.03)):
        own = night.shots(shots, 0, "base")
        data = phraseclip, own.pictures, own.labels, own.classes, 0
        right = {
            name: few_shot.accuracy(fit(*data, **options), test)
            for name, (fit, options) in ways.items()
        }
        lead = min(right["adapter"], right["residual"]) - right["probe"]
        assert least < lead < least + 0.08


def test_10_new_names_gain_with_the_adapter_s_ratio(phraseclip):
    task = make_task(phraseclip, "mixed", "sketch", n_train=4, n_test=6)
    own, novel = task.shots(4, 0, "base"), task.test("novel")
    right = {}
    for ratio in (0.0, 0.2, 0.5):
        data = phraseclip, own.pictures, own.labels, own.classes, 0
        fitted = clip_adapter.fit(*data, ratio=ratio).with_classes(novel.classes)
        right[ratio] = few_shot.accuracy(fitted, novel)
    assert min(right[0.2], right[0.5]) > right[0.0] + 0.15


def test_11_a_third_of_the_neurons_costs_less_after_school(clip, world):
    names = text_classifier(clip, [c.name for c in world.categories])
    exam = Exam.draw("val", 150, seed=0)
    pictures = clip.preprocess(exam.pictures)
    scenes = lessons.lesson_scenes(256)
    sample = clip.preprocess([scene.image for scene in scenes])
    school = lessons.Lessons.cached(clip, 2000)

    def right(student):
        with torch.no_grad():
            return accuracy(student.image_features(pictures) @ names.T, exam.labels)

    students = [fewer_neurons(small_clip(clip), few, sample) for few in (352, 256)]
    before = [right(student) for student in students]
    for student in students:
        weights = {"feature": 1.0, "logit": 1.0}
        lessons.train(student, school, names, weights, 60, lr=4e-4, progress=False)
    after = [right(student) for student in students]
    gaps = [wide - narrow for wide, narrow in (before, after)]
    assert gaps[0] > 0.12 and 0 < gaps[1] < gaps[0] - 0.04
    assert after[1] > before[1] + 0.15


def test_12_sharper_keys_help_where_keys_know_things_from_ground():
    votes = solutions("12_seg_masks_for_free").sharper_votes
    gains = {}
    for backbone in ("phraseclip", "stickerclip"):
        test = votes(vt.load_clip(backbone))["test"]
        (chosen,) = test.keys() - {None}
        gains[backbone] = test[chosen] - test[None]
    assert gains["stickerclip"] > 0.01
    assert abs(gains["phraseclip"]) < 0.03


def test_13_outlines_from_masks_with_names_from_patches():
    solution = solutions("13_seg_pixel_meets_text")
    found = solution.outlines_and_names(
        vt.load_clip("phraseclip"), solution.PLACES["test"]
    )
    h = {name: scores["h"] for name, scores in found.items()}
    assert h["both"] > max(h["MaskCLIP"], h["ZegCLIP"])


def test_14_greed_lets_regions_share_a_query():
    sharing = solutions("14_seg_group_then_name").sharing
    assert sharing() == pytest.approx(1 - 15 * 14 * 13 / 16**3, abs=0.03)
    assert sharing(alike=0.5) > sharing() + 0.2


def test_17_a_start_as_large_as_a_sticker_pays_least(world):
    scenes = [world.scene(seed, n=3) for seed in vt.seeds("train", 40)]
    boxes = [torch.tensor([o.box for o in s.objects]).float() for s in scenes]
    prices = solutions("17_det_change_the_detector").start_prices(boxes)
    sums = {side: sum(price) for side, price in prices.items()}
    assert min(sums, key=sums.get) in (3, 4)
    assert sums[1] > 2 * min(sums.values()) and sums[6] > 1.3 * sums[4]
    away, lacking = prices[1]
    assert lacking > 1.5 * away


def test_18_eight_seeds_see_four_points_and_miss_many_of_one():
    confirmed = solutions("18_fair_comparison").confirmed
    found = {points: confirmed(points / 100) for points in (1, 2, 4)}
    assert found[1][0] < 40 and found[1][1] < 15
    assert 50 < found[2][0] < 80 and 25 < found[2][1] < found[2][0]
    assert min(found[4]) > 90


def test_19_templates_beat_rewrites_where_nothing_else_was_read(phraseclip):
    found = solutions("19_what_comes_next").sentences_named(phraseclip)
    assert found["templates"] > found["rewrites"] + 0.03
    own, other = found["name and rewrite"], found["name and another's rewrite"]
    assert abs(own - other) < 0.06  # less than one set of sketches can tell
    told = [
        c for row in stored.load("19_what_comes_next")["rows"] for c in row["checks"]
    ]
    sentence = "a name's own rewrite helps it more than another's"
    (check,) = (c for c in told if c["name"] == sentence)  # eight sets do
    assert check["verdict"] == "reproduced" and len(check["by_seed"]) == 8


def test_20_a_line_for_every_picture_is_the_best_for_none(clip):
    folder = Path(__file__).resolve().parents[1] / "images"
    captions = vt.memes.read_captions(folder / "captions.txt")
    pictures = clip.encode_images(sorted(folder.glob("*.png")))
    best = (pictures @ clip.encode_texts(captions).T).amax(1)
    lines = ["a funny picture", "a cat, a dog, a clown, a robot, a cake and a penguin"]
    scores = pictures @ clip.encode_texts(lines).T  # [28, 2]
    assert (scores < best[:, None]).all()
    assert scores.mean(0).tolist() == pytest.approx([-0.08, -0.01], abs=0.01)


def test_09_no_frame_turns_an_answer_in_24_steps(phraseclip):
    task = make_task(phraseclip, "mixed", "sketch", n_train=4, n_test=4)
    own, test = task.shots(4, 0, "base"), task.test("base")
    data = phraseclip, own.pictures, own.labels, own.classes, 0
    plain = few_shot.accuracy(base.fit_zero_shot(*data), test)
    losses = {}
    for width in (4, 13):
        framed = vp.fit(*data, width=width, steps=24, lr=3e-3)
        assert abs(few_shot.accuracy(framed, test) - plain) < 0.05
        losses[width] = sum(framed.losses[-8:]) / 8
    assert losses[13] < losses[4] - 0.1
