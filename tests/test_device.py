"""Where a CLIP computes, and torch's global switches around it."""

import contextlib

import pytest
import torch
from clip_folders import write_clip, write_siglip
from fake_clip import plain

import vlmtutor as vt
from vlmtutor.memes import EmbeddingCache, caption_folder, match
from vlmtutor.memes.explain import explain
from vlmtutor.models import device as devices
from vlmtutor.models import load_clip

LABELS = ["a red car", "a blue cat"]
PICTURES = [plain("red"), plain("blue")]


@pytest.fixture(scope="module", params=["clip", "siglip"])
def folder(request, tmp_path_factory):
    write = {"clip": write_clip, "siglip": write_siglip}[request.param]
    return write(tmp_path_factory.mktemp("device") / "tiny")


@pytest.fixture(scope="module")
def wanted(folder):
    """The embeddings that the CPU gives."""
    clip = load_clip(folder)
    return clip.encode_images(PICTURES), clip.encode_texts(LABELS)


def check_embeddings(clip, wanted):
    torch.testing.assert_close(clip.encode_images(PICTURES), wanted[0])
    torch.testing.assert_close(clip.encode_texts(LABELS), wanted[1])


@pytest.mark.parametrize("name", ["cuda", "cuda:7", "mps"])
def test_a_device_that_is_not_there_gives_way(folder, wanted, name, capfd):
    if name != "cuda:7" and devices.find_device("auto").type == name:
        pytest.skip(f"this computer has {name}")
    clip = load_clip(folder, device=name)
    said = capfd.readouterr().err
    assert said.count("\n") == 1 and f"the device {name} fails" in said
    assert "on the CPU" in said
    assert clip.device.type == "cpu"
    check_embeddings(clip, wanted)


def test_auto_takes_what_there_is(folder, monkeypatch, capfd):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert devices.find_device("auto") == torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert devices.find_device("auto") == torch.device("mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert devices.find_device("auto") == torch.device("cpu")
    assert load_clip(folder, device="auto").device.type == "cpu"
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", ["meta", "gpu", "", "cuda:", "cpu\n", None, 0])
def test_other_devices_are_refused_before_anything_is_opened(name, tmp_path):
    with pytest.raises(ValueError, match="device is one of"):
        load_clip(tmp_path, device=name)


class Failing:
    """Makes a model say that it is on an accelerator, which then fails."""

    def __init__(self, clip, monkeypatch, method, times):
        self.left, kind = times, type(clip.model)
        compute, to = getattr(kind, method), kind.to
        self.place = torch.device("cuda")

        def fail(model, *args, **kwargs):
            if self.place.type == "cuda" and self.left == 0:
                raise RuntimeError("CUDA out of memory. Tried to allocate …\nmore")
            self.left -= 1
            return compute(model, *args, **kwargs)

        def move(model, device):
            self.place = torch.device(device)
            return to(model, device)

        monkeypatch.setattr(kind, method, fail)
        monkeypatch.setattr(kind, "to", move)
        monkeypatch.setattr(type(clip), "device", property(lambda _: self.place))
        # Nothing but the model knows that it is no accelerator.
        monkeypatch.setattr(torch.Tensor, "to", lambda tensor, *a, **k: tensor)
        monkeypatch.setattr(
            "vlmtutor.models.clip.usual_torch",
            lambda device="cpu": contextlib.nullcontext(),
        )


@pytest.mark.parametrize("method", ["get_image_features", "get_text_features"])
@pytest.mark.parametrize("times", [0, 1])
def test_a_device_that_fails_in_the_middle_gives_way(
    folder, wanted, monkeypatch, capfd, method, times
):
    clip = load_clip(folder)
    with monkeypatch.context() as patch:
        Failing(clip, patch, method, times)
        images = clip.encode_images(PICTURES, batch_size=1)
        texts = clip.encode_texts(LABELS, batch_size=1)
        assert clip.device.type == "cpu"
    said = capfd.readouterr().err
    assert said.count("\n") == 1 and "CUDA out of memory" in said
    assert "more" not in said
    torch.testing.assert_close(images, wanted[0])
    torch.testing.assert_close(texts, wanted[1])


def test_an_error_on_the_cpu_is_no_device_that_fails(folder, capfd):
    clip = load_clip(folder)
    with pytest.raises((RuntimeError, ValueError)):
        clip.encode_pixels(torch.zeros(1, 5, 32, 32))
    assert "device" not in capfd.readouterr().err


@contextlib.contextmanager
def inference():
    with torch.inference_mode():
        yield


@contextlib.contextmanager
def default(dtype=torch.float32, device=None):
    """As a learner may set it at the top of a notebook."""
    torch.set_default_dtype(dtype)
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)


SWITCHES = {
    "inference mode": inference,
    "float64": lambda: default(torch.float64),
    "bfloat16": lambda: default(torch.bfloat16),
    "float16": lambda: default(torch.float16),
    "another device": lambda: default(device="meta"),
    "both": lambda: default(torch.float64, "meta"),
    "no gradients": torch.no_grad,
}


def check_use(clip, folder, tmp_path, wanted):
    """Every way in: the same numbers as ever."""
    check_embeddings(clip, wanted)
    images, texts = clip.encode_images(PICTURES), clip.encode_texts(LABELS)
    for tensor in (images, texts):
        assert tensor.dtype == torch.float32 and tensor.device.type == "cpu"
        assert not tensor.is_inference()
    shares = vt.zero_shot(clip, PICTURES, LABELS, "{}")
    found = match(PICTURES, LABELS, clip, cache=EmbeddingCache())
    torch.testing.assert_close(found.scores, wanted[0] @ wanted[1].T)
    assert shares.dtype == torch.float32 and shares.shape == (2, 2)


@pytest.mark.parametrize("switch", SWITCHES)
def test_what_is_set_globally_changes_nothing(folder, wanted, switch, tmp_path):
    before = load_clip(folder)
    with SWITCHES[switch]():
        check_use(before, folder, tmp_path, wanted)
        within = load_clip(folder)
        check_use(within, folder, tmp_path, wanted)
        assert torch.empty(0, device="cpu").dtype == torch.get_default_dtype()
    for clip in (before, within):
        assert {p.dtype for p in clip.model.parameters()} == {torch.float32}
        assert not any(p.is_inference() for p in clip.model.parameters())
        check_use(clip, folder, tmp_path, wanted)


@pytest.mark.parametrize("switch", SWITCHES)
def test_gradients_and_heat_maps_after_what_was_set(tmp_path, switch):
    folder = write_clip(tmp_path / "tiny")
    with SWITCHES[switch]():
        clip = load_clip(folder)
        within = explain(clip, PICTURES[0], "red")
    heat = explain(clip, PICTURES[0], "red")
    assert heat.shape == (4, 4) and heat.isfinite().all()
    torch.testing.assert_close(within, heat)
    values = clip.preprocess(PICTURES).requires_grad_()
    clip.image_features(values).sum().backward()
    assert values.grad.isfinite().all()


@pytest.mark.parametrize("switch", [s for s in SWITCHES if s != "inference mode"])
def test_a_whole_folder_whatever_is_set(folder, switch, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("red", "blue"):
        plain(name).save(tmp_path / "in" / f"{name}.png")
    reports = []
    for out, state in (("usual", contextlib.nullcontext), ("set", SWITCHES[switch])):
        with state():
            clip = load_clip(folder)
            report = caption_folder(
                tmp_path / "in", LABELS, tmp_path / out, clip, progress=False
            )
        assert len(report.memes) == 2
        reports.append(report.path.read_text())
    assert reports[0] == reports[1]
