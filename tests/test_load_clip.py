"""load_clip: shipped, folder, cache, hub; the same numbers as transformers."""

import io
import os
import shutil

import numpy as np
import pytest
import torch
from clip_folders import (
    HUB_NAME,
    VIT_B_32,
    edit_weights,
    write_cache,
    write_clip,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers import CLIPModel, CLIPTokenizer

import vlmtutor.models.hub as hub
from vlmtutor.models import ModelNotFound, is_cached, load_clip
from vlmtutor.models.image_settings import ImageSettings
from vlmtutor.models.pictures import rgb_picture

TEXTS = ["a red car", "two cats on the grass", "", "ein Café ☕ 日本", "x" * 500]


def noise(width, height, seed=0, mode="RGB"):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


PICTURES = [noise(40, 30), noise(31, 64, 1), noise(32, 32, 2, "L")]


def pil_processor(folder):
    """transformers' own preprocessing, the one without torchvision."""
    try:
        from transformers.models.clip import image_processing_pil_clip

        kind = image_processing_pil_clip.CLIPImageProcessorPil
    except ImportError:  # before transformers split them
        from transformers import CLIPImageProcessor as kind
    return kind.from_pretrained(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clip") / "tiny")


@pytest.fixture(scope="module")
def clip(folder):
    return load_clip(folder)


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def check_against_transformers(clip, folder):
    """Embeddings and logit scale are those of CLIPModel, loaded apart."""
    model = CLIPModel.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    processor = pil_processor(folder)
    limit = model.config.text_config.max_position_embeddings
    with torch.no_grad():
        output = model(
            **tokenizer(
                TEXTS,
                padding=True,
                truncation=True,
                max_length=limit,
                return_tensors="pt",
            ),
            **processor(PICTURES, return_tensors="pt"),
        )
    close = {"atol": 1e-5, "rtol": 0}
    images, texts = clip.encode_images(PICTURES), clip.encode_texts(TEXTS)
    torch.testing.assert_close(images, output.image_embeds, **close)
    torch.testing.assert_close(texts, output.text_embeds, **close)
    logits = clip.logit_scale * images @ texts.T
    torch.testing.assert_close(logits, output.logits_per_image, atol=1e-3, rtol=0)


def test_vit_b_32_from_folder_and_cache(tmp_path, cache, no_network):
    folder = write_clip(tmp_path / "vit", VIT_B_32)
    clip = load_clip(folder)
    assert clip.embed_dim == 512 and clip.image_size == 224
    assert sum(p.numel() for p in clip.model.parameters()) == 151_277_313
    check_against_transformers(clip, folder)
    embeds = clip.encode_texts(TEXTS)
    del clip
    write_cache(cache, folder)
    cached = load_clip(HUB_NAME)
    assert cached.name == HUB_NAME
    torch.testing.assert_close(cached.encode_texts(TEXTS), embeds)
    assert no_network == []
    shutil.rmtree(folder)


def test_tiny_folder_equals_transformers(clip, folder):
    check_against_transformers(clip, folder)
    assert clip.name == "tiny" and repr(clip).startswith("Clip('tiny', 32 px")
    assert not clip.model.training
    assert {p.dtype for p in clip.model.parameters()} == {torch.float32}


def test_tokens_are_clips_own(clip):
    ids = clip.tokenize(["ab", "ab " * 60])["input_ids"]
    vocab = clip.tokenizer.get_vocab()
    start, end = vocab["<|startoftext|>"], vocab["<|endoftext|>"]
    assert end == clip.model.config.text_config.vocab_size - 1
    assert ids[0].tolist()[:3] == [start, vocab["ab</w>"], end]
    assert ids.shape == (2, 20) and ids[1, -1] == end


def test_embeddings_are_unit_length_in_order_and_free_of_gradients(clip):
    images = clip.encode_images(PICTURES * 3, batch_size=2)
    texts = clip.encode_texts(TEXTS, batch_size=2)
    for rows in (images, texts):
        assert not rows.requires_grad and rows.dtype == torch.float32
        torch.testing.assert_close(rows.norm(dim=1), torch.ones(len(rows)))
    torch.testing.assert_close(images[3:6], clip.encode_images(PICTURES))
    each = torch.cat([clip.encode_texts([text]) for text in TEXTS])
    torch.testing.assert_close(texts, each, atol=1e-5, rtol=0)
    # Embeddings can be trained on, which inference tensors cannot.
    weight = torch.ones(clip.embed_dim, requires_grad=True)
    (images @ weight).sum().backward()
    assert weight.grad.isfinite().all()


def test_empty_lists_and_single_items(clip):
    assert clip.encode_images([]).shape == (0, 16)
    assert clip.encode_texts([]).shape == (0, 16)
    assert clip.preprocess([]).shape == (0, 3, 32, 32)
    with pytest.raises(TypeError, match="list of texts"):
        clip.encode_texts("a cat")
    with pytest.raises(TypeError, match="list of pictures"):
        clip.encode_images(PICTURES[0])
    with pytest.raises(ValueError, match="batch_size"):
        clip.encode_images(PICTURES, batch_size=0)


def test_progress_bar_counts_pictures(clip, capsys):
    clip.encode_images(PICTURES)
    assert capsys.readouterr().err == ""
    clip.encode_images(PICTURES, progress=True)
    assert "3/3" in capsys.readouterr().err


@settings(max_examples=25, deadline=None)
@given(st.integers(5, 90), st.integers(5, 90), st.integers(0, 9))
def test_preprocessing_is_that_of_transformers(folder, clip, w, h, seed):
    if max(w, h) > 8 * min(w, h):
        return  # long strips are cut first, see below
    picture = noise(w, h, seed)
    theirs = pil_processor(folder)(picture, return_tensors="pt")
    ours = clip.preprocess([picture])
    torch.testing.assert_close(ours, theirs["pixel_values"])


@pytest.mark.parametrize(
    "change",
    [
        {"size": {"shortest_edge": 40}, "crop_size": {"height": 9, "width": 32}},
        {"size": {"height": 20, "width": 28}, "do_center_crop": False},
        {"size": 15, "crop_size": 32},  # less than the crop: black borders
        {"size": 37, "resample": 2, "do_rescale": False},
        {"do_normalize": False, "size": 32, "crop_size": 32},
    ],
)
def test_other_image_settings(folder, change):
    processor = pil_processor(folder)
    for key, value in change.items():
        if key == "size" and isinstance(value, int):
            value = {"shortest_edge": value}
        if key == "crop_size" and isinstance(value, int):
            value = {"height": value, "width": value}
        setattr(processor, key, value)
    picture = noise(50, 41)
    theirs = processor(picture, return_tensors="pt")["pixel_values"][0]
    config = {
        "image_mean": processor.image_mean,
        "size": 32,
        "crop_size": 32,
        "image_std": processor.image_std,
        **change,
    }
    ours = ImageSettings.from_config(config).pixel_values(picture)
    torch.testing.assert_close(torch.from_numpy(ours), theirs.float())


def test_a_long_strip_needs_little_memory(clip):
    wide = noise(60_000, 2)
    assert clip.preprocess([wide, wide.rotate(90, expand=True)]).shape == (2, 3, 32, 32)


def test_pictures_are_read_as_a_person_sees_them(tmp_path):
    upright = Image.new("RGB", (4, 2), "red")
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by a quarter
    upright.save(tmp_path / "turned.png", exif=exif)
    assert rgb_picture(tmp_path / "turned.png").size == (2, 4)

    clear = Image.new("RGBA", (3, 3), (0, 0, 0, 0))
    assert rgb_picture(clear).getpixel((1, 1)) == (255, 255, 255)
    palette = clear.convert("P")
    palette.info["transparency"] = palette.getpixel((0, 0))
    assert rgb_picture(palette).getpixel((1, 1)) == (255, 255, 255)

    deep = Image.fromarray(np.full((2, 2), 32768, np.uint16))
    deep.save(tmp_path / "deep.png")
    assert rgb_picture(tmp_path / "deep.png").getpixel((0, 0)) == (128,) * 3
    real = Image.fromarray(np.full((2, 2), 0.5, np.float32))
    assert rgb_picture(real).getpixel((0, 0)) == (128,) * 3

    cyan = Image.new("CMYK", (2, 2), (255, 0, 0, 0))
    red, green, blue = rgb_picture(cyan).getpixel((0, 0))
    assert red < 60 < green and blue > 60

    frames = [Image.new("RGB", (2, 2), c) for c in ("blue", "red")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert rgb_picture(tmp_path / "a.gif").getpixel((0, 0)) == (0, 0, 255)


def test_unreadable_pictures_are_named(clip, tmp_path):
    buffer = io.BytesIO()
    noise(64, 64).save(buffer, "PNG")
    (tmp_path / "cut.png").write_bytes(buffer.getvalue()[:2000])
    (tmp_path / "text.jpg").write_text("no picture")
    for name in ("cut.png", "text.jpg"):
        with pytest.raises(ValueError, match=name):
            clip.encode_images([tmp_path / name])
    with pytest.raises(FileNotFoundError):
        clip.encode_images([tmp_path / "none.png"])
    with pytest.raises(TypeError, match="int"):
        clip.encode_images([3])


def test_patch_features_of_the_last_block(clip):
    pixel_values = clip.preprocess(PICTURES)
    usual = clip.patch_features(pixel_values, path="attention")
    assert usual.shape == (3, 4, 4, 16)
    torch.testing.assert_close(usual.norm(dim=-1), torch.ones(3, 4, 4))
    vision = clip.model.vision_model
    hidden = vision(pixel_values).last_hidden_state[:, 1:]
    embeds = clip.model.visual_projection(vision.post_layernorm(hidden))
    embeds = torch.nn.functional.normalize(embeds, dim=-1)
    torch.testing.assert_close(usual.flatten(1, 2), embeds)
    with pytest.raises(ValueError, match="keys"):
        clip.patch_features(pixel_values, path="keys")


def test_value_path_is_the_last_block_with_identity_attention(clip):
    pixel_values = clip.preprocess(PICTURES)
    value = clip.patch_features(pixel_values)
    usual = clip.patch_features(pixel_values, path="attention")
    assert (value - usual).abs().max() > 1e-3
    attention = clip.model.vision_model.encoder.layers[-1].self_attn

    def identity(module, args, kwargs, output):
        hidden = kwargs["hidden_states"] if kwargs else args[0]
        return module.out_proj(module.v_proj(hidden)), None

    hook = attention.register_forward_hook(identity, with_kwargs=True)
    try:
        replaced = clip.patch_features(pixel_values, path="attention")
    finally:
        hook.remove()
    torch.testing.assert_close(replaced, value)


def test_one_token_attends_to_itself(clip):
    # With nothing else to look at, attention is the value path.
    attention = clip.model.vision_model.encoder.layers[-1].self_attn
    hidden = torch.randn(2, 1, 48, generator=torch.Generator().manual_seed(0))
    alone = attention(hidden, attention_mask=None)[0]
    value = attention.out_proj(attention.v_proj(hidden))
    torch.testing.assert_close(alone, value)


def test_patches_of_other_sizes_and_gradients(clip):
    pixel_values = torch.rand(1, 3, 48, 64, requires_grad=True)
    patches = clip.patch_features(pixel_values)
    assert patches.shape == (1, 6, 8, 16)
    patches.sum().backward()
    assert pixel_values.grad.abs().sum() > 0


def test_loading_says_nothing_and_asks_nobody(folder, no_network, capfd):
    load_clip(folder)
    assert capfd.readouterr() == ("", "")
    assert no_network == []


def test_cache_is_used_without_asking(folder, clip, cache, no_network):
    assert not is_cached() and not is_cached("no such name!")
    snapshot = write_cache(cache, folder)
    cached = load_clip(HUB_NAME)
    assert is_cached() and not is_cached("someone/else")
    torch.testing.assert_close(
        cached.encode_images(PICTURES), clip.encode_images(PICTURES)
    )
    assert hub.download() == snapshot
    assert no_network == []


def test_the_pinned_revision_comes_first(folder, copy, cache, no_network):
    main = write_cache(cache, folder)
    edit_weights(copy, lambda w: w["logit_scale"].fill_(1.0))
    shutil.copytree(copy, main.with_name(hub.PINNED[HUB_NAME]))
    clip = load_clip(HUB_NAME)
    assert clip.logit_scale == pytest.approx(np.e)
    assert no_network == []


def test_position_ids_of_old_checkpoints_do_no_harm(clip, copy, capfd):
    def add(weights):
        for tower, n in (("text", 20), ("vision", 17)):
            key = f"{tower}_model.embeddings.position_ids"
            weights[key] = torch.arange(n)[None]

    edit_weights(copy, add)
    texts = load_clip(copy).encode_texts(TEXTS)
    torch.testing.assert_close(texts, clip.encode_texts(TEXTS))
    assert capfd.readouterr() == ("", "")


def test_half_precision_is_opened_as_float32(copy):
    def halve(weights):
        for key in weights:
            weights[key] = weights[key].half()

    edit_weights(copy, halve)
    config = (copy / "config.json").read_text()
    halved = config.replace('"float32"', '"float16"')
    assert halved != config
    (copy / "config.json").write_text(halved)
    clip = load_clip(copy)
    assert {p.dtype for p in clip.model.parameters()} == {torch.float32}
    assert clip.encode_images(PICTURES).isfinite().all()


def test_pickled_weights_are_refused(copy, no_network):
    (copy / "model.safetensors").unlink()
    marker = copy / "ran"

    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(marker),)

    torch.save(Trap(), copy / "pytorch_model.bin")
    with pytest.raises(ModelNotFound, match="pytorch_model.bin.* refused"):
        load_clip(copy)
    assert not marker.exists()


def test_a_cache_with_pickles_only_is_refused(copy, cache, no_network):
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    write_cache(cache, copy)
    assert not is_cached()
    with pytest.raises(ModelNotFound, match="refused"):
        load_clip(HUB_NAME)
    assert no_network == []


@pytest.mark.parametrize(
    "name, text",
    [
        ("config.json", "no config.json"),
        ("merges.txt", "no tokenizer.json"),
        ("preprocessor_config.json", "no preprocessor_config.json"),
        ("model.safetensors", "no model.safetensors"),
    ],
)
def test_a_missing_file_is_named(copy, name, text):
    (copy / name).unlink()
    with pytest.raises(ModelNotFound, match=text):
        load_clip(copy)


def test_broken_folders_are_refused(copy):
    weights = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(ModelNotFound, match="Safetensor"):
        load_clip(copy)
    (copy / "model.safetensors").write_bytes(weights)
    edit_weights(copy, lambda w: w.pop("visual_projection.weight"))
    with pytest.raises(ModelNotFound, match="1 weights are missing"):
        load_clip(copy)
    (copy / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelNotFound, match="a 'bert', not a 'clip'"):
        load_clip(copy)
    (copy / "config.json").write_text("{")
    with pytest.raises(ModelNotFound, match="config.json"):
        load_clip(copy)


def test_an_unknown_name_says_how_to_go_on(cache, no_network):
    with pytest.raises(ModelNotFound) as error:
        load_clip("someone/unknown-clip")
    text = str(error.value)
    for part in (
        "someone/unknown-clip",
        str(cache),
        "not asked",
        "python -m vlmtutor download",
        "StickerCLIP",
    ):
        assert part in text
    with pytest.raises(ModelNotFound, match="cannot be the name"):
        load_clip("../no such/folder", download=True)
    assert no_network == []


shipped = pytest.mark.skipif(
    not hub.STICKERCLIP.is_dir(), reason="StickerCLIP is not trained yet"
)


@pytest.fixture(scope="module")
def sticker_clip():
    return load_clip()


@shipped
def test_shipped_model_opens_without_a_network(no_network):
    clip = load_clip()  # how long it takes: benchmarks/bench_world.py
    assert clip.name == "StickerCLIP" and clip.image_size == 96
    assert no_network == []


@shipped
def test_shipped_model_is_a_plain_transformers_folder(sticker_clip):
    from transformers import AutoTokenizer

    model = CLIPModel.from_pretrained(hub.STICKERCLIP, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(hub.STICKERCLIP)
    processor = pil_processor(hub.STICKERCLIP)
    texts = ["a dog on the grass", "two cats"]
    with torch.no_grad():
        output = model.eval()(
            **tokenizer(texts, padding=True, return_tensors="pt"),
            **processor(PICTURES, return_tensors="pt"),
        )
    close = {"atol": 1e-5, "rtol": 0}
    images = sticker_clip.encode_images(PICTURES)
    embeds = sticker_clip.encode_texts(texts)
    torch.testing.assert_close(images, output.image_embeds, **close)
    torch.testing.assert_close(embeds, output.text_embeds, **close)


@shipped
def test_shipped_model_tells_stickers_apart(sticker_clip):
    from vlmtutor.naming import zero_shot
    from vlmtutor.world import StickerWorld

    names = ["dog", "pizza", "bicycle", "rocket", "tree", "umbrella"]
    world = StickerWorld(size=96)
    stickers = [world.sticker(name, 80) for name in names]
    found = zero_shot(sticker_clip, stickers, names).argmax(1)
    assert (found == torch.arange(len(names))).sum() >= 5
