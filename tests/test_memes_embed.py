import threading
import time
import weakref

import numpy as np
import pytest
import torch
from fake_clip import ColourClip, TinyClip, plain
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from vlmtutor.memes import Embedder, EmbeddingCache, UnreadablePicture
from vlmtutor.memes import embed as embed_module
from vlmtutor.memes.identity import model_identity


def noise(n, seed=0, size=(24, 20)):
    rng = np.random.default_rng(seed)
    return [
        Image.fromarray(rng.integers(0, 255, (*size, 3), np.uint8)) for _ in range(n)
    ]


def stacked(rows):
    return torch.stack(list(rows))


def test_a_changed_caption_encodes_only_itself():
    clip = ColourClip()
    embedder = Embedder(clip, EmbeddingCache())
    before = embedder.texts(["one", "two", "three"])
    assert clip.texts == ["one", "two", "three"]
    after = embedder.texts(["one", "2", "three"])
    assert clip.texts[3:] == ["2"]
    assert torch.equal(before[[0, 2]], after[[0, 2]])
    embedder.texts(["three", "one", "one"])
    assert len(clip.texts) == 4


def test_a_second_run_encodes_nothing():
    clip = TinyClip()
    cache = EmbeddingCache()
    images = noise(5)
    first = stacked(Embedder(clip, cache).images(images))
    assert clip.pictures == 5
    second = stacked(Embedder(clip, cache).images(images))
    assert clip.pictures == 5
    assert torch.equal(first, second)


def test_the_same_picture_is_encoded_once():
    clip = ColourClip()
    image = plain("red")
    rows = stacked(Embedder(clip, EmbeddingCache()).images([image] * 4))
    assert len(clip.images) == 1
    assert torch.equal(rows[0], rows[3])


def test_identity_follows_the_weights():
    clip, same, other = TinyClip(0), TinyClip(0), TinyClip(1)
    assert model_identity(clip) == model_identity(same)
    assert model_identity(clip) != model_identity(other)
    before = model_identity(clip)
    with torch.no_grad():
        clip.model.visual_projection.weight[0, 0] += 1e-3
    assert model_identity(clip) != before
    clip.model.load_state_dict(same.model.state_dict())
    assert model_identity(clip) == before
    assert model_identity(ColourClip()) == model_identity(ColourClip())


def test_identity_in_inference_mode_follows_the_weights():
    """There PyTorch counts no changes."""
    with torch.inference_mode():
        clip = TinyClip()
        before = model_identity(clip)
        clip.model.visual_projection.weight[0, 0] += 1e-3
        assert model_identity(clip) != before
    assert model_identity(TinyClip()) == before


def test_training_a_model_makes_its_embeddings_new():
    clip, cache, images = TinyClip(), EmbeddingCache(), noise(2)
    first = stacked(Embedder(clip, cache).images(images))
    with torch.no_grad():
        clip.model.visual_projection.weight.mul_(-1)
    second = stacked(Embedder(clip, cache).images(images))
    torch.testing.assert_close(first, -second)


@settings(max_examples=20, deadline=None)
@given(
    bad=st.lists(st.booleans(), min_size=1, max_size=9), batch_size=st.integers(1, 4)
)
def test_order_is_kept_and_unreadable_files_say_why(bad, batch_size, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    images, paths = noise(len(bad)), []
    for i, (broken, image) in enumerate(zip(bad, images, strict=True)):
        paths.append(folder / f"{i}.png")
        image.save(paths[-1])
        if broken:
            paths[-1].write_bytes(b"broken")
    clip = TinyClip()
    embedder = Embedder(clip, EmbeddingCache(), batch_size=batch_size)
    expected = clip.encode_images(images)
    rows = list(embedder.images(paths))
    assert len(rows) == len(bad)
    for broken, row, wanted in zip(bad, rows, expected, strict=True):
        assert isinstance(row, UnreadablePicture) == broken
        if not broken:
            torch.testing.assert_close(row, wanted, atol=1e-5, rtol=0)


def test_few_pictures_are_held_at_a_time(tmp_path, monkeypatch):
    paths = [tmp_path / f"{i}.png" for i in range(60)]
    for path, image in zip(paths, noise(60), strict=True):
        image.save(path)
    pictures, most = [], 0
    decode = embed_module.decode_picture

    def watched(data):
        nonlocal most
        picture = decode(data)
        pictures.append(weakref.ref(picture))
        most = max(most, sum(ref() is not None for ref in pictures))
        return picture

    monkeypatch.setattr(embed_module, "decode_picture", watched)
    embedder = Embedder(TinyClip(), EmbeddingCache(), batch_size=5)
    assert len(list(embedder.images(paths))) == 60
    assert most <= 10


def test_the_next_batch_is_read_while_the_model_works():
    clip = TinyClip()
    seen = []  # pictures preprocessed by the time each batch is encoded

    def wait_for_the_next_batch(module, args):
        wanted = min(12, 4 * (len(seen) + 2))
        for _ in range(1000):
            if clip.pictures >= wanted:
                break
            time.sleep(0.01)
        seen.append(clip.pictures)

    clip.model.vision_model.register_forward_pre_hook(wait_for_the_next_batch)
    embedder = Embedder(clip, EmbeddingCache(), batch_size=4)
    assert len(list(embedder.images(noise(12)))) == 12
    assert seen == [8, 12, 12]


def test_the_first_batch_is_read_while_texts_are_encoded():
    clip = TinyClip()
    embedder = Embedder(clip, EmbeddingCache(), batch_size=4)
    rows = embedder.images(noise(6))
    for _ in range(1000):
        if clip.pictures == 4:
            break
        time.sleep(0.01)
    assert clip.pictures == 4  # before the first row is asked for
    assert len(list(rows)) == 6


def test_a_stream_that_is_left_early_ends_its_thread():
    before = threading.active_count()
    embedder = Embedder(TinyClip(), EmbeddingCache(), batch_size=2)
    rows = embedder.images(noise(8))
    next(rows)
    assert threading.active_count() == before + 1
    del rows
    assert threading.active_count() == before


def test_memes_and_model_read_a_file_alike(tmp_path):
    (image,) = noise(1, size=(48, 40))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif)
    image.convert("CMYK").save(tmp_path / "cmyk.tif")
    image.convert("RGBA").save(tmp_path / "alpha.png")
    image.quantize(9).save(tmp_path / "palette.gif")
    deep = np.asarray(image.convert("L"), np.uint16) * 257
    Image.fromarray(deep).save(tmp_path / "deep.png")
    paths = sorted(tmp_path.iterdir())
    ours = stacked(Embedder(TinyClip(), EmbeddingCache()).images(paths))
    theirs = TinyClip().encode_images(paths)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_many_texts_keep_their_order():
    clip = TinyClip()
    texts = ["x" * (i * 7 % 20 + 1) + str(i) for i in range(70)]
    rows = Embedder(clip, EmbeddingCache()).texts(texts)
    wanted = clip.encode_texts(texts)
    torch.testing.assert_close(rows, wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (3000, 2), (60_000, 1)])
def test_specks_and_lines_can_be_encoded(size):
    image = Image.new("RGB", size, "red")
    (row,) = Embedder(TinyClip(), EmbeddingCache()).images([image])
    (square,) = TinyClip().encode_images([Image.new("RGB", (32, 32), "red")])
    torch.testing.assert_close(row, square)


def test_bf16_is_close_and_kept_apart():
    clip, images, cache = TinyClip(), noise(4), EmbeddingCache()
    exact = stacked(Embedder(clip, cache).images(images))
    embedder = Embedder(clip, cache, precision="bf16")
    rough = stacked(embedder.images(images))
    assert clip.pictures == 8
    assert rough.dtype == torch.float32
    assert (exact * rough).sum(-1).min() > 0.999
    torch.testing.assert_close(rough.norm(dim=-1), torch.ones(4))
    texts = embedder.texts(["a", "b"])
    torch.testing.assert_close(texts.norm(dim=-1), torch.ones(2))
    auto = Embedder(clip, cache, precision="auto").precision
    assert auto == ("bf16" if embed_module.has_bf16() else "fp32")


def test_bf16_leaves_attention_in_float32():
    seen = {"linear": set(), "attention": set()}

    class Spy(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            if function is torch.nn.functional.linear:
                seen["linear"].add(result.dtype)
            if function is scaled_dot_product_attention:
                seen["attention"].add(result.dtype)
            return result

    with Spy():
        embedder = Embedder(TinyClip(), EmbeddingCache(), precision="bf16")
        stacked(embedder.images(noise(2)))
        embedder.texts(["a", "bcd"])
    assert seen["linear"] == {torch.bfloat16}
    assert seen["attention"] == {torch.float32}


def test_wrong_settings_are_said():
    with pytest.raises(ValueError, match="unknown precision 'int4'"):
        Embedder(ColourClip(), precision="int4")
    with pytest.raises(ValueError, match="batch_size"):
        Embedder(ColourClip(), batch_size=0)


def test_a_failing_model_is_no_reason_to_skip_pictures():
    class Broken(ColourClip):
        def encode_images(self, images):
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        list(Embedder(Broken(), EmbeddingCache()).images(noise(3)))
