"""What is kept of embeddings, and what of it is trusted."""

import sqlite3
import struct
from contextlib import closing

import pytest
import torch
from fake_clip import ColourClip, TinyClip, plain

from vlmtutor.memes import Embedder, EmbeddingCache, cache

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
