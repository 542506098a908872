"""Model folders with a tokenizer that is another model's, or half of one."""

import html
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
from fake_clip import plain
from transfer_tiny import tiny_clip

import vlmtutor as vt
from vlmtutor.__main__ import main
from vlmtutor.memes import caption_folder, match
from vlmtutor.models import ModelNotFound, load_clip
from vlmtutor.models.clip import UnknownToken
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


def test_the_command_tells_it_before_it_writes_anything(folder, tmp_path, capsys):
    assert memes_with(folder("clip", other_ids), tmp_path) == 1
    assert FOREIGN in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# A word that was added after the training: what does not have it is read.


def mask(content):
    """One more word, and no row in the model's table of tokens for it."""
    flags = ("single_word", "lstrip", "rstrip", "normalized")
    token = dict.fromkeys(flags, False) | {"special": True}
    content["added_tokens"].append(token | {"id": 9000, "content": "<mask>"})


FIRST_NEW = {"clip": 2000, "siglip": 1200, "words": 25}  # it gets the next free id
GOOD = ["a red dog", "two cats"]
BAD = ["my <mask>", "<mask> and a dog"]


def reason(text, kind="clip"):
    fault = f"it has a token {FIRST_NEW[kind]}, and the model knows {FIRST_NEW[kind]}"
    return f"copy cannot read the text {text!r}: {FOREIGN}{fault} in all"


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_with_an_added_word_is_refused_and_others_are_read(folder, kind):
    clip = load_clip(folder(kind, mask))
    assert clip.encode_texts(GOOD).isfinite().all()
    for read in (clip.tokenize, clip.encode_texts):
        with pytest.raises(UnknownToken) as error:
            read([*GOOD, BAD[0], *GOOD])
        assert str(error.value) == reason(BAD[0], kind)
    with pytest.raises(ValueError, match="cannot read the text 'my <mask>'"):
        match([plain("red")], [*GOOD, BAD[0]], clip)


def test_the_begin_of_every_text_may_be_such_a_word(folder):
    def put_first(content):
        mask(content)
        template = content["post_processor"]
        template["single"][0]["SpecialToken"]["id"] = "<mask>"
        token = {"id": "<mask>", "ids": [25], "tokens": ["<mask>"]}
        template["special_tokens"]["<mask>"] = token

    refused(folder("words", put_first), f"{FOREIGN}it has a token 25")


def captioned(folder, tmp_path, lines):
    """What the command is told: a folder of two pictures, a file of captions."""
    pictures = tmp_path / "in"
    pictures.mkdir()
    for color in ("red", "blue"):
        plain(color).save(pictures / f"{color}.png")
    (tmp_path / "c.txt").write_text("\n".join(lines))
    words = [pictures, "--captions", tmp_path / "c.txt", "--out", tmp_path / "out"]
    return [*map(str, words), "--model", str(folder("clip", mask)), "--quiet"]


def test_a_caption_with_an_added_word_is_named_and_the_run_goes_on(
    folder, tmp_path, capsys
):
    lines = [BAD[0], *GOOD, BAD[1]]
    assert main(["memes", *captioned(folder, tmp_path, lines)]) == 0
    said = capsys.readouterr()
    notes = [f"a caption left out: {reason(text)}" for text in BAD]
    told = [line for line in said.out.splitlines() if line.startswith("note: ")]
    assert told == [f"note: {note}" for note in notes] and not said.err
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["notes"] == notes and report["settings"]["captions"] == 2
    assert {meme["caption"] for meme in report["memes"]} <= set(GOOD)
    assert len(report["memes"]) == 2


def test_without_a_caption_that_it_can_read_nothing_is_written(
    folder, tmp_path, capsys
):
    words = captioned(folder, tmp_path, BAD)
    assert main(["memes", *words]) == 1
    assert capsys.readouterr().err == f"[FAIL] no captions: {reason(BAD[0])}\n"
    assert not (tmp_path / "out").exists()
    clip = load_clip(tmp_path / "copy")
    with pytest.raises(ValueError, match="no captions: copy cannot read the text"):
        caption_folder(tmp_path / "in", BAD, tmp_path / "out", clip, progress=False)
    assert not (tmp_path / "out").exists()


@pytest.fixture
def studio(folder, tmp_path):
    plain("red").save(tmp_path / "red.png")
    return vt.MemeStudio(tmp_path, [*GOOD, BAD[0]], load_clip(folder("clip", mask)))


def told(studio):
    return html.unescape(studio.ui.status.value)


def test_the_studio_opens_without_captions_that_the_model_cannot_read(studio):
    assert studio.state.captions == GOOD and studio.ui.words.value in GOOD
    assert f"Note: a caption left out: {reason(BAD[0])}." in told(studio)


def test_the_captions_field_leaves_out_what_the_model_cannot_read(studio):
    studio.ui.captions.value = f"a blue sea\n{BAD[1]}"
    assert studio.state.captions == ["a blue sea"] == [studio.ui.words.value]
    assert f"Note: a caption left out: {reason(BAD[1])}." in told(studio)
    assert reason(BAD[0]) not in told(studio)
    studio.ui.captions.value = BAD[0]
    none = f"no captions: write at least one. a caption left out: {reason(BAD[0])}"
    assert none in told(studio)
    assert studio.state.captions == ["a blue sea"]


def test_a_caption_of_ones_own_that_the_model_cannot_read_changes_nothing(studio):
    before = studio.state.caption(0)
    studio.ui.words.value = BAD[0]
    assert reason(BAD[0]) in told(studio)
    assert studio.state.caption(0) == before and not studio.state.is_kept(0)
    studio.ui.shuffle.click()  # all works as before
    assert "Shuffled" in told(studio) and studio.ui.words.value in GOOD
    studio.ui.why_words.value = BAD[1]
    assert reason(BAD[1]) in told(studio)


@pytest.mark.parametrize("own", [True, False])
def test_a_model_that_cannot_read_a_caption_does_not_replace_the_old(
    folder, tmp_path, own
):
    plain("red").save(tmp_path / "red.png")
    state = vt.MemeStudio(tmp_path, GOOD if own else [*GOOD, *BAD], tiny_clip()).state
    state.write(0, BAD[0] if own else "a dog")
    before = state.clip, state.chart(0)
    with pytest.raises(UnknownToken, match="copy cannot read the text 'my <mask>'"):
        state.set_clip(load_clip(folder("clip", mask)))
    assert (state.clip, state.chart(0)) == before
