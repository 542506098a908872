"""MaskCLIP is what it says: identity tests on a tiny CLIP."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from distill_tiny import bench
from transfer_tiny import clip, close, unit

from vlmtutor.distill.bench.trial import Trial
from vlmtutor.distill.parts import texts
from vlmtutor.distill.parts.dense_student import OPEN, Student, train_student
from vlmtutor.distill.segmentation import maskclip
from vlmtutor.distill.supervision import Partial, Unlabeled
from vlmtutor.experiments import dense
from vlmtutor.models import inside

NAMES = bench().names


def test_maskclip_compares_value_path_patches_with_names():
    pictures = bench().test_pictures
    logits = maskclip.MaskCLIP(clip()).logits(pictures, NAMES)
    dense = clip().patch_features(pictures.pixel_values)  # [N, h, w, D]
    W = texts.text_classifier(clip(), NAMES)
    cosine = (dense @ W.T).permute(0, 3, 1, 2).detach()
    close(logits[:, :-1], clip().logit_scale * cosine, atol=1e-3)


def test_a_name_keeps_its_logits_whatever_else_is_asked():
    pictures, model = bench().test_pictures, maskclip.MaskCLIP(clip())
    few, many = (model.logits(pictures, n) for n in (NAMES[:2], NAMES))
    close(few[:, :2], many[:, :2])
    close(few[:, -1], many[:, -1])


def test_denoising_takes_unlikely_names_out_of_a_picture():
    pictures = bench().test_pictures
    logits = maskclip.MaskCLIP(clip()).logits(pictures, NAMES)
    best = logits.softmax(1)[:, :-1].amax((2, 3))
    middle = float(best.median())
    denoised = maskclip.MaskCLIP(clip(), denoise=middle).logits(pictures, NAMES)
    out = best < middle
    assert out.any() and not out.all()
    assert (denoised[:, :-1][out] == maskclip.ABSENT).all()
    assert torch.equal(denoised[:, :-1][~out], logits[:, :-1][~out])
    assert torch.equal(denoised[:, -1], logits[:, -1])  # never the background


def test_smoothing_is_a_sum_over_patches_with_like_keys():
    p, keys = torch.rand(1, 3, 2, 2), unit(1, 4, 5)
    smooth = maskclip.smooth_by_keys(p, 7 * keys)  # lengths do not matter
    by_hand = sum((keys[0, 1] @ keys[0, j]) * p[0, :, j // 2, j % 2] for j in range(4))
    close(smooth[0, :, 0, 1], by_hand)


def test_a_vote_of_each_patch_with_itself_alone_changes_no_answer(monkeypatch):
    """Scores are enlarged on one scale, smoothed or not: logarithms."""
    monkeypatch.setattr(maskclip, "smooth_by_keys", lambda p, keys: p)
    pictures = bench().test_pictures
    raw, voted = (
        maskclip.MaskCLIP(clip(), smooth=smooth).scores(pictures, NAMES)
        for smooth in (False, True)
    )
    gap = raw - voted  # the same for all names of a pixel
    close(gap - gap.mean(1, keepdim=True), torch.zeros_like(gap), atol=1e-3)


def test_the_hand_over_comes_when_steps_have_become_small():
    later = maskclip.ZERO_SHOT.knobs["hand_over"]
    assert min(later) >= 0.5 and max(later) <= 0.7
    assert maskclip.AS_PUBLISHED.settings == {"hand_over": 0.1}
    assert maskclip.AS_PUBLISHED in maskclip.ROWS


def test_teacher_gets_pictures_and_names_alone_and_trains_nothing():
    data = bench().data(Unlabeled)
    assert {f.name for f in dataclasses.fields(data)} == {"pictures"}
    teacher = maskclip.fit(clip(), data, student=False)
    assert teacher.trained == 0


def test_student_learns_and_its_classifier_is_the_frozen_text():
    clip().model.zero_grad()  # other tests share this model
    before = {k: v.clone() for k, v in clip().model.state_dict().items()}
    data = bench().data(Unlabeled)
    made = maskclip.fit(clip(), data, names=NAMES, steps=2)
    after = clip().model.state_dict()
    assert all(torch.equal(v, after[k]) for k, v in before.items())
    assert all(p.grad is None for p in clip().model.parameters())
    fresh = Student(clip())
    assert made.trained == sum(p.numel() for p in fresh.parameters())
    assert any(
        not torch.equal(a, b)
        for a, b in zip(made.student.parameters(), fresh.parameters(), strict=True)
    )
    vectors = inside.as_tokens(made.student(data.pictures[:2]))
    W = texts.text_classifier(clip(), NAMES)
    scores = made.scores(data.pictures[:2], NAMES)
    assert scores.shape == (2, len(NAMES) + 1, 32, 32)
    assert (vectors @ W.T).abs().max() <= 1 + 1e-5
    again = maskclip.fit(clip(), data, names=NAMES, steps=2)
    close(again.scores(data.pictures[:2], NAMES), scores)


def test_student_overfits_a_few_pictures():
    b = bench()
    pictures = b.test_pictures[:2]
    # texts of a random CLIP are alike: two names and enough steps
    labels = (pictures.rgb.mean(1) > 0.6).long()
    made = train_student(clip(), pictures, labels, NAMES[:2], steps=80)
    with torch.no_grad():
        right = made.scores(pictures, NAMES[:2])[:, :2].argmax(1) == labels
    assert right.float().mean() > 0.75


def test_guidance_is_novel_names_only_and_is_handed_over(monkeypatch):
    seen = {}

    def spy(clip, pictures, labels, names, **options):
        seen.update(options, labels=labels)

    monkeypatch.setattr(maskclip, "train_student", spy)
    b = bench()
    maskclip.fit(clip(), b.data(Partial), names=b.names, novel=b.novel, hand_over=0.3)
    novel = {b.names.index(name) for name in b.novel}
    assert set(seen["guidance"].unique().tolist()) <= novel
    assert set(seen["novel"].tolist()) == novel
    assert seen["self_train_at"] == 0.3
    still = seen["labels"] == OPEN
    assert torch.equal(still, b.data(Partial).labels == 255)
    background = b.data(Partial).labels == len(b.base)
    assert (seen["labels"][background] == len(b.names)).all()


@pytest.mark.parametrize("hand_over, guided", [(None, 4), (0.5, 2)])
def test_open_pixels_are_the_students_own_after_the_hand_over(
    monkeypatch, hand_over, guided
):
    from vlmtutor.distill.parts import dense_student as student

    targets = []
    monkeypatch.setattr(
        student,
        "softmax_ce_ignore",
        lambda logits, target: targets.append(target) or logits.sum(),
    )
    b = bench()
    labels = torch.full((6, 8, 8), OPEN)
    guidance = torch.full((6, 8, 8), 3)
    train_student(
        clip(),
        b.test_pictures,
        labels,
        b.names,
        guidance=guidance,
        novel=torch.tensor([4]),
        self_train_at=hand_over,
        steps=4,
    )
    assert [int(t.unique()) for t in targets] == [3] * guided + [4] * (4 - guided)


def test_rows_checks_and_knobs_run_through_the_bench(monkeypatch):
    monkeypatch.setattr(
        maskclip,
        "PLUS",
        dataclasses.replace(maskclip.PLUS, settings={"steps": 1}, knobs={}),
    )
    monkeypatch.setattr(
        maskclip,
        "ZERO_SHOT",
        dataclasses.replace(maskclip.ZERO_SHOT, settings={"steps": 2}, knobs={}),
    )
    monkeypatch.setattr(
        maskclip, "ROWS", (maskclip.INFO, maskclip.PLUS, maskclip.ZERO_SHOT)
    )
    monkeypatch.setattr(
        maskclip,
        "long_vocabulary",
        lambda bench, model: bench.answer(model),
    )
    monkeypatch.setattr(dense, "open_bench", lambda *args, **kw: bench())
    found = dense.choose("MaskCLIP+", "tiny")
    assert set(found["chosen"]["MaskCLIP"]) == {"denoise", "smooth"}
    assert len(found["grid"]["MaskCLIP"]) == 4 and not found["grid"]["MaskCLIP+"]
    found = dense.method("MaskCLIP+", 0, "tiny", found["chosen"])
    assert [r["row"] for r in found["rows"]] == [row.name for row in maskclip.ROWS]
    assert len(found["checks"]) == 3
    trial = Trial(bench(), maskclip.fit)
    assert trial.result(maskclip.INFO) is trial.result(maskclip.INFO)
    a = trial.model(maskclip.INFO, denoise=0.1)
    assert a.denoise == 0.1 and trial.model(maskclip.INFO).denoise == 0.5
