"""What is kept of embeddings, and what of it is trusted."""

import json
import sqlite3
import struct
from contextlib import closing

import pytest
import torch
from clip_folders import only_tokenizer_json, write_clip, write_siglip
from fake_clip import ColourClip, TinyClip, plain

from vlmtutor.memes import Embedder, EmbeddingCache, cache, match
from vlmtutor.memes.identity import model_identity
from vlmtutor.models import load_clip

KEY, ROW = "a1b2", torch.tensor([0.6, 0.8, 0.0])


def kept(folder, row=ROW, key=KEY, model="m"):
    """A cache of a folder that holds one embedding."""
    store = EmbeddingCache(folder)
    store.put({key: row}, model)
    store.close()
    return folder / cache.NAME


def read(folder, key=KEY, size=3):
    return EmbeddingCache(folder).get(key, size)


def change(path, query, *values):
    with closing(sqlite3.connect(path)) as file, file:
        file.execute(query, values)


def test_embeddings_outlive_the_process_in_one_file(tmp_path):
    pictures = [plain("red"), plain("blue"), plain("green")]
    clip, other = TinyClip(), TinyClip()  # the same weights
    first = Embedder(clip, EmbeddingCache(tmp_path))
    wanted = torch.stack([*first.images(pictures), *first.texts(["a", "b"])])
    assert [path.name for path in tmp_path.iterdir()] == [cache.NAME]
    again = Embedder(other, EmbeddingCache(tmp_path))
    found = torch.stack([*again.images(pictures), *again.texts(["a", "b"])])
    assert other.pictures == 0 and torch.equal(found, wanted)


def test_nothing_is_made_by_looking(tmp_path):
    assert read(tmp_path / "new") is None
    assert not (tmp_path / "new").exists()


def numbers(*values):
    return struct.pack(f"<{len(values)}f", *values)


@pytest.mark.parametrize(
    "value",
    [
        numbers(0.6, 0.8),
        numbers(0.6, 0.8, 0.0, 0.0),
        numbers(0.6, 0.8, 0.0)[:-1],
        b"",
        struct.pack("<3d", 0.6, 0.8, 0.0),
        struct.pack(">3f", 0.6, 0.8, 0.0),
        numbers(0.6, float("nan"), 0.0),
        numbers(float("inf"), 0.0, 0.0),
        numbers(0.0, 0.0, 0.0),
        numbers(600.0, 800.0, 0.0),
        "twelve bytes",
        12,
        None,
    ],
    ids=repr,
)
def test_what_can_be_no_embedding_is_a_miss_and_written_again(tmp_path, value):
    path = kept(tmp_path)
    change(path, "UPDATE embeddings SET value = ?", value)
    assert read(tmp_path) is None
    kept(tmp_path)
    assert torch.equal(read(tmp_path), ROW)


@pytest.mark.parametrize("size", [0, 9, 100, 5000])
def test_a_file_that_is_damaged_is_begun_anew(tmp_path, size):
    path = kept(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:size] + b"\xaa" * (len(whole) - size) * (size != 0))
    assert read(tmp_path) is None
    kept(tmp_path)
    assert torch.equal(read(tmp_path), ROW)


def test_a_database_of_somebody_else_stays_as_it_is(tmp_path):
    path = tmp_path / cache.NAME
    change(path, "CREATE TABLE letters (text)")
    before = path.read_bytes()
    store = EmbeddingCache(tmp_path)
    store.put({KEY: ROW})
    assert torch.equal(store.get(KEY, 3), ROW)  # from memory
    assert path.read_bytes() == before


@pytest.mark.parametrize("link", ["", cache.NAME, f"{cache.NAME}-journal"])
def test_no_link_is_followed(tmp_path, link):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "target").write_text("mine")
    folder = tmp_path / "hidden"
    if link:
        folder.mkdir()
        (folder / link).symlink_to(outside / "target")
    else:
        folder.symlink_to(outside)
    kept(folder)
    assert read(folder) is None
    assert [p.name for p in outside.iterdir()] == ["target"]
    assert (outside / "target").read_text() == "mine"


def test_a_folder_that_cannot_be_written_is_done_without(tmp_path):
    wall = tmp_path / "file"
    wall.write_text("no folder")
    store = EmbeddingCache(wall)
    store.put({KEY: ROW})
    assert torch.equal(store.get(KEY, 3), ROW)
    assert store.get("c3d4", 3) is None and wall.read_text() == "no folder"


def test_a_file_that_is_locked_is_done_without(tmp_path, monkeypatch):
    path = kept(tmp_path)
    monkeypatch.setattr(cache, "PATIENCE", 0.01)
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN EXCLUSIVE")
        store = EmbeddingCache(tmp_path)
        store.put({"c3d4": -ROW})
        assert torch.equal(store.get("c3d4", 3), -ROW)
        assert store.get(KEY, 3) is None
        other.rollback()
    assert torch.equal(read(tmp_path), ROW)


def test_embeddings_of_models_long_unused_go(tmp_path, monkeypatch):
    now = cache.time.time()
    kept(tmp_path, ROW, "a0", "old")
    kept(tmp_path, ROW, "b0", "used")
    monkeypatch.setattr(cache.time, "time", lambda: now + 20 * 86_400)
    kept(tmp_path, -ROW, "b1", "used")
    assert read(tmp_path, "a0") is not None
    monkeypatch.setattr(cache.time, "time", lambda: now + 40 * 86_400)
    kept(tmp_path, ROW, "c0", "new")
    assert [read(tmp_path, k) is not None for k in ("a0", "b0", "b1", "c0")] == [
        False,
        True,
        True,
        True,
    ]


def test_memory_of_the_cache_is_bounded():
    store = EmbeddingCache(limit=3)
    for i in range(5):
        store.put({str(i): torch.full((2,), float(i))})
        store.get("1", 2)
    assert [i for i in range(5) if store.get(str(i), 2) is not None] == [1, 3, 4]


def test_a_model_that_gives_no_numbers_is_told_and_not_kept(tmp_path):
    class Diverged(ColourClip):
        def encode_images(self, images):
            return super().encode_images(images) * float("nan")

        def encode_texts(self, texts):
            return super().encode_texts(texts) * float("inf")

    embedder = Embedder(Diverged(), EmbeddingCache(tmp_path))
    with pytest.raises(ValueError, match="diverged"):
        list(embedder.images([plain("red")]))
    with pytest.raises(ValueError, match="diverged"):
        embedder.texts(["red"])
    assert list(tmp_path.iterdir()) == []


def edit(file, change):
    fields = json.loads(file.read_text("utf-8"))
    change(fields)
    file.write_text(json.dumps(fields), "utf-8")


def other_towers(**fields):
    def change(folder):
        edit(folder / "config.json", lambda c: c["text_config"].update(fields))

    return change


def other_vocabulary(folder):
    def swap(fields):
        ids = fields["model"]["vocab"]
        ids["r</w>"], ids["y</w>"] = ids["y</w>"], ids["r</w>"]

    edit(folder / "tokenizer.json", swap)


def other_filling(folder):
    edit(folder / "tokenizer_config.json", lambda c: c.update(pad_token="<unk>"))


@pytest.mark.parametrize(
    ("write", "change"),
    [
        (write_clip, other_towers(hidden_act="relu")),
        (write_clip, other_towers(num_attention_heads=1)),
        (write_clip, other_vocabulary),
        (write_siglip, other_filling),
    ],
    ids=["activation", "heads", "vocabulary", "filling"],
)
def test_a_model_whose_small_files_change_encodes_anew(tmp_path, write, change):
    folder, store, texts = write(tmp_path / "model"), tmp_path / "cache", ["r", "y r"]
    if write is write_clip:
        only_tokenizer_json(folder)
    before = Embedder(load_clip(folder), EmbeddingCache(store)).texts(texts)
    change(folder)
    clip = load_clip(folder)
    found = Embedder(clip, EmbeddingCache(store)).texts(texts)
    torch.testing.assert_close(found, clip.encode_texts(texts))
    assert not torch.allclose(found, before)


def test_a_model_opened_again_and_used_is_the_same(tmp_path):
    folder = write_clip(tmp_path / "model")
    clip, again = load_clip(folder), load_clip(folder)
    again.encode_texts(["a long text", "a"])
    assert model_identity(clip) == model_identity(again)


PICTURES, TEXTS = [plain("red"), plain("blue")], ["a red thing", "green", "yellow"]


@pytest.mark.parametrize(
    "turn",
    [
        lambda weight: weight.data.neg_(),
        lambda weight: weight.detach().numpy().__imul__(-1),
    ],
    ids=["data", "numpy"],
)
def test_weights_that_change_uncounted_are_noticed(turn):
    clip = TinyClip()
    before = match(PICTURES, TEXTS, clip).scores
    turn(clip.model.visual_projection.weight)
    torch.testing.assert_close(match(PICTURES, TEXTS, clip).scores, -before)


class Wrapped:
    """A model of somebody else's: all are called alike."""

    name, logit_scale, embed_dim = "mine", 20.0, 12

    def __init__(self, inner):
        self.inner = inner

    def encode_images(self, images):
        return self.inner.encode_images(images)

    def encode_texts(self, texts):
        return self.inner.encode_texts(texts)


def test_wrapped_models_of_one_name_share_nothing():
    one, other = (match(PICTURES, TEXTS, Wrapped(TinyClip(s))).scores for s in (0, 5))
    assert not torch.allclose(one, other)
    torch.testing.assert_close(other, match(PICTURES, TEXTS, TinyClip(5)).scores)
