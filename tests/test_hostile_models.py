"""Model folders that are not as they should be: each refused, with the reason."""

import json
import math
import os
import shutil
import struct

import pytest
import safetensors.torch
import torch
from clip_folders import edit_weights, memes_with, write_clip, write_siglip
from fake_clip import TinyClip, plain
from hypothesis import given, settings
from hypothesis import strategies as st
from test_studio_state import as_png

import vlmtutor as vt
from vlmtutor.memes import caption_folder, match
from vlmtutor.memes.studio.state import StudioState
from vlmtutor.models import Clip, ModelNotFound, load_clip
from vlmtutor.models.checkpoint import INDEX, faults
from vlmtutor.models.image_settings import ImageSettings

WRITERS = {"clip": write_clip, "siglip": write_siglip}


@pytest.fixture(scope="module", params=WRITERS)
def sound(request, tmp_path_factory):
    return WRITERS[request.param](tmp_path_factory.mktemp("sound") / "tiny")


@pytest.fixture
def copy(sound, tmp_path):
    return shutil.copytree(sound, tmp_path / "copy")


def edit_json(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def refused(folder, reason):
    """It does not open; the error gives the reason and the ways on."""
    with pytest.raises(ModelNotFound, match=reason) as error:
        load_clip(folder)
    said = str(error.value)
    assert "Ways on" in said and str(folder) in said
    assert said.replace("\n", "").isprintable()


# Weights that are no numbers.

BROKEN = [math.nan, math.inf, -math.inf]
TENSORS = [
    "text_model.embeddings.token_embedding.weight",
    "vision_model.encoder.layers.1.mlp.fc2.bias",
    "vision_model.post_layernorm.weight",
    "logit_scale",
]


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize("value", BROKEN)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_one_number_that_is_none_is_enough(copy, name, value, dtype):
    def spoil(weights):
        for key in weights:
            weights[key] = weights[key].to(dtype)
        weights[name].view(-1)[-1] = value

    edit_weights(copy, spoil)
    refused(copy, f"1 of .* hold NaN or infinity .{name}.*training diverged")


@pytest.mark.parametrize(
    "dtype",
    [torch.int8, torch.uint8, torch.int32, torch.float8_e4m3fn, torch.float8_e5m2],
    ids=str,
)
def test_quantised_weights_are_refused(copy, dtype):
    """Scaled as they have to be read, which nobody here does."""
    name = "vision_model.encoder.layers.1.mlp.fc2.weight"

    def scale(weights):
        most = weights[name].abs().max() / 100
        weights[name] = (weights[name] / most).to(dtype)
        weights[f"{name}_scale"] = most.reshape(1)

    edit_weights(copy, scale)
    refused(copy, f"quantised .{name} is {dtype}.: use those in float32 or float16")


def test_numbers_that_no_weight_takes_are_refused(copy):
    edit_weights(copy, lambda w: w.update(logit_scale_inv=torch.ones(1)))
    refused(
        copy, "1 weights have no place in what config.json describes .logit_scale_inv"
    )


def test_large_weights_that_are_numbers_are_let_in(copy):
    name = "vision_model.post_layernorm.weight"
    edit_weights(copy, lambda w: w[name].fill_(3e38))  # their sum is infinite
    load_clip(copy)


@pytest.mark.parametrize("scale", [200.0, -200.0])
def test_a_scale_that_makes_no_probabilities_is_refused(copy, scale):
    edit_weights(copy, lambda w: w["logit_scale"].fill_(scale))
    refused(copy, "logit scale")


def diverged():
    """A model in memory whose towers give NaN, infinity or zero."""
    for value in (math.nan, math.inf, 0.0):
        clip = TinyClip()
        for projection in (clip.model.visual_projection, clip.model.text_projection):
            projection.weight.data.fill_(value)
        yield clip


PICTURES = [plain("red"), plain("blue")]


@pytest.mark.parametrize(
    "use",
    [
        lambda clip, _: clip.encode_images(PICTURES),
        lambda clip, _: clip.encode_texts(["red"]),
        lambda clip, _: vt.zero_shot(clip, PICTURES, ["red", "blue"]),
        lambda clip, _: match(PICTURES, ["red", "blue"], clip),
        lambda clip, _: match(PICTURES, ["red"], clip, "one_to_one"),
        lambda clip, out: caption_folder(out, ["red"], out / "o", clip, progress=False),
    ],
)
def test_embeddings_are_checked_where_they_are_made(use, tmp_path):
    plain("red").save(tmp_path / "red.png")
    for clip in diverged():
        with pytest.raises(ValueError, match="tiny-clip.*(diverged|damaged)"):
            use(clip, tmp_path)
    assert not list(tmp_path.rglob("report.json"))


def test_a_diverged_model_does_not_switch_half_way():
    sound = TinyClip()
    state = StudioState(sound, ["red", "blue"])
    for number, clip in enumerate(diverged()):
        if number == 1:  # with a picture; before, words alone tell
            state.add_upload("red.png", as_png(PICTURES[0]))
        with pytest.raises(ValueError, match="diverged"):
            state.set_clip(clip)
        assert state.clip is sound
    assert state.caption(0) in state.captions


def test_the_command_does_not_claim_success(copy, tmp_path, capsys):
    edit_weights(copy, lambda w: w["logit_scale"].fill_(math.nan))
    assert memes_with(copy, tmp_path) == 1
    assert "training diverged" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# Processor files.

ABSURD = [
    {"image_std": [0, 0.2, 0.2]},
    {"image_std": [0.2, 0.2]},
    {"image_std": 0.2},
    {"image_std": [math.nan] * 3},
    {"image_std": [1e-300] * 3},
    {"image_std": ["a", "b", "c"]},
    {"image_std": None},
    {"image_mean": [math.inf] * 3},
    {"image_mean": []},
    {"image_mean": "rgb"},
    {"rescale_factor": 0},
    {"rescale_factor": math.nan},
    {"rescale_factor": 1e300},
    {"rescale_factor": "1/255"},
    {"size": 0},
    {"size": -1},
    {"size": 10**9},
    {"size": "32"},
    {"size": None},
    {"size": {}},
    {"size": {"shortest_edge": 10**6}},
    {"size": [32, 32]},
    {"size": {"shortest_edge": 32.5}},
    {"size": {"height": 32}},
    {"size": {"height": 10**5, "width": 10**5}},
    {"size": {"height": 16, "width": 32}},
    {"size": {"height": True, "width": 1}},
    {"do_resize": False},
    {"resample": 99},
    {"resample": "bicubic"},
    {"resample": []},
]
CROPS = [
    {"height": -1, "width": -1},
    {"height": 0, "width": 32},
    {"height": 32},
    {"height": 10**6, "width": 10**6},
    {"height": 9, "width": 9},
    10**9,
    -3,
    31,
    "all",
    None,
    [32, 32],
    {"height": math.nan, "width": 32},
]


@pytest.mark.parametrize("change", ABSURD, ids=str)
def test_absurd_processor_files_are_refused(copy, change):
    edit_json(copy / "preprocessor_config.json", **{"do_center_crop": False} | change)
    refused(copy, "ValueError|TypeError|KeyError|processor makes pictures")


@pytest.mark.parametrize("crop", CROPS, ids=str)
def test_absurd_crops_are_refused(copy, crop):
    file = copy / "preprocessor_config.json"
    edit_json(file, crop_size=crop, do_center_crop=True)
    refused(copy, "ValueError|TypeError|KeyError|processor makes pictures")


def test_a_processor_with_sides_that_nobody_needs_takes_no_memory():
    for sides in ({"resize": 10**6}, {"crop": (10**6, 10**6)}, {"resize": (1, 10**9)}):
        with pytest.raises(ValueError, match="sides are 1 to 4096"):
            ImageSettings(**sides)


# config.json.


@pytest.mark.parametrize("tower", ["text_config", "vision_config"])
@pytest.mark.parametrize(
    "change",
    [
        {"hidden_size": "big"},
        {"hidden_size": -5},
        {"hidden_size": 10**12},
        {"hidden_size": 64},
        {"num_hidden_layers": 10**7},
        {"layer_norm_eps": math.nan},
        {"num_attention_heads": 0},
        {"hidden_act": "os.system"},
    ],
    ids=str,
)
def test_absurd_towers_are_refused(copy, tower, change):
    file = copy / "config.json"
    edit_json(file, **{tower: json.loads(file.read_text())[tower] | change})
    refused(copy, "config.json|Error")


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
@pytest.mark.parametrize(
    "data", [b"", b"[]", b"null", b"3", b"\xff\xfe", b"[" * 100_000, b'{"a":', b"\0"]
)
def test_what_is_no_json_object_is_named(copy, name, data):
    (copy / name).write_bytes(data)
    refused(copy, f"{name} is no JSON object")


@pytest.mark.parametrize(
    "evil",
    [
        {"attn_implementation": "kernels-community/flash-attn"},
        {"_attn_implementation": "kernels-community/flash-attn"},
        {"_attn_implementation_internal": "flash_attention_2"},
        {"auto_map": {"AutoConfig": "evil.E", "AutoModel": "evil.E"}},
        {"transformers_weights": "adapter_model.bin"},
        {"transformers_weights": "../secret.safetensors"},
        {"fusion_config": {"patch_embeddings": True}},
        {"dtype": "float64"},
        {"torch_dtype": "float16"},
        {"dtype": "no such"},
    ],
    ids=str,
)
def test_what_a_config_asks_for_besides_its_towers_is_not_done(
    copy, sound, evil, tmp_path, monkeypatch
):
    (copy / "evil.py").write_text(f"import os; os.mkdir({str(tmp_path / 'ran')!r})")
    config = json.loads((copy / "config.json").read_text())
    for tower in ("text_config", "vision_config"):
        config[tower] |= evil
    (copy / "config.json").write_text(json.dumps(config | evil))
    monkeypatch.setattr("socket.socket.connect", None)  # nobody is asked
    clip = load_clip(copy)
    assert not (tmp_path / "ran").exists()
    assert clip.model.config._attn_implementation == "sdpa"
    assert {p.dtype for p in clip.model.parameters()} == {torch.float32}
    texts = ["a red car", "cats"]
    wanted = load_clip(sound).encode_texts(texts)
    torch.testing.assert_close(clip.encode_texts(texts), wanted)


def test_a_config_that_says_quantised_is_refused(copy):
    edit_json(copy / "config.json", quantization_config={"quant_method": "x"})
    refused(copy, "quantised .config.json has a quantization_config.: use those in")


@pytest.mark.parametrize("tower", ["text_config", "vision_config"])
def test_weights_of_a_layer_that_config_json_lacks_are_refused(copy, tower):
    file = copy / "config.json"
    fields = json.loads(file.read_text())[tower] | {"num_hidden_layers": 1}
    edit_json(file, **{tower: fields})
    layer = f"{tower.removesuffix('_config')}_model.encoder.layers.1"
    refused(copy, f"weights have no place in what config.json describes .{layer}")


@pytest.mark.parametrize("name", ["adapter_config.json", ".metadata"])
def test_adapters_and_distributed_checkpoints_are_not_looked_at(copy, name):
    (copy / name).write_text('{"base_model_name_or_path": "someone/else"}')
    load_clip(copy)


# Indexes of several files.


class Trap:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def shard(folder, name, weights=None):
    """Move the weights to ``name``, named by an index; the weights."""
    file = folder / "model.safetensors"
    found = safetensors.torch.load_file(file)
    file.unlink()
    weight_map = dict.fromkeys(found, name)
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    (folder / INDEX).write_text(json.dumps(index))
    return found


def test_a_model_in_several_files_opens(copy, sound):
    weights = shard(copy, "")
    index = {}
    for number, keys in enumerate((list(weights)[:9], list(weights)[9:])):
        name = f"model-0000{number}-of-00002.safetensors"
        index |= dict.fromkeys(keys, name)
        parts = {key: weights[key] for key in keys}
        safetensors.torch.save_file(parts, copy / name)
    (copy / INDEX).write_text(json.dumps({"weight_map": index}))
    texts = ["a red car", "cats"]
    wanted = load_clip(sound).encode_texts(texts)
    torch.testing.assert_close(load_clip(copy).encode_texts(texts), wanted)


@pytest.mark.parametrize(
    "name",
    [
        "weights.bin",
        "pytorch_model.bin",
        "model.pt",
        "model.safetensors.bin",
        "../secret.safetensors",
        "..\\secret.safetensors",
        "/etc/passwd",
        "sub/model.safetensors",
        "./model-1.safetensors",
        ".safetensors",
        "",
        ".",
        "..",
        "C:\\x.safetensors",
        "a\0.safetensors",
        "a\n.safetensors",
        "\x1b[31m",
        "model.safetensors\n",
        "~/x.safetensors",
        "no-such.safetensors",
        "model-\u202e.safetensors",
    ],
)
def test_an_index_names_safetensors_beside_it_and_nothing_else(copy, name, tmp_path):
    weights = shard(copy, name)
    for pickled in ("weights.bin", "pytorch_model.bin", "model.pt"):
        torch.save({**weights, "trap": Trap(tmp_path / "sprung")}, copy / pickled)
    for outside in (copy.parent, copy / "sub"):
        outside.mkdir(exist_ok=True)
        for file in ("secret.safetensors", "model.safetensors"):
            safetensors.torch.save_file(weights, outside / file)
    refused(copy, "index.json")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "index",
    [
        {},
        [],
        None,
        {"weight_map": {}},
        {"weight_map": []},
        {"weight_map": {"a": 3}},
        {"weight_map": {"a": None}},
        {"weight_map": {"a": ["model.safetensors"]}},
    ],
    ids=str,
)
def test_an_index_that_is_none_is_refused(copy, index):
    shard(copy, "")
    (copy / INDEX).write_text(json.dumps(index))
    refused(copy, "index.json")


def test_damaged_weights_are_refused_whatever_is_changed(sound, tmp_path_factory):
    whole = (sound / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", whole[:8])
    folder = tmp_path_factory.mktemp("damaged") / "copy"
    shutil.copytree(sound, folder)
    opened = []

    @settings(max_examples=40, deadline=None, derandomize=True)
    @given(st.integers(0, 8 + length), st.binary(min_size=1, max_size=9), st.booleans())
    def attack(at, junk, cut):
        rest = b"" if cut else whole[at + len(junk) :]
        (folder / "model.safetensors").write_bytes(whole[:at] + junk + rest)
        try:
            opened.append(load_clip(folder))
        except ModelNotFound as reason:
            assert "Ways on" in str(reason)

    attack()
    for clip in opened:  # what changed was a comment, or nothing
        assert isinstance(clip, Clip)
        assert all(p.isfinite().all() for p in clip.model.parameters())


def test_a_model_that_is_open_outlives_its_file(copy):
    clip = load_clip(copy)
    before = clip.encode_texts(["a red car"])
    with (copy / "model.safetensors").open("r+b") as file:
        file.truncate(0)  # as saving another over it begins
    torch.testing.assert_close(clip.encode_texts(["a red car"]), before)
    refused(copy, "Safetensor")


def test_names_with_escape_codes_reach_the_terminal_as_text(copy):
    (copy / "model.safetensors").rename(copy / "\x1b]0;owned\x07\x1b[31mx.bin")
    refused(copy, r"\\x1b\]0;owned\\x07")


# What is no text.

NO_TEXTS = [
    math.nan,
    None,
    3,
    2.5,
    True,
    b"bytes",
    ["a"],
    ("a",),
    {"a": 1},
    object(),
    [],
    {},
    1j,
    range(2),
    Ellipsis,
    int,
    plain("red"),
    torch.ones(1),
    {"a"},
    lambda: "a",
]


def text_entrances(clip):
    yield lambda texts: clip.encode_texts(texts)
    yield lambda texts: clip.tokenize(texts)
    yield lambda texts: vt.zero_shot(clip, PICTURES, texts)
    yield lambda texts: vt.zero_shot(clip, PICTURES, ["a"], texts)
    yield lambda texts: match(PICTURES, texts, clip)


@pytest.mark.parametrize("number", range(len(NO_TEXTS)))
def test_what_is_no_text_is_named_by_its_place(sound_clip, number):
    wrong = NO_TEXTS[number]
    for enter in text_entrances(sound_clip):
        with pytest.raises(TypeError, match="(text|label|template|caption) 2 is a .*"):
            enter(["a {}", "b {}", wrong])
    for enter in list(text_entrances(sound_clip))[:2]:
        with pytest.raises(TypeError, match="pass a list of texts"):
            enter("a cat")
        for nothing in (None, 5, float("nan")):
            with pytest.raises(TypeError, match=f"a list of texts, not {nothing}"):
                enter(nothing)


@pytest.fixture(scope="module")
def sound_clip(sound):
    return load_clip(sound)


HALVES = ["a \ud83d cat", "\ud83d", "\udcff", "a\udc00b\ud800", "\ud800" * 300]


@pytest.mark.parametrize("text", HALVES, ids=ascii)
def test_half_a_surrogate_pair_is_a_question_mark(sound_clip, text):
    same = "".join("?" if "\ud800" <= c <= "\udfff" else c for c in text)
    found = sound_clip.encode_texts([text, same])
    torch.testing.assert_close(found[0], found[1])
    for enter in text_entrances(sound_clip):
        enter([text + "{}", "b{}"])


def test_a_folder_without_faults_has_none(sound):
    assert faults(sound) == []
