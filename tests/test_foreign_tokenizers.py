"""Model folders with a tokenizer that is another model's, or half of one."""

import json
import shutil

import pytest
from clip_folders import (
    edit_weights,
    memes_with,
    only_tokenizer_json,
    write_clip,
    write_siglip,
)
from transfer_tiny import tiny_clip

from vlmtutor.models import ModelNotFound, load_clip
from vlmtutor.models.saving import save_clip

FOREIGN = "its tokenizer is not whole, or another model's: "
KINDS = {
    "clip": lambda folder: only_tokenizer_json(write_clip(folder)),
    "siglip": write_siglip,
    "words": lambda folder: save_clip(tiny_clip(), folder),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    base = tmp_path_factory.mktemp("sound")
    for kind, write in KINDS.items():
        write(base / kind)
    return base


def edit(file, change):
    content = json.loads(file.read_text())
    file.write_text(json.dumps(change(content) or content))


@pytest.fixture
def folder(folders, tmp_path):
    """A folder of that kind, its tokenizer changed."""

    def copy(kind, change=None):
        made = shutil.copytree(folders / kind, tmp_path / "copy")
        if change:
            edit(made / "tokenizer.json", change)
        return made

    return copy


def refused(folder, reason):
    with pytest.raises(ModelNotFound, match=reason) as error:
        load_clip(folder)
    assert "Ways on" in str(error.value)


def more_words(content):
    """A larger vocabulary: of the new ones no short text makes use."""
    vocab = content["model"]["vocab"]
    new = [f"zq{i}qz" for i in range(3000)]
    if isinstance(vocab, list):
        vocab += [[word, -99.0] for word in new]
    else:
        vocab |= {word: len(vocab) + i for i, word in enumerate(new)}


def other_ids(content):
    """Those of a larger model, the special tokens' as well."""
    vocab = content["model"]["vocab"]
    if isinstance(vocab, list):
        vocab[:0] = [[f"zq{i}qz", -99.0] for i in range(3000)]
    else:
        content["model"]["vocab"] = {word: i + 3000 for word, i in vocab.items()}
    for token in content["added_tokens"]:
        token["id"] += 3000


def no_texts(content):
    """Whatever is read, nothing is left of it."""
    content["normalizer"] = None
    content["pre_tokenizer"] = {
        "type": "Split",
        "pattern": {"Regex": r"[\s\S]"},
        "behavior": "Removed",
        "invert": False,
    }


def nothing_at_all(content):
    no_texts(content)
    content["post_processor"] = None


def no_end(content):
    """The mark at which a CLIP takes its embedding is not put."""
    content["post_processor"] = None


def empty(content):
    parts = ("normalizer", "pre_tokenizer", "post_processor", "decoder")
    nothing = content | dict.fromkeys(parts) | {"added_tokens": []}
    return nothing | {"model": {"type": "WordLevel", "vocab": {}, "unk_token": "?"}}


@pytest.mark.parametrize(
    "kind, change, reason",
    [
        ("clip", more_words, "it has a token 4999, and the model knows 2000 in all"),
        ("siglip", more_words, "it has a token 4199, and the model knows 1200 in all"),
        ("words", more_words, "it has a token 3024, and the model knows 25 in all"),
        ("clip", other_ids, "it has a token 4999, and the model knows 2000 in all"),
        ("siglip", other_ids, "it has a token 4199, and the model knows 1200 in all"),
        ("words", other_ids, "it has a token 3024, and the model knows 25 in all"),
        ("siglip", no_texts, "'a' and 'a photo' are the same to it"),
        ("words", no_texts, "'a' and 'a photo' are the same to it"),
        ("siglip", nothing_at_all, "'a' and 'a photo' are the same to it"),
        ("words", nothing_at_all, "'a' and 'a photo' are the same to it"),
        ("words", no_end, "'a' and 'a photo' are the same to it"),
        ("clip", empty, ""),
        ("siglip", empty, ""),
        ("words", empty, ""),
    ],
)
def test_a_tokenizer_that_is_not_the_models_is_refused(folder, kind, change, reason):
    refused(folder(kind, change), FOREIGN + reason)


def test_an_end_that_no_text_has_is_refused(folder):
    made = folder("clip")

    def other_end(config):
        config["text_config"]["eos_token_id"] = 77  # no tokenizer puts it

    edit(made / "config.json", other_end)
    refused(made, FOREIGN + "'a' and 'a photo' are the same to it")


def test_a_tokenizer_without_anything_to_fill_up_with_is_refused(folder):
    made = folder("words")

    def no_pad(config):
        config.pop("pad_token", None)

    edit(made / "tokenizer_config.json", no_pad)
    edit(made / "config.json", lambda c: c["text_config"].update(pad_token_id=99))
    refused(made, FOREIGN)


LAST = {
    "clip": "text_projection.weight",
    "siglip": "text_model.head.weight",
    "words": "text_projection.weight",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [0.0, 3e38])
def test_texts_that_come_to_no_numbers_are_refused(folder, kind, value):
    made = folder(kind)

    def spoil(weights):
        weights[LAST[kind]] = weights[LAST[kind]].float().fill_(value)
        if "text_model.head.bias" in weights:
            weights["text_model.head.bias"].zero_()

    edit_weights(made, spoil)
    refused(made, "copy gives no usable embedding for 2 of 2 inputs.*damaged")


@pytest.mark.parametrize("kind", KINDS)
def test_a_word_that_was_added_and_that_texts_do_not_have_does_no_harm(folder, kind):
    def mask(content):
        flags = ("single_word", "lstrip", "rstrip", "normalized")
        token = dict.fromkeys(flags, False) | {"special": True}
        content["added_tokens"].append(token | {"id": 9000, "content": "<mask>"})

    clip = load_clip(folder(kind, mask))
    assert clip.encode_texts(["a red dog", "two cats"]).isfinite().all()


def test_the_command_tells_it_before_it_writes_anything(folder, tmp_path, capsys):
    assert memes_with(folder("clip", other_ids), tmp_path) == 1
    assert FOREIGN in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
