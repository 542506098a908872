"""A path where a model's folder is wanted: what it is and what to give."""

import os

import pytest
from clip_folders import write_clip
from fake_clip import plain

from vlmtutor import MemeStudio
from vlmtutor.__main__ import main
from vlmtutor.models import ModelNotFound, hub, load_clip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clip") / "tiny")


@pytest.fixture
def pictures(tmp_path):
    plain("red").save(tmp_path / "red.png")
    (tmp_path / "captions.txt").write_text("red\n")
    return tmp_path


def on_command(*words):
    """What the command says on stderr; it fails."""

    def run(name, pictures, capsys):
        captions, out = pictures / "captions.txt", pictures / "out"
        places = {"PICTURES": pictures, "CAPTIONS": captions, "OUT": out, "NAME": name}
        assert main([str(places.get(word, word)) for word in words]) == 1
        return capsys.readouterr().err

    return run


def raised(enter):
    def run(name, pictures, capsys):
        with pytest.raises(ModelNotFound) as error:
            enter(name, pictures)
        return str(error.value)

    return run


MEMES = "memes PICTURES --captions CAPTIONS --out OUT --model NAME"
ENTRANCES = {
    "load_clip": raised(lambda name, _: load_clip(name)),
    "asking the hub": raised(lambda name, _: load_clip(name, download=True)),
    "download": raised(lambda name, _: hub.download(name)),
    "studio": raised(lambda name, pictures: MemeStudio(pictures, ["red"], name)),
    "memes": on_command(*MEMES.split()),
    "evaluate": on_command("evaluate", "--model", "NAME"),
    "the command download": on_command("download", "NAME"),
}


@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "vocab.json"])
def test_who_names_a_file_of_a_model_is_told_to_give_its_folder(
    folder, pictures, entrance, file, capsys, no_network, cache, monkeypatch
):
    monkeypatch.chdir(folder.parent)
    for name in (os.path.join("tiny", file), str(folder / file)):
        said = ENTRANCES[entrance](name, pictures, capsys)
        assert f"{folder / file}: a file, and a model is a folder\n" in said
        assert f"{folder}: the folder that it is in, which is what to give" in said
        assert "there is none" not in said and "Ways on" in said
    assert no_network == []


def test_who_names_another_file_is_told_what_its_folder_lacks(pictures):
    weights = pictures / "model.safetensors"  # fetched without the rest
    weights.write_bytes(b"")
    for file in (weights, pictures / "red.png"):
        with pytest.raises(ModelNotFound) as error:
            load_clip(file)
        said = str(error.value)
        assert f"{file}: a file" in said and f"{pictures}: no config.json" in said
        assert "what to give" not in said


def test_a_folder_that_is_there_is_not_said_to_be_missing(folder):
    with pytest.raises(ModelNotFound, match=f"{folder}: load_clip opens it"):
        hub.download(str(folder))


@pytest.mark.parametrize("name", ["x" * 5000, "~nobody-here/clip", "a\0b", "tiny/x"])
def test_what_cannot_be_a_path_is_nowhere(name, cache, no_network):
    for enter in (load_clip, hub.download):
        with pytest.raises(ModelNotFound, match="there is none"):
            enter(name)
