"""Identities of multi-label and dense methods."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from transfer_tiny import CLASSES, SIZE, D, clip, close, colors, tiny_clip, unit

from vlmtutor.naming import text_classifier
from vlmtutor.transfer import denseclip, dualcoop, tai_dpt
from vlmtutor.transfer.multi_label import (
    asymmetric_loss,
    hide_labels,
    mean_average_precision,
)
from vlmtutor.transfer.pictures import Pictures

IMAGES, LABELS = colors(2)
ONE_HOT = torch.eye(3)[LABELS]
PROMPT = ["a picture of a {}"]


def test_dualcoop_two_way_softmax_is_a_sigmoid():
    predictor = dualcoop.fit(clip(), IMAGES, ONE_HOT, CLASSES, steps=2)
    with torch.no_grad():
        pair = predictor.pair_logits(Pictures(clip(), IMAGES))
    close(predictor.probabilities(IMAGES), pair.softmax(1)[:, 1])


def test_dualcoop_of_one_patch_pools_nothing():
    patch, yes, no = unit(4, 1, D), unit(3, D), unit(3, D, seed=1)
    pair = dualcoop.region_logits(patch, yes, no, 27.8)
    close(pair[:, 1], 27.8 * patch[:, 0] @ yes.T, atol=1e-4)
    close(pair[:, 0], 27.8 * patch[:, 0] @ no.T, atol=1e-4)


def test_dualcoop_looks_where_the_positive_prompt_answers():
    yes, no = unit(1, D), unit(1, D, seed=1)
    patches = torch.stack([yes, no, -yes])[None, :, 0]  # [1, 3, D]
    pair = dualcoop.region_logits(patches, yes, no, 100.0)
    assert pair[0, 1, 0] > 95  # nearly all of it from the first patch
    where = (20 * patches @ yes.T).softmax(1)
    close(pair[:, 0], 100 * (where * (patches @ no.T)).sum(1), atol=1e-3)


def test_dualcoops_answers_are_on_the_models_own_scale():
    """A scale of another model would leave the sigmoid nothing to learn."""
    model = clip()
    start = dualcoop.fit(model, IMAGES, ONE_HOT, CLASSES, steps=0)
    with torch.no_grad():
        pair = start.pair_logits(Pictures(model, IMAGES))
    assert pair.abs().max() <= model.logit_scale + 1e-4


def test_dualcoop_learns_nothing_from_unknown_labels():
    unknown = -torch.ones(6, 3)
    start = dualcoop.fit(clip(), IMAGES, ONE_HOT, CLASSES, steps=0)
    end = dualcoop.fit(clip(), IMAGES, unknown, CLASSES, steps=3)
    close(end(IMAGES), start(IMAGES))


def test_asymmetric_loss_is_binary_cross_entropy_when_plain():
    logits = 3 * unit(5, 3)
    labels = (unit(5, 3, seed=1) > 0).float()
    plain = asymmetric_loss(logits, labels, 0.0, 0.0, 0.0)
    expected = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    close(plain, expected.sum(1).mean())
    partly = labels.clone()
    partly[:, 1] = -1
    close(
        asymmetric_loss(logits, partly, 0.0, 0.0, 0.0),
        expected[:, [0, 2]].sum(1).mean(),
    )
    # An absence that is nearly sure costs nothing.
    sure = torch.full((1, 1), -4.0)
    assert asymmetric_loss(sure, torch.zeros(1, 1)) == 0


def test_mean_average_precision():
    labels = torch.tensor([[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 0]])
    assert mean_average_precision(labels.float(), labels) == 1
    scores = torch.tensor([[4.0, 1, 0], [3, 2, 0], [2, 3, 0], [1, 4, 0]])
    expected = ((1 + 2 / 3) / 2 + 1 / 3) / 2  # the third class is left out
    assert mean_average_precision(scores, labels) == pytest.approx(expected)
    assert mean_average_precision(
        scores * torch.tensor([9.0, 1, 1]), labels
    ) == pytest.approx(expected)
    partly = labels.clone()
    partly[1, 0] = -1  # its high score is no mistake any more
    assert mean_average_precision(scores[:, :1], partly[:, :1]) == 1
    with pytest.raises(ValueError, match="no picture"):
        mean_average_precision(scores, torch.zeros(4, 3))


def test_hide_labels_keeps_a_share():
    labels = torch.ones(200, 50)
    hidden = hide_labels(labels, 0.3, seed=0)
    assert abs((hidden >= 0).float().mean() - 0.3) < 0.02
    assert torch.equal(hidden, hide_labels(labels, 0.3, seed=0))
    assert torch.equal(hide_labels(labels, 1.0, seed=0), labels)


def test_noun_labels_find_whole_names_and_other_words():
    names = ["dog", "hot dog", "cat"]
    captions = ["a hot dog", "two Dogs and a cat", "a catalogue", "a puppy"]
    found = tai_dpt.noun_labels(captions, names, {"dog": ["puppy"]})
    assert found.tolist() == [[0, 1, 0], [1, 0, 1], [0, 0, 0], [1, 0, 0]]


def test_words_of_captions_are_those_between_the_ends():
    whole, tokens, mask = tai_dpt.encode_words(clip(), ["a dog", "two cat a"])
    close(whole, clip().encode_texts(["a dog", "two cat a"]))
    assert mask.tolist() == [
        [False, True, True, False, False],
        [False, True, True, True, False],
    ]
    assert tokens.shape == (2, 5, D)


def test_local_scores_lie_between_mean_and_maximum():
    parts, weights = unit(2, 6, D), unit(3, D)
    mask = torch.ones(2, 6, dtype=torch.bool)
    cosine = parts @ weights.T
    close(tai_dpt.local_scores(parts, weights, mask, 0.0), cosine.mean(1))
    close(tai_dpt.local_scores(parts, weights, mask, 1e5), cosine.amax(1))
    mask[:, 1:] = False  # one part: no pooling, and the rest is not seen
    close(tai_dpt.local_scores(parts, weights, mask, 50.0), cosine[:, 0])


def test_ranking_loss_by_hand():
    scores = torch.tensor([[2.0, 0.5, 1.5], [0.0, 0.0, 0.0]])
    labels = torch.tensor([[1, 0, 0], [0, 0, 0]])
    close(tai_dpt.ranking_loss(scores, labels), torch.tensor(0.25))
    far = torch.tensor([[3.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    assert tai_dpt.ranking_loss(far, labels) == 0


def test_tai_dpt_starts_at_cosines_with_the_hand_prompt():
    predictor = tai_dpt.fit(clip(), ["a cat", "a red dog"], None, CLASSES, steps=0)
    prompts = text_classifier(clip(), CLASSES, PROMPT)
    pictures = Pictures(clip(), IMAGES)
    whole = pictures.image_embeds @ prompts.T
    patches = pictures.patch_embeds.flatten(1, 2)
    mask = torch.ones(patches.shape[:2], dtype=torch.bool)
    local = tai_dpt.local_scores(patches, prompts, mask, tai_dpt.PATCH_SHARPNESS)
    expected = tai_dpt.SCORE_SCALE * (whole + local) / 2
    close(predictor(IMAGES), expected)


def test_tai_dpt_learns_without_an_image_encoder():
    model = tiny_clip()
    vision, model.model.vision_model = model.model.vision_model, None
    captions = [f"a picture of a {name}" for name in CLASSES] * 2
    predictor = tai_dpt.fit(model, captions, None, CLASSES, steps=3)
    model.model.vision_model = vision
    assert predictor(IMAGES).shape == (6, 3)


def test_denseclip_untuned_is_the_read_out_of_patches():
    predictor = denseclip.fit(
        clip(), IMAGES, torch.zeros(6, SIZE, SIZE).long(), CLASSES, steps=0
    )
    with torch.no_grad():
        predictor.gamma.zero_()
    prompts = text_classifier(clip(), CLASSES, PROMPT)
    patches = Pictures(clip(), IMAGES).patch_embeds  # [N, h, w, D]
    expected = (patches @ prompts.T).movedim(-1, 1)
    close(predictor(IMAGES), clip().logit_scale * expected, atol=1e-4)


def test_denseclip_gamma_lets_the_names_look_at_the_picture():
    maps = torch.zeros(6, SIZE, SIZE).long()
    predictor = denseclip.fit(clip(), IMAGES, maps, CLASSES, steps=0)
    before = predictor(IMAGES)
    with torch.no_grad():
        predictor.gamma.fill_(1.0)
    assert not torch.allclose(predictor(IMAGES), before, atol=1e-2)


def test_denseclips_arms_differ_in_what_they_say():
    """Without words and looks only the head is tuned, from the same start."""
    maps = torch.zeros(6, SIZE, SIZE).long()
    data = clip(), IMAGES, maps, CLASSES
    whole = denseclip.fit(*data, steps=0)
    blind = denseclip.fit(*data, looks=False, steps=3)
    head = denseclip.fit(*data, words=False, looks=False, steps=3)
    names = {name for name, _ in head.named_parameters()}
    assert names == {"head.weight", "head.bias"}
    assert {n for n, _ in blind.named_parameters()} == names | {"context"}
    start = denseclip.fit(*data, words=False, looks=False, steps=0)
    close(start(IMAGES), whole(IMAGES), atol=0.05)  # gamma starts at 1e-4
    assert torch.equal(head.context, start.context)
    assert not torch.equal(blind.context, start.context)


def test_denseclips_score_map_weighs_as_in_the_authors_code():
    maps = torch.zeros(6, SIZE, SIZE).long()
    learner = denseclip.fit(clip(), IMAGES, maps, CLASSES, steps=1, batch_size=6)
    start = denseclip.DenseCLIP(clip(), CLASSES)
    pictures = Pictures(clip(), IMAGES)
    with torch.no_grad():
        score = start.score_map(pictures)
        main = denseclip.pixel_loss(start.logits(pictures, score), maps)
        auxiliary = denseclip.pixel_loss(score / denseclip.TEMPERATURE, maps)
    assert learner.losses == pytest.approx([float(main + 0.4 * auxiliary)], abs=1e-4)


def test_pixel_loss_leaves_pixels_out():
    logits = torch.zeros(1, 3, 2, 2)
    logits[0, 1] = 5.0
    labels = torch.full((1, 4, 4), -1)
    labels[0, 0, 0] = 1
    sure = -math.log(math.exp(5) / (math.exp(5) + 2))
    close(denseclip.pixel_loss(logits, labels), torch.tensor(sure))
