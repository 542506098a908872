"""Zero-shot classification against the same thing by hand."""

import pytest
import torch
import torch.nn.functional as F
from clip_folders import write_clip
from PIL import Image

from vlmtutor.models import load_clip
from vlmtutor.naming import TEMPLATES, text_classifier, zero_shot

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
    with pytest.raises(TypeError, match="labels are strings.* int"):
        zero_shot(clip, pictures, ["cat", 3])
    with pytest.raises(ValueError, match=r"\[N, 16\], got \[2, 5\]"):
        zero_shot(clip, torch.zeros(2, 5), LABELS)
