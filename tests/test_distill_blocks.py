"""Shared pieces: texts, upsampling, losses, the answers of a segmenter."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from distill_tiny import bench
from transfer_tiny import clip, close, unit

from vlmtutor.distill.bench.answers import predict
from vlmtutor.distill.methods import Info
from vlmtutor.distill.parts import losses, refine, texts
from vlmtutor.distill.supervision import IGNORE, Masked
from vlmtutor.naming import text_classifier


def test_text_classifier_is_the_ensemble_in_any_order():
    names = ["cat", "red dog", "cat"]
    ours = texts.text_classifier(clip(), names)
    close(ours, text_classifier(clip(), names))
    close(texts.text_classifier(clip(), names[:2])[0], ours[0])


def test_background_is_the_best_place_and_comes_last():
    dense, W, places = unit(2, 9, 8), unit(3, 8, seed=1), unit(5, 8, seed=2)
    scores = texts.class_scores(dense, W, places, bias=0.5)
    assert scores.shape == (2, 4, 3, 3)
    best = (dense @ places.T).max(-1).values + 0.5
    close(scores[:, 3].flatten(1), best)
    close(scores[:, 1, 2, 1], dense[:, 7] @ W[1])
    assert texts.class_scores(dense, W).shape == (2, 3, 3, 3)


def test_upsampling_keeps_scores_and_shrinking_takes_the_middle():
    scores = torch.rand(1, 2, 4, 4)
    big = refine.upsample(scores, 12)
    assert big.shape == (1, 2, 12, 12)
    close(big[..., 1::3, 1::3], scores)  # the middle of each cell
    labels = torch.arange(36).view(1, 6, 6)
    assert refine.shrink_labels(labels, 2)[0].tolist() == [[7, 10], [25, 28]]
    with pytest.raises(ValueError):
        refine.shrink_labels(labels, 4)


def test_views_come_back_to_the_picture_frame():
    pixels = torch.rand(2, 3, 8, 8)
    mean = refine.tta(lambda x: x, pixels, ("as is", "flip"))
    close(mean, pixels)


def test_refining_moves_an_edge_to_where_the_colour_changes():
    guide = torch.zeros(1, 3, 16, 16)
    guide[..., 8:] = 1
    truth = (torch.arange(16) >= 8).float()
    rough = torch.sigmoid((torch.arange(16) - 5.5) / 2)
    scores = rough.expand(1, 1, 16, 16)
    assert ((rough > 0.5) != truth.bool()).sum() == 2  # columns 6 and 7
    refined = refine.color_refine(scores, guide)
    assert torch.equal(refined[0, 0] > 0.5, truth.bool().expand(16, 16))
    plain = refine.color_refine(scores, torch.zeros(1, 3, 16, 16))
    assert plain[0, 0, 0, 7] > 0.5  # without colour it is only smoothed


def test_losses_leave_out_255():
    logits = torch.randn(2, 3, 4, 4)
    labels = torch.randint(0, 3, (2, 4, 4))
    full = losses.softmax_ce_ignore(logits, labels)
    close(full, F.cross_entropy(logits, labels))
    masked = labels.clone()
    masked[0] = 255
    close(
        losses.softmax_ce_ignore(logits, masked),
        F.cross_entropy(logits[1:], labels[1:]),
    )
    assert losses.softmax_ce_ignore(logits, masked * 0 + 255) == 0
    targets, counts = losses.binary_targets(masked, 2)
    assert targets.shape == (2, 2, 4, 4) and not counts[0].any()
    close(
        losses.bce_ignore(logits[:, :2], targets, counts),
        F.binary_cross_entropy_with_logits(logits[1:, :2], targets[1:].float()),
    )


def test_dice_is_0_for_a_perfect_mask():
    mask = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    mask[..., 2:5, 2:5] = True
    sure = torch.where(mask, 20.0, -20.0)
    assert losses.dice(sure, mask) < 1e-4
    assert losses.dice(-sure, mask) > 0.9
    counts = torch.zeros_like(mask)
    assert losses.dice(-sure, mask, counts) == 0


class Perfect:
    """Says what the truth is: for tests."""

    trained = 0

    def __init__(self, truth):
        self.truth = list(truth)

    def scores(self, pictures, names, seen=None):
        rows, self.truth = (self.truth[: len(pictures)], self.truth[len(pictures) :])
        one_hot = F.one_hot(torch.stack(rows), len(names) + 1)
        return one_hot.permute(0, 3, 1, 2).float()


def test_predict_and_judge_agree_on_a_perfect_segmenter(monkeypatch):
    b = bench()
    monkeypatch.setattr("vlmtutor.distill.bench.answers.PIXELS", 2 * 6 * 32 * 32)
    labels = predict(Perfect(b.truth), b.test_pictures, b.names)
    assert torch.equal(labels.long(), b.truth)
    scores = b.answer(Perfect(b.truth)).scores()
    assert scores["all"] == scores["accuracy"] == scores["naming"] == 1


def test_names_that_do_not_compete_are_not_judged():
    b = bench()
    maps = b.label_maps(b.novel)
    base = b.truth < len(b.base)
    assert torch.equal(maps == IGNORE, base)
    assert torch.equal(maps[~base], b.truth[~base] - len(b.base))
    alone = b.answer(Perfect(maps.masked_fill(base, 0)), names=b.novel)
    assert alone.scores()["U"] == 1 and alone.base == 0
    with pytest.raises(ValueError, match="before novel"):
        b.judge(b.truth, names=b.novel + b.base)


class Finder:
    """Finds all that is there, but calls it by the next name."""

    trained = 0

    def __init__(self, bench, off=0):
        self.truth, self.off = bench.true_boxes(bench.names), off

    def detect(self, pictures, names, seen=None):
        rows, self.truth = (self.truth[: len(pictures)], self.truth[len(pictures) :])
        return [
            {
                "boxes": row["boxes"],
                "labels": [(k + self.off) % len(names) for k in row["labels"]],
                "scores": [0.9] * len(row["labels"]),
            }
            for row in rows
        ]


def test_a_detectors_answers_are_boxes(monkeypatch):
    monkeypatch.setattr("vlmtutor.distill.bench.answers.AT_ONCE", 4)
    b = bench()
    right, wrong = (b.answer(Finder(b, off)).scores() for off in (0, 1))
    close(torch.tensor(list(right.values())), torch.ones(len(right)))
    assert wrong["all"] < 0.5
    boxes = b.true_boxes(b.novel)
    things = [o for s in b.scenes("test") for o in s.objects if o.name in b.novel]
    assert sum(len(row["boxes"]) for row in boxes) == len(things)
    assert [b.novel[k] for row in boxes for k in row["labels"]] == [
        thing.name for thing in things
    ]


def test_predict_refuses_wrong_shapes():
    class Wrong(Perfect):
        def scores(self, pictures, names, seen=None):
            return torch.zeros(len(pictures), 1, 4, 4)

    with pytest.raises(ValueError, match="scores are"):
        predict(Wrong([]), bench().test_pictures, bench().names)


def test_info_refuses_a_table_that_is_not_there():
    with pytest.raises(ValueError, match="none of"):
        Info("x", "p", 2020, "0", "fourth", Masked, "", "", "")


def test_an_inductive_row_is_told_no_novel_name():
    with pytest.raises(ValueError, match="no row is told"):
        Info("x", "p", 2020, "0", "inductive", Masked, "", "", "", told=("names",))
