"""What transfer methods share: pictures, and the loop that tunes."""

from __future__ import annotations

import pytest
import torch
from transfer_tiny import CLASSES, D, clip, close, colors, tiny_clip

from vlmtutor.transfer.base import Learner, ZeroShot, tune
from vlmtutor.transfer.pictures import Pictures


def test_pictures_give_the_same_from_images_and_from_pixels():
    images, _ = colors(2)
    model = clip()
    from_images = Pictures(model, images)
    from_pixels = Pictures(model, model.preprocess(images))
    close(from_images.image_embeds, model.encode_images(images))
    close(from_pixels.image_embeds, from_images.image_embeds)
    close(from_pixels.patch_embeds, from_images.patch_embeds)
    assert from_images.patch_embeds.shape == (6, 4, 4, D)
    assert from_images.images[1] is images[1]


def test_pictures_compute_features_once():
    images, _ = colors(2)
    model = tiny_clip()
    pictures = Pictures(model, images)
    embeds = pictures.image_embeds
    model.model = model.encode_images = None  # nothing left to compute with
    part = pictures[torch.tensor([4, 0])]
    close(part.image_embeds, embeds[[4, 0]])
    assert part.images == [images[4], images[0]]
    close(pictures[1:3].image_embeds, embeds[1:3])
    close(Pictures.of(model, pictures).image_embeds, embeds)


def test_pictures_of_another_clip_are_encoded_anew():
    images, _ = colors(1)
    first = Pictures(clip(), images)
    other = tiny_clip(seed=1)
    assert not torch.allclose(
        Pictures.of(other, first).image_embeds, first.image_embeds
    )


def test_pictures_say_what_they_cannot_give():
    embeds = Pictures(clip(), torch.randn(5, D))
    close(embeds.image_embeds.norm(dim=-1), torch.ones(5))
    with pytest.raises(ValueError, match="not embeddings"):
        _ = embeds.pixel_values
    with pytest.raises(ValueError, match="not embeddings"):
        _ = embeds.patch_embeds
    with pytest.raises(ValueError, match="numbers only"):
        _ = embeds.images
    with pytest.raises(ValueError, match="16"):
        Pictures(clip(), torch.randn(5, D + 1))
    with pytest.raises(ValueError, match=r"\[5, 2, 2\]"):
        Pictures(clip(), torch.randn(5, 2, 2))


def test_tune_wants_a_label_for_each_picture():
    images, labels = colors(1)
    learner = ZeroShot(clip(), CLASSES)
    with pytest.raises(ValueError, match="3 pictures, 2 labels"):
        tune(learner, images, labels[:2], steps=1, lr=0.1)


def test_learner_knows_no_logits_of_its_own():
    images, _ = colors(1)
    with pytest.raises(NotImplementedError):
        Learner(clip(), CLASSES)(images)


def test_predictions_do_not_depend_on_batches():
    images, _ = colors(3)
    learner = ZeroShot(clip(), CLASSES)
    whole = learner(images)
    learner.batch_size = 2
    close(learner(images), whole)
    close(learner.probabilities(images).sum(1), torch.ones(9))
    pictures = Pictures(clip(), images)
    close(learner(pictures), whole)
    assert "image_embeds" in vars(pictures)  # not to be computed again
    assert learner([]).shape == (0, 3)
    assert learner.parameters_trained == 0
