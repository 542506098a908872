"""The untrained model, its towers as training runs them, and its export."""

import json

import pytest
import torch
import torch.nn.functional as F
from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

import vlmtutor as vt
from vlmtutor.models.saving import save_clip
from vlmtutor.precision import bf16_products
from vlmtutor.pretrain.build import (
    IMAGE_MEAN,
    IMAGE_STD,
    build_model,
    build_tokenizer,
    build_vocabulary,
    resize_positions,
    training_texts,
)
from vlmtutor.pretrain.config import PretrainConfig
from vlmtutor.pretrain.forward import encode_images, encode_texts
from vlmtutor.world import StickerWorld, load_categories

TINY = PretrainConfig(
    vision_width=32,
    vision_layers=2,
    vision_head=16,
    text_width=32,
    text_layers=2,
    text_length=20,
    embed_dim=16,
    vocabulary=50,
)
COMMON = ["the", "##ing", "zeppelin", "Nope", "1234", "##s", "quixotic"]
TEXTS = [
    "a cat",
    "a drawing of two big dogs on a red disc, at night",
    "?",
    "The ÉCLAIR, zeppelin!",
    "",
    "pizza " * 60,
]


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(COMMON, TINY)


@pytest.fixture(scope="module")
def model(tokenizer):
    return build_model(TINY, len(tokenizer), 32).eval()


@pytest.fixture(scope="module")
def folder(model, tokenizer, tmp_path_factory):
    settings = vt.models.ImageSettings(32, (32, 32), mean=IMAGE_MEAN, std=IMAGE_STD)
    clip = vt.Clip(model, tokenizer, settings)
    return save_clip(clip, tmp_path_factory.mktemp("hub") / "clip")


def test_the_vocabulary_has_no_word_twice_and_all_of_the_table():
    words = build_vocabulary(COMMON, 50)
    assert len(set(words)) == len(words)
    assert words[:4] == ["<pad>", "<unk>", "<s>", "</s>"]
    assert {"the", "zeppelin", "quixotic", "##ing", "##s"} <= set(words)
    assert not {"Nope", "1234"} & set(words)
    assert "quixotic" not in build_vocabulary(COMMON, 2)


def test_the_tokenizer_marks_both_ends_and_knows_the_table(tokenizer):
    assert tokenizer("a cat")["input_ids"][0] == 2
    assert tokenizer("a cat")["input_ids"][-1] == 3
    unknown = tokenizer.unk_token_id
    for text in training_texts():
        assert unknown not in tokenizer(text)["input_ids"], text
    assert tokenizer("A Cat")["input_ids"] == tokenizer("a cat")["input_ids"]
    for c in load_categories():  # names are words of their own, not letters
        assert len(tokenizer(c.name)["input_ids"]) <= 2 + 7, c.name
    long = tokenizer("pizza " * 60, truncation=True)["input_ids"]
    assert len(long) == 20 and long[-1] == 3


def test_eos_is_not_2_and_the_state_at_eos_is_pooled(model, tokenizer):
    text = model.config.text_config
    assert (text.pad_token_id, text.eos_token_id) == (0, 3)
    inputs = tokenizer(TEXTS[:2], padding=True, return_tensors="pt")
    with torch.no_grad():
        output = model.text_model(**inputs)
    ends = (inputs["input_ids"] == 3).int().argmax(1)
    state = output.last_hidden_state[torch.arange(2), ends]
    assert torch.equal(output.pooler_output, state)
    assert ends[0] != ends[1]


def test_weights_come_from_the_seed(tokenizer):
    def weights(seed):
        knobs = PretrainConfig(**{**vars(TINY), "seed": seed})
        return build_model(knobs, 200, 32).state_dict()

    one, same, other = weights(1), weights(1), weights(2)
    assert all(torch.equal(one[k], same[k]) for k in one)
    assert any(not torch.equal(one[k], other[k]) for k in one)


POSITIONS = "vision_model.embeddings.position_embedding.weight"


def with_positions(grid, size):
    """A tiny model whose positions are a grid [h, w, D] after the class."""
    model = build_model(TINY, 200, size)
    weights = model.state_dict()
    weights[POSITIONS][1:] = grid.flatten(0, 1)
    model.load_state_dict(weights)
    return model


@pytest.mark.parametrize(("size", "new"), [(64, 96), (96, 64), (32, 64)])
def test_positions_stay_where_they_were_on_another_canvas(size, new):
    def ramps(side):
        center = (torch.arange(side) + 0.5) / side
        rows, columns = torch.meshgrid(center, center, indexing="ij")
        return torch.stack([rows, columns], -1)

    grid = torch.randn(size // 8, size // 8, 32) * 0
    grid[..., :2] = ramps(size // 8)
    grid[..., 2] = 5
    model = with_positions(grid, size)
    resized = resize_positions(model, new)
    old, found = (m.state_dict()[POSITIONS] for m in (model, resized))
    side = new // 8
    assert found.shape == (1 + side**2, 32)
    assert torch.equal(found[0], old[0])  # the class token has no place
    found = found[1:].unflatten(0, (side, side))
    # rows stay rows, columns columns, and a ramp stays a ramp
    assert torch.allclose(found[..., :2], ramps(side), atol=0.06)
    assert (found[..., 0].diff(dim=0) > 0).all()
    assert (found[..., 1].diff(dim=1) > 0).all()
    assert torch.allclose(found[..., 2], torch.tensor(5.0))


def test_all_else_survives_another_canvas_and_it_runs(model):
    resized = resize_positions(model, 48).eval()
    assert resized.config.vision_config.image_size == 48
    old, new = model.state_dict(), resized.state_dict()
    assert old.keys() == new.keys()
    for name in old.keys() - {POSITIONS}:
        if not name.endswith("position_ids"):
            assert torch.equal(old[name], new[name]), name
    embeds, patches = encode_images(resized, torch.zeros(2, 3, 48, 48))
    assert embeds.shape == (2, 16) and patches.shape == (2, 36, 16)
    same = resize_positions(model, 32).state_dict()[POSITIONS]
    assert torch.allclose(same, old[POSITIONS], atol=1e-6)


def test_training_sees_the_pictures_as_transformers_does(model):
    pixels = torch.randn(3, 3, 32, 32)
    clip = vt.Clip(model, None, None)
    with torch.no_grad():
        ours, patches = encode_images(model, pixels)
        theirs = model.get_image_features(pixel_values=pixels).pooler_output
        read_out = clip.patch_features(pixels)
    assert torch.allclose(ours, F.normalize(theirs, dim=-1), atol=1e-5)
    assert torch.allclose(patches, read_out.flatten(1, 2), atol=1e-5)


def test_training_reads_texts_as_transformers_does(model, tokenizer):
    with torch.no_grad():
        ours, states = encode_texts(model, tokenizer, TEXTS)
        for k, text in enumerate(TEXTS):
            one = tokenizer([text], truncation=True, return_tensors="pt")
            theirs = model.get_text_features(**one).pooler_output
            theirs = F.normalize(theirs, dim=-1)[0]
            assert torch.allclose(ours[k], theirs, atol=1e-5), text
    assert states.shape == (6, 32)


def test_training_in_bf16_is_near(tokenizer):
    model = build_model(TINY, len(tokenizer), 32)
    pixels = torch.randn(2, 3, 32, 32)

    def both():
        embeds, patches = encode_images(model, pixels)
        texts, _ = encode_texts(model, tokenizer, TEXTS[:3])
        return torch.cat([embeds, texts, patches.flatten(0, 1)])

    with torch.no_grad():
        ordinary = both()
        with bf16_products():
            rough = both()
    assert rough.dtype == torch.float32 and not torch.equal(rough, ordinary)
    assert torch.allclose(rough, ordinary, atol=0.05)


def test_the_exported_folder_opens_with_transformers_alone(folder, model):
    files = {f.name for f in folder.iterdir()}
    assert files == {
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    theirs = CLIPModel.from_pretrained(folder)
    assert theirs.dtype == torch.float16
    theirs = theirs.float().eval()
    tokens = AutoTokenizer.from_pretrained(folder)
    processor = AutoImageProcessor.from_pretrained(folder)
    pictures = [StickerWorld(50).scene(seed).image for seed in range(3)]
    clip = vt.Clip(model, tokens, None)
    with torch.no_grad():
        pixels = processor(pictures, return_tensors="pt")["pixel_values"]
        assert pixels.shape == (3, 3, 32, 32)
        found = theirs.get_image_features(pixel_values=pixels).pooler_output
        ours, _ = encode_images(model, pixels)
        assert torch.allclose(F.normalize(found, dim=-1), ours, atol=5e-3)
        inputs = tokens(TEXTS, padding=True, truncation=True, return_tensors="pt")
        found = theirs.get_text_features(**inputs).pooler_output
        found = F.normalize(found, dim=-1)
        assert torch.allclose(found, clip.encode_texts(TEXTS), atol=5e-3)


def test_the_exported_folder_opens_with_load_clip(folder):
    clip = vt.load_clip(folder)
    assert (clip.image_size, clip.embed_dim) == (32, 16)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config["text_config"]["eos_token_id"] == 3
    processor = AutoImageProcessor.from_pretrained(folder)
    scenes = [StickerWorld(32).scene(seed).image for seed in range(2)]
    theirs = processor(scenes, return_tensors="pt")["pixel_values"]
    assert torch.allclose(clip.preprocess(scenes), theirs, atol=1e-5)
