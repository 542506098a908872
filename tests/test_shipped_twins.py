"""PairCLIP and PhraseCLIP in the package: whole, small, and with a card."""

import json

import pytest
import torch
from safetensors import safe_open
from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

import vlmtutor as vt
from vlmtutor.experiments.evaluate import Evaluation, top1
from vlmtutor.models.catalog import shipped
from vlmtutor.pretrain.card import pairs_seen
from vlmtutor.pretrain.config import RECIPES
from vlmtutor.world import StickerWorld, seeds

FILES = {
    "README.md",
    "config.json",
    "model.safetensors",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "training.json",
}
TWINS = ("PairCLIP", "PhraseCLIP")


@pytest.fixture(params=TWINS)
def name(request):
    return request.param


@pytest.fixture
def folder(name):
    return shipped(name)[1]


def test_it_is_small_and_of_one_kind(folder):
    assert {file.name for file in folder.iterdir()} == FILES
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 24_000_000
    with safe_open(folder / "model.safetensors", framework="pt") as opened:
        for key in opened.keys():  # noqa: SIM118 (no mapping)
            tensor = opened.get_tensor(key)
            assert tensor.isfinite().all(), key
            assert tensor.dtype in (torch.float16, torch.int64), key


def test_transformers_alone_finds_the_same(name, folder):
    clip = vt.load_clip(name)
    assert clip.name == name
    scenes = [StickerWorld(96).scene(seed, n=2) for seed in seeds("test", 4)]
    texts = [scene.caption for scene in scenes]
    model = CLIPModel.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    processor = AutoImageProcessor.from_pretrained(folder)
    words = tokenizer(texts, padding=True, return_tensors="pt")
    pixels = processor([scene.image for scene in scenes], return_tensors="pt")
    with torch.no_grad():
        found = model(**words, **pixels)
    ours = clip.encode_images([scene.image for scene in scenes])
    assert torch.allclose(found.image_embeds, ours, atol=1e-4)
    assert torch.allclose(found.text_embeds, clip.encode_texts(texts), atol=1e-5)
    assert found.logits_per_image.argmax(1).tolist() == [0, 1, 2, 3]


def test_it_names_stickers_that_it_has_never_seen(name):
    few = Evaluation("test", seed=8, n=60)
    assert top1(vt.load_clip(name), few) > 0.8


def test_it_was_told_what_its_card_says(name, folder):
    training = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    recipe, config = RECIPES[name.lower()], training["config"]
    told = ("_weight", "_share", "_name", "negatives", "phrases", "mosaics", "crop")
    for knob, value in vars(recipe).items():
        if knob.endswith(told) or knob in ("corpus", "batch_size", "augment"):
            assert config[knob] == value, knob
    assert config["teacher_weight"] == config["bank_weight"] == 0
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert pairs_seen(folder) == training["steps"] * config["batch_size"]
    rows = text.split("## What it was told")[1].split("##")[0]
    assert ("the parts of a caption" in rows) == (name == "PhraseCLIP")
    assert "all 416 names" not in rows and "sentence encoder" not in rows
    for fact in ("NVIDIA H200", "OpenMoji", "CC BY-SA 4.0", "| top1_sticker |"):
        assert fact in text
    assert "Not measured" not in text
