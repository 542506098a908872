"""Zero-shot naming of pictures and patches, against the same by hand."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from clip_folders import write_clip
from PIL import Image

from vlmtutor.metrics import average_precision
from vlmtutor.models import load_clip
from vlmtutor.naming import (
    TEMPLATES,
    find_boxes,
    label_maps,
    text_classifier,
    zero_shot,
)
from vlmtutor.seeding import generator

LABELS = ["cat", "red car", "apple"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return load_clip(write_clip(tmp_path_factory.mktemp("clip") / "tiny"))


@pytest.fixture(scope="module")
def pictures():
    return [Image.new("RGB", (40, 32), c) for c in ("red", "blue", "tan")]


def test_templates_are_several_different_sentences():
    assert 5 <= len(set(TEMPLATES)) == len(TEMPLATES)
    assert all(template.count("{}") == 1 for template in TEMPLATES)


def test_classifier_is_the_normalised_mean_of_normalised_prompts(clip):
    rows = []
    for label in LABELS:
        prompts = [template.replace("{}", label) for template in TEMPLATES]
        output = clip.model.get_text_features(**clip.tokenize(prompts))
        embeds = F.normalize(output.pooler_output, dim=-1)
        rows.append(F.normalize(embeds.mean(0), dim=0))
    classifier = text_classifier(clip, LABELS)
    assert classifier.shape == (3, clip.embed_dim)
    torch.testing.assert_close(classifier, torch.stack(rows).detach())


def test_one_template_is_the_text_embedding(clip):
    classifier = text_classifier(clip, LABELS, "a {}")
    texts = clip.encode_texts(["a cat", "a red car", "a apple"])
    torch.testing.assert_close(classifier, texts)


def test_rows_are_probabilities_as_clip_computes_them(clip, pictures):
    probabilities = zero_shot(clip, pictures, LABELS, "a {}")
    assert probabilities.shape == (3, 3)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(3))
    texts = clip.tokenize([f"a {label}" for label in LABELS])
    with torch.no_grad():
        output = clip.model(pixel_values=clip.preprocess(pictures), **texts)
    expected = output.logits_per_image.softmax(-1)
    torch.testing.assert_close(probabilities, expected, atol=1e-5, rtol=0)


def test_precomputed_embeddings_need_no_picture(clip, pictures):
    embeds = clip.encode_images(pictures)
    expected = zero_shot(clip, pictures, LABELS)
    torch.testing.assert_close(zero_shot(clip, embeds, LABELS), expected)
    torch.testing.assert_close(zero_shot(clip, 7 * embeds, LABELS), expected)


def test_labels_move_with_their_columns(clip, pictures):
    forward = zero_shot(clip, pictures, LABELS)
    backward = zero_shot(clip, pictures, LABELS[::-1])
    torch.testing.assert_close(forward.flip(1), backward)


def test_one_label_and_no_picture(clip, pictures):
    assert zero_shot(clip, pictures, "cat").tolist() == [[1.0]] * 3
    assert zero_shot(clip, [], LABELS).shape == (0, 3)


def test_braces_in_labels_are_plain_text(clip):
    assert text_classifier(clip, ["{0} {}"]).isfinite().all()


def test_bad_input_is_named(clip, pictures):
    with pytest.raises(ValueError, match="no labels"):
        zero_shot(clip, pictures, [])
    with pytest.raises(ValueError, match="no templates"):
        zero_shot(clip, pictures, LABELS, [])
    with pytest.raises(ValueError, match="a photo"):
        zero_shot(clip, pictures, LABELS, ["a photo"])
    with pytest.raises(TypeError, match="label 1 is a int, not a text"):
        zero_shot(clip, pictures, ["cat", 3])
    with pytest.raises(ValueError, match=r"\[N, 16\], got \[2, 5\]"):
        zero_shot(clip, torch.zeros(2, 5), LABELS)


# Maps and boxes out of patches


def test_a_map_names_each_patch_by_its_nearest_class():
    classifier = torch.eye(3)
    grid = torch.tensor([[0, 0, 1], [2, 2, 1], [2, 0, 0]])
    labels, confidence = label_maps(classifier[grid][None], classifier, 3)
    assert torch.equal(labels[0], grid)
    sure = torch.tensor([1.0, 0, 0]).softmax(0).max()
    assert torch.allclose(confidence, sure.expand(1, 3, 3))


def test_scale_changes_confidence_and_no_label():
    g = generator(0)
    features = torch.randn(2, 4, 4, 8, generator=g)
    classifier = torch.randn(5, 8, generator=g)
    low, low_p = label_maps(features, classifier, 16)
    high, high_p = label_maps(features, classifier, 16, scale=10)
    assert torch.equal(low, high)
    assert (high_p > low_p).all()
    assert low.shape == (2, 16, 16)


def test_boxes_stand_around_connected_areas():
    labels = torch.full((6, 8), 9)
    labels[0:2, 0:3] = 1
    labels[3:6, 5:8] = 1  # the same class elsewhere: another box
    labels[2, 3] = 1  # touches by a corner, and is small
    labels[3:5, 0:2] = 4
    confidence = torch.full((6, 8), 0.5)
    confidence[0:2, 0:3] = 0.25
    found = find_boxes(labels, confidence, background=9, least=4)
    assert found["labels"].tolist() == [1, 1, 4]
    assert found["boxes"].tolist() == [[0, 0, 3, 2], [5, 3, 8, 6], [0, 3, 2, 5]]
    assert found["scores"].tolist() == [0.25, 0.5, 0.5]
    all_found = find_boxes(labels, confidence, background=9, least=1)
    assert len(all_found["labels"]) == 4


def test_confidence_in_the_place_of_labels_is_refused():
    labels, confidence = torch.full((4, 4), 3), torch.ones(4, 4)
    with pytest.raises(TypeError, match="labels are whole numbers, got float32"):
        find_boxes(confidence, labels, background=9)


def test_nothing_found_is_no_box_of_the_right_shape():
    found = find_boxes(torch.full((4, 4), 3), torch.ones(4, 4), background=3)
    assert found["boxes"].shape == (0, 4)
    truth = [{"boxes": np.array([[0, 0, 2, 2]]), "labels": [1]}]
    assert average_precision([found], truth)["AP"] == 0


def test_true_maps_give_true_boxes():
    labels = torch.full((32, 32), 2)
    labels[4:20, 8:30] = 0
    found = find_boxes(labels, torch.ones(32, 32), background=2)
    truth = [{"boxes": [[8, 4, 30, 20]], "labels": [0]}]
    assert average_precision([found], truth)["AP"] > 0.999
