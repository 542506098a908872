"""The StickerCLIP in the package: a folder that anyone's tools can open."""

import json
import os
import re
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open

import vlmtutor as vt
from vlmtutor.experiments.evaluate import Evaluation, top1
from vlmtutor.models.hub import STICKERCLIP
from vlmtutor.world import StickerWorld, load_categories, seeds

FILES = {
    "config.json",
    "model.safetensors",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
}
CARD = STICKERCLIP / "README.md"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".npz", ".h5")

# What a stranger would run, in a Python that does not know this project.
ALONE = """
import json, sys
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

folder, *pictures = sys.argv[1:]
model = CLIPModel.from_pretrained(folder, dtype=torch.float32).eval()
tokenizer = AutoTokenizer.from_pretrained(folder)
processor = AutoImageProcessor.from_pretrained(folder)
texts = json.load(sys.stdin)
inputs = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
pixels = processor([Image.open(p) for p in pictures], return_tensors="pt")
with torch.no_grad():
    found = model(**inputs, **pixels)
assert "vlmtutor" not in sys.modules
print(json.dumps([found.image_embeds.tolist(), found.text_embeds.tolist(),
                  found.logits_per_image.tolist()]))
"""


@pytest.fixture(scope="module")
def clip():
    return vt.load_clip()


def settings(name):
    return json.loads((STICKERCLIP / name).read_text(encoding="utf-8"))


def test_transformers_alone_opens_it_and_finds_the_same(clip, tmp_path):
    scenes = [StickerWorld(96).scene(s, n=1) for s in seeds("test", 6)]
    paths = []
    for k, scene in enumerate(scenes):
        paths.append(str(tmp_path / f"{k}.png"))
        scene.image.save(paths[-1])
    texts = [s.caption for s in scenes] + ["", "a very " * 60 + "long line"]
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(STICKERCLIP), *paths],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    images, words, logits = map(torch.tensor, json.loads(done.stdout))
    assert torch.allclose(images, clip.encode_images(paths), atol=1e-4)
    assert torch.allclose(words, clip.encode_texts(texts), atol=1e-5)
    assert torch.allclose(logits, clip.logit_scale * images @ words.T, 1e-3)
    assert (logits[:, :6].argmax(1) == torch.arange(6)).float().mean() > 0.6


def test_it_names_stickers_that_it_has_never_seen(clip):
    e = Evaluation("test", seed=7, n=150)
    assert top1(clip, e) >= 0.95  # the model card has the real figure


def test_it_is_small_and_of_one_kind(clip):
    files = {f.name for f in STICKERCLIP.iterdir() if f.is_file()}
    assert files >= FILES
    assert files - FILES == {"README.md", "training.json"}
    assert not [f for f in STICKERCLIP.rglob("*") if f.suffix in PICKLES]
    size = sum(f.stat().st_size for f in STICKERCLIP.rglob("*"))
    assert size <= 24_000_000
    weights = STICKERCLIP / "model.safetensors"
    with safe_open(weights, framework="pt") as opened:
        for name in opened.keys():  # noqa: SIM118 (no mapping)
            tensor = opened.get_tensor(name)
            assert tensor.isfinite().all(), name
            if tensor.is_floating_point():
                assert tensor.dtype == torch.float16, name
    assert clip.image_size == 96
    assert clip.model.config.vision_config.patch_size == 8
    assert 1 <= clip.logit_scale <= 100.1


def test_the_end_of_a_text_is_pooled(clip):
    """With 2 as its id, transformers would take the largest id for it."""
    text = settings("config.json")["text_config"]
    assert text["eos_token_id"] == clip.tokenizer.eos_token_id == 3
    assert settings("config.json")["model_type"] == "clip"
    inputs = clip.tokenize(["a cat", "two dogs and a yellow zeppelin"])
    ends = (inputs["input_ids"] == 3).int().argmax(1)
    with torch.no_grad():
        output = clip.model.text_model(**inputs)
    state = output.last_hidden_state[torch.arange(2), ends]
    assert torch.equal(output.pooler_output, state)


def test_the_tokenizer_knows_the_words_of_the_table(clip):
    ids = clip.tokenizer.get_vocab()
    assert len(ids) == clip.model.config.text_config.vocab_size
    for c in load_categories():
        known = clip.tokenizer(c.name)["input_ids"]
        assert clip.tokenizer.unk_token_id not in known, c.name


def test_pictures_of_any_size_look_alike_to_it(clip):
    scene = StickerWorld(96).scene(seeds("test", 1)[0], n=1)
    large = scene.image.resize((384, 384))
    one, two = clip.encode_images([scene.image, large])
    assert one @ two > 0.9


def test_the_model_card_answers_what_a_stranger_asks():
    assert CARD.exists(), "a model without a card is not to be trusted"
    text = CARD.read_text(encoding="utf-8")
    heads = [
        line.strip("# ").lower()
        for line in re.findall(r"^#{1,4} .+$", text, flags=re.M)
    ]
    for topic in ("data", "recipe", "licen", "figures"):
        assert any(topic in head for head in heads), topic
    for fact in ("OpenMoji", "CC BY-SA 4.0", "python -m vlmtutor pretrain"):
        assert fact in text, fact
    assert "python -m vlmtutor evaluate" in text
    body = text.split("---", 2)[2] if text.startswith("---") else text
    assert len(body.split()) > 300
