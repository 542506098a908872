"""Smaller picture towers: what they inherit, learn from and are saved as."""

import math

import pytest
import torch
import torch.nn.functional as F
from clip_folders import TINY, write_clip

import vlmtutor as vt
from vlmtutor.distill.student import exam as exams
from vlmtutor.distill.student import lessons as school
from vlmtutor.distill.student import losses as losses
from vlmtutor.distill.student import maps
from vlmtutor.distill.student.prune import fewer_neurons
from vlmtutor.distill.student.small_clip import (
    fewer_positions,
    image_parameters,
    small_clip,
    wider_patches,
)
from vlmtutor.experiments import student as run
from vlmtutor.models.saving import save_clip
from vlmtutor.seeding import generator


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A CLIP with random weights: 32 px, patches of 8, 3 layers."""
    folder = tmp_path_factory.mktemp("teacher") / "tiny"
    write_clip(folder, TINY)
    return vt.load_clip(folder)


@pytest.fixture(scope="module")
def scenes():
    return school.lesson_scenes(6)


def unit(*shape, seed=0):
    g = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=g), dim=-1)


def test_all_layers_and_patches_inherited_are_the_teacher(teacher, scenes):
    twin = small_clip(teacher, layers=range(3), merge=1)
    images = [scene.image for scene in scenes]
    assert torch.allclose(
        twin.encode_images(images), teacher.encode_images(images), atol=1e-5
    )


def test_a_student_is_smaller_and_reads_the_same_texts(teacher):
    student = small_clip(teacher, layers=(0, 2))
    vision = student.model.config.vision_config
    assert (vision.patch_size, vision.num_hidden_layers) == (16, 2)
    assert teacher.model.config.vision_config.patch_size == 8
    small = small_clip(teacher, layers=(0,))
    assert image_parameters(small) < image_parameters(teacher)
    texts = ["a cat", "a dog"]
    assert torch.equal(student.encode_texts(texts), teacher.encode_texts(texts))
    assert student.patch_features(torch.zeros(1, 3, 32, 32)).shape[1:3] == (2, 2)


def test_only_the_picture_tower_can_change(teacher):
    student = small_clip(teacher)
    free = {n for n, p in student.model.named_parameters() if p.requires_grad}
    assert "visual_projection.weight" in free
    assert not [n for n in free if n.startswith("text")]
    assert "logit_scale" not in free


def test_a_narrow_student_cannot_inherit(teacher):
    student = small_clip(teacher, layers=(0,), width=24, inherit=False)
    assert student.model.config.vision_config.num_attention_heads == 2
    with pytest.raises(ValueError, match="another width"):
        small_clip(teacher, layers=(0,), width=24)
    with pytest.raises(ValueError, match="multiple of 12"):
        small_clip(teacher, layers=(0,), width=20, inherit=False)


def mlp(clip, layer=0):
    return clip.model.vision_model.encoder.layers[layer].mlp


def test_a_clip_that_keeps_all_neurons_is_the_same(teacher):
    pixels = torch.randn(3, 3, 32, 32, generator=generator(0))
    twin = fewer_neurons(teacher, mlp(teacher).fc1.out_features, pixels)
    for key, weight in teacher.model.state_dict().items():
        assert torch.allclose(twin.model.state_dict()[key], weight), key


def test_neurons_that_never_change_cost_nothing(teacher):
    """Silenced ones go first, and their constant stays in the bias."""
    clip = small_clip(teacher, range(3), merge=1)
    silent = torch.arange(0, mlp(clip).fc1.out_features, 3)
    for layer in range(3):
        with torch.no_grad():
            mlp(clip, layer).fc1.weight[silent] = 0.0
            mlp(clip, layer).fc1.bias[silent] = 2.0
    pixels = torch.randn(4, 3, 32, 32, generator=generator(1))
    slim = fewer_neurons(clip, mlp(clip).fc1.out_features - len(silent), pixels)
    assert image_parameters(slim) < image_parameters(clip)
    assert mlp(slim).fc1.weight.abs().sum(1).min() > 0
    other = torch.randn(4, 3, 32, 32, generator=generator(2))
    with torch.no_grad():
        assert torch.allclose(
            slim.image_features(other),
            clip.image_features(other),
            atol=1e-5,
        )


def test_pruning_leaves_what_may_learn_and_the_clip_as_they_were(teacher):
    student = small_clip(teacher, (0,))
    before = mlp(student).fc2.bias.clone()
    slim = fewer_neurons(student, 8, torch.zeros(1, 3, 32, 32))
    assert mlp(slim).fc1.weight.shape[0] == 8
    assert torch.equal(mlp(student).fc2.bias, before)
    free = {n for n, p in slim.model.named_parameters() if p.requires_grad}
    assert free == {n for n, p in student.model.named_parameters() if p.requires_grad}
    assert not mlp(student).fc2._forward_pre_hooks
    for keep in (0, 10_000):
        with pytest.raises(ValueError, match="neurons, not"):
            fewer_neurons(student, keep, torch.zeros(1, 3, 32, 32))


@pytest.mark.parametrize("layers", [(), (0, 3)])
def test_layers_are_those_of_the_teacher(teacher, layers):
    with pytest.raises(ValueError, match="0 … 2"):
        small_clip(teacher, layers)


def test_patches_fill_the_picture(teacher):
    with pytest.raises(ValueError, match="24 px do not fill"):
        small_clip(teacher, (0,), merge=3)


def test_seeds_draw_the_weights_of_scratch(teacher):
    a, b, c = (
        small_clip(teacher, (0,), inherit=False, seed=s).model.state_dict()
        for s in (0, 0, 1)
    )
    key = "vision_model.encoder.layers.0.mlp.fc1.weight"
    assert torch.equal(a[key], b[key]) and not torch.equal(a[key], c[key])


def test_wider_patches_see_the_averaged_picture():
    g = torch.Generator().manual_seed(0)
    kernel = torch.randn(5, 3, 4, 4, generator=g)
    picture = torch.randn(2, 3, 16, 16, generator=g)
    wide = F.conv2d(picture, wider_patches(kernel, 2), stride=8)
    small = F.conv2d(F.avg_pool2d(picture, 2), kernel, stride=4)
    assert torch.allclose(wide, small, atol=1e-5)


def test_fewer_positions_are_means_and_keep_the_first():
    table = torch.arange(17.0)[:, None].repeat(1, 2)
    few = fewer_positions(table, 2)
    assert few.shape == (5, 2)
    assert few[:, 0].tolist() == [0, 3.5, 5.5, 11.5, 13.5]
    assert torch.equal(fewer_positions(table, 1), table)


def test_losses_are_nothing_for_a_perfect_student():
    teacher, texts = unit(5, 8), unit(4, 8, seed=1)
    assert losses.feature_loss(teacher, teacher) == 0
    assert losses.logit_loss(teacher, teacher, texts, 20).abs() < 1e-6
    assert losses.relation_loss(teacher, teacher) == 0


def test_feature_loss_is_two_minus_two_cosines():
    a, b = unit(5, 8), unit(5, 8, seed=1)
    cosine = (a * b).sum(1).mean()
    assert torch.allclose(losses.feature_loss(a, b), 2 - 2 * cosine)


def test_affinity_loss_asks_captions_and_these_ask_back():
    own, theirs, texts = unit(5, 8), unit(5, 8, seed=1), unit(5, 8, seed=2)
    loss = losses.affinity_loss(own, theirs, texts, 20)
    there = losses.logit_loss(own, theirs, texts, 20)
    # captions ask pictures: logits of the transposed table
    a, b = (20 * texts @ pictures.T for pictures in (own, theirs))
    shares = b.softmax(1)
    back = (shares * (b.log_softmax(1) - a.log_softmax(1))).sum(1).mean()
    torch.testing.assert_close(loss, (there + back) / 2)
    assert losses.affinity_loss(theirs, theirs, texts, 20).abs() < 1e-6
    order = torch.tensor([2, 0, 4, 1, 3])
    moved = losses.affinity_loss(own[order], theirs[order], texts[order], 20)
    torch.testing.assert_close(moved, loss)


def test_logit_loss_is_cross_entropy_less_the_teachers_entropy():
    a, b, texts = unit(5, 8), unit(5, 8, seed=1), unit(4, 8, seed=2)
    shares = (20 * b @ texts.T).softmax(1)
    entropy = -(shares * shares.log()).sum(1).mean()
    cross = F.cross_entropy(20 * a @ texts.T, shares)
    assert torch.allclose(
        losses.logit_loss(a, b, texts, 20), cross - entropy, atol=1e-5
    )


def test_relations_do_not_see_a_rotation():
    teacher = unit(6, 8)
    turn = torch.linalg.qr(unit(8, 8, seed=3)).Q
    assert losses.relation_loss(teacher @ turn, teacher) < 1e-10
    assert losses.feature_loss(teacher @ turn, teacher) > 0.5
    a = torch.tensor([[1.0, 0], [0, 1]])
    b = torch.tensor([[1.0, 0], [0.6, 0.8]])
    assert torch.allclose(losses.relation_loss(a, b), torch.tensor(0.36))


def test_contrast_loss_of_blind_students_is_log_n():
    texts = torch.eye(4)
    student = F.normalize(torch.ones(4, 4), dim=1)
    loss = losses.contrast_loss(student, texts, 10)
    assert loss.item() == pytest.approx(math.log(4), abs=1e-5)


def test_lessons_are_kept_and_belong_to_a_teacher(teacher, scenes, tmp_path):
    lessons = school.Lessons.ask(teacher, scenes)
    path = lessons.save(4, tmp_path / "lessons.safetensors")
    assert path.stat().st_size < 500  # a byte a number, and no pictures
    again = school.Lessons.cached(teacher, 10, path)
    assert len(again) == 8  # four scenes and their mirror images
    assert torch.equal(again.images, lessons.images[:4])
    cosine = (again.image_embeds * lessons.image_embeds[:4]).sum(1)
    assert cosine.min() > 0.9998
    assert again.captions == lessons.captions[:4]
    other = small_clip(teacher)
    with pytest.raises(ValueError, match="another teacher"):
        school.Lessons.cached(other, 4, path)
    with pytest.raises(ValueError, match="6 scenes, 5 answers"):
        school.Lessons(teacher, scenes, lessons.image_embeds[:5])


def test_five_in_six_lessons_show_one_thing(scenes):
    many = school.lesson_scenes(60)
    counts = [len(s.objects) for s in many]
    assert max(counts) > 2 and max(counts[5::6]) == max(counts)
    del counts[5::6]
    assert set(counts) == {1}
    assert [s.caption for s in many[:6]] == [s.caption for s in scenes]


def test_the_stored_lessons_are_stickerclips():
    clip = vt.load_clip()
    lessons = school.Lessons.cached(clip, 8)
    now = school.Lessons.ask(clip, school.lesson_scenes(8))
    cosine = (lessons.image_embeds * now.image_embeds).sum(1)
    assert cosine.min() > 0.999
    assert school.CACHE.stat().st_size < 3.5e6


def test_scenes_come_mirrored_with_the_same_answer(teacher, scenes):
    lessons = school.Lessons.ask(teacher, scenes)
    batch = lessons.batch(torch.tensor([1, 7]))
    plain, mirrored = batch.pixel_values
    assert torch.equal(mirrored, plain.flip(-1))
    assert not torch.equal(mirrored, plain)
    assert torch.equal(batch.image_embeds[0], batch.image_embeds[1])
    assert batch.captions == [scenes[1].caption] * 2


def test_pixels_are_prepared_as_the_model_has_it(scenes):
    clip = vt.load_clip()
    lessons = school.Lessons(clip, scenes, unit(6, 192))
    expected = clip.preprocess([scene.image for scene in scenes])
    values = lessons.batch(torch.arange(6)).pixel_values
    assert torch.allclose(values, expected, atol=1e-5)


@pytest.mark.parametrize("name", school.LOSSES)
def test_each_loss_teaches(teacher, scenes, name):
    """A few steps on six scenes bring the student nearer to its teacher."""
    lessons = school.Lessons.ask(teacher, scenes)
    names = unit(5, 16)
    student = small_clip(teacher, (0,), inherit=False)
    text = student.model.text_projection.weight.clone()
    history = school.train(
        student,
        lessons,
        names,
        {name: 1.0},
        steps=25,
        batch_size=6,
        lr=3e-3,
        warmup=2,
        progress=False,
    )
    assert history.loss[-1] < 0.8 * history.loss[0]
    assert torch.equal(student.model.text_projection.weight, text)
    assert not student.model.training


def test_unknown_losses_are_named(teacher):
    with pytest.raises(ValueError, match="magic"):
        school.lesson_loss(teacher, teacher, unit(5, 16), {"magic": 1.0})


def with_three_portraits(exam):
    """The same exam, but of the first three things only."""
    return exams.Exam(
        exam.pictures,
        exam.labels,
        exam.portraits[:3],
        exam.lines[:6],
        exam.line_labels[:6],
    )


def test_exam_marks_a_clip(teacher):
    exam = exams.Exam.draw("val", 4)
    few = with_three_portraits(exam)
    marks = few.mark(teacher, unit(416, 16), unit(6, 16, seed=1))
    assert set(marks) == {"top1", "meme_r5"}
    assert marks["meme_r5"] == 1.0  # five of three
    again = exams.Exam.draw("val", 4)
    assert torch.equal(again.labels, exam.labels)
    assert exams.Exam.draw("val", 4, seed=1).pictures != exam.pictures


def test_a_saved_student_opens_like_any_clip(teacher, scenes, tmp_path, capsys):
    student = small_clip(teacher, (0, 2))
    folder = save_clip(student, tmp_path / "small")
    assert capsys.readouterr() == ("", "")
    again = vt.load_clip(folder)
    images = [scene.image for scene in scenes]
    cosine = (again.encode_images(images) * student.encode_images(images)).sum(1)
    assert cosine.min() > 0.999
    assert again.image_settings == student.image_settings
    assert next(student.model.parameters()).dtype == torch.float32
    assert again.encode_texts(["a cat"]).shape == (1, 16)


def test_times_are_positive_and_one_a_clip(teacher):
    times = exams.milliseconds([teacher, teacher], batch=2, n=2, rounds=1)
    assert len(times) == 2 and min(times) > 0


@pytest.fixture
def short_exam(monkeypatch):
    """Exams of three questions, whatever is asked for."""
    short = with_three_portraits(exams.Exam.draw("val", 3))
    monkeypatch.setattr(exams.Exam, "draw", lambda *args, **kwargs: short)


@pytest.fixture
def tiny_school(teacher, scenes, short_exam, monkeypatch, tmp_path):
    """The experiment with a tiny teacher and six scenes, one step each."""
    lessons = school.Lessons.ask(teacher, scenes)
    monkeypatch.setattr(run, "open_backbone", lambda name: teacher)
    monkeypatch.setattr(run, "answers", lambda name: lessons)
    monkeypatch.setattr(run, "names_of", lambda clip: unit(416, 16))
    for steps in ("ARM_STEPS", "LONG_STEPS", "SHAPE_STEPS", "SCRATCH_STEPS"):
        monkeypatch.setattr(run, steps, 1)
    monkeypatch.setattr(run, "EXPLAINED", 2)
    run.explained.cache_clear()
    monkeypatch.setattr(run, "FOLDER", tmp_path / "student")
    return tmp_path / "student"


def test_ways_of_teaching_are_compared_picture_by_picture(tiny_school):
    found = {name: run.teach(name, 1, "tiny") for name in run.ARMS}
    for part in found.values():
        assert len(part["right"]) == 3 and part["steps"] == 1
        looks = {"agrees", "wrong words", "points", "patches"}
        assert set(part["step0"]) == set(part["scores"]) == {"top1", "meme_r5"} | looks
        assert part["scores"]["top1"] == pytest.approx(sum(part["right"]) / 3, abs=1e-4)
    found[run.BOTH]["right"], found[run.CHECKS[1].worse]["right"] = [1, 1, 0], [0, 1, 0]
    checks = run.compare(found)
    assert len(checks) == 4
    assert checks[1]["value"] == pytest.approx(1 / 3, abs=1e-4)
    # 80 steps teach nobody who starts from chance
    assert [bool(check["budget"]) for check in checks] == [True, False, False, False]
    # one of them compares two schools that both know the captions alone
    apart = {frozenset({check.better, check.worse}) for check in run.CHECKS}
    assert {"inherited, affinity", "inherited, captions"} in apart
    assert run.compare({run.BOTH: found[run.BOTH]}) == []


def test_the_long_school_leaves_a_student_that_opens(tiny_school, teacher):
    large, small = run.reference("", 0, "tiny"), run.ship("", 0, "tiny")
    assert large["tower_parameters"] == image_parameters(teacher)
    mean, least, most = small["exams"]["meme_r5"]
    assert least <= mean == small["scores"]["meme_r5"] <= most
    assert small["ms"] > 0 and small["ms_of_16"] > 0
    assert vt.load_clip(tiny_school).embed_dim == teacher.embed_dim
    before = tiny_school.stat().st_mtime_ns
    run.ship("", 1, "tiny")  # seed 0 is the one that is kept
    assert tiny_school.stat().st_mtime_ns == before


def test_shapes_and_a_school_from_scratch(tiny_school, monkeypatch):
    monkeypatch.setattr(run, "SHAPES", {"one layer": ((0,), 0.5)})
    small = run.shape("one layer", 0, "tiny")
    assert small["table"] == "shapes" and small["steps"] == 1
    long = run.scratch(run.SCRATCH, 0, "tiny")
    assert small["trained"] < long["trained"] == long["tower_parameters"]
    # inherited weights give the teacher's own maps before any lesson
    assert long["step0"]["agrees"] != run.ship("", 1, "tiny")["step0"]["agrees"]
    teacher = run.reference("", 0, "tiny")["scores"]
    assert teacher["agrees"] == pytest.approx(1, abs=1e-4)


def test_whether_school_or_inheritance_explains_is_asked_scene_by_scene(tiny_school):
    found = {run.STUDENT: run.ship("", 1, "tiny")}
    for name in (run.SCRATCH, run.CAPTIONS):
        found[name] = run.scratch(name, 1, "tiny")
    alone, long = found[run.CAPTIONS], found[run.SCRATCH]
    assert alone["supervision"] == "contrast" and alone["steps"] == long["steps"]
    assert alone["step0"] == long["step0"]  # one start, two schools
    for part in found.values():
        for when, scores in (("before", part["step0"]), ("after", part["scores"])):
            by_scene = part["agrees_by_scene"][when]
            mean = sum(by_scene) / len(by_scene)
            assert len(by_scene) == 2
            assert scores["agrees"] == pytest.approx(mean, abs=2e-4)
    checks = run.compare(found)
    assert [check["method"] for check in checks] == [run.STUDENT, run.SCRATCH] + [
        run.STUDENT
    ]
    own = found[run.STUDENT]
    gain = own["scores"]["agrees"] - own["step0"]["agrees"]
    assert checks[0]["value"] == pytest.approx(gain, abs=2e-4)
    kept = own["step0"]["agrees"] - long["scores"]["agrees"]
    assert checks[2]["value"] == pytest.approx(kept, abs=2e-4)
    # three seeds of what takes an hour, and so no verdict of it
    keys = run.EXPERIMENT.keys(only=found)
    assert len(keys) == 8 + 3 + 3


def test_maps_of_two_things(teacher):
    pairs = maps.two_things("val", 3)
    assert len(pairs) == 3
    assert all(s.objects[0].name != s.objects[1].name for s in pairs)
    spot = torch.zeros(12, 12)
    x0, y0, x1, y1 = pairs[0].objects[0].box
    spot[int((y0 + y1) / 16), int((x0 + x1) / 16)] = 1
    assert maps.pointing([spot], pairs[:1]) == 1
    away = torch.zeros(12, 12)
    away[11 if y0 > 48 else 0, 11 if x1 < 48 else 0] = 1
    inside = x0 <= 92 * (x1 < 48) + 4 < x1 and y0 <= 88 * (y0 > 48) + 4 < y1
    assert maps.pointing([away], pairs[:1]) == inside
    ramp = torch.arange(144.0).reshape(12, 12)
    assert maps.agreement([ramp, ramp], [2 * ramp + 1, -ramp]) == pytest.approx(0)
    assert maps.agreement([ramp], [torch.ones(12, 12)]) == 0
    assert maps.heat(teacher, pairs[0], 1).shape == (12, 12)
    assert 0 <= maps.patches_right(teacher, pairs, unit(416, 16)) <= 1


def test_answers_are_asked_for_where_none_are_kept(teacher, tmp_path, monkeypatch):
    cache = tmp_path / "answers.safetensors"
    monkeypatch.setattr(run, "open_backbone", lambda name: teacher)
    monkeypatch.setattr(run, "SCENES", 4)
    monkeypatch.setattr(run, "CACHE", cache)
    run.answers.cache_clear()
    asked = run.answers("tiny")
    run.answers.cache_clear()
    monkeypatch.setattr(school.Lessons, "ask", None)  # not a second time
    again = run.answers("tiny")
    run.answers.cache_clear()
    assert len(asked) == len(again) == 8 and cache.is_file()
