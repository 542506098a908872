"""What happens to input that is not as it should be.

First every kind by itself, then hundreds of random cases: none may stop a
run, none may get lost, nothing is written outside the output folder.
"""

import hashlib
import io
import json
import os
import pickle
import socket
import sys
import time
import zipfile

import hostile
import numpy as np
import pytest
from clip_folders import write_clip
from fake_clip import ColourClip, plain
from huggingface_hub import constants
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from vlmtutor import MemeStudio
from vlmtutor.memes import (
    STYLES,
    UnreadablePicture,
    caption_folder,
    match,
    read_captions,
    render,
)
from vlmtutor.memes.captions import unique_captions
from vlmtutor.memes.letters import clean_text
from vlmtutor.memes.names import safe_stem
from vlmtutor.memes.studio.files import save_meme, save_zip
from vlmtutor.memes.studio.state import StudioState
from vlmtutor.models import ModelNotFound, load_clip
from vlmtutor.models import pictures as pictures_module

CAPTIONS = ["a red thing", "a blue thing", "something green"]
ON_LINUX = sys.platform.startswith("linux")
NO_BOMB_WARNING = pytest.mark.filterwarnings(
    "ignore::PIL.Image.DecompressionBombWarning"
)
QUIET = pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, on tears
ATTACK = {
    "deadline": None,
    "derandomize": True,
    "suppress_health_check": list(HealthCheck),
}


def snapshot(folder):
    """Everything below a folder: bytes, time of change, target of links."""
    found = {}
    for root, folders, files in os.walk(folder):
        for name in folders + files:
            path = os.path.join(root, name)
            status = os.lstat(path)
            content = None
            if os.path.isfile(path):
                with open(path, "rb") as file:
                    content = file.read()
            found[path] = (status.st_mode, status.st_mtime_ns, content)
    return found


def run(pictures, out, captions=CAPTIONS, **options):
    clip = options.pop("clip", None) or ColourClip()
    return caption_folder(pictures, captions, out, clip, progress=False, **options)


def check_run(pictures, out, captions=CAPTIONS, **options):
    """Run, and check what must be true of every run whatsoever."""
    base = pictures.parent
    before = {k: v for k, v in snapshot(base).items() if not k.startswith(str(out))}
    names = sorted(os.listdir(pictures))
    report = run(pictures, out, captions, **options)
    after = {k: v for k, v in snapshot(base).items() if not k.startswith(str(out))}
    before.pop(str(base), None)
    assert after == before, "something outside the output folder changed"
    accounted = [m.source for m in report.memes]
    accounted += [s.name for s in report.skipped]
    assert sorted(accounted) == names, "a file got lost"
    assert all(skip.reason for skip in report.skipped)
    files = [m.file.casefold() for m in report.memes]
    assert len(set(files)) == len(files)
    for meme in report.memes:
        with Image.open(out / meme.file) as image:
            image.load()
            assert image.mode == "RGB"
    visible = {n for n in os.listdir(out) if not n.startswith(".")}
    expected = {m.file for m in report.memes}
    expected |= {p.name for p in report.galleries} | {report.path.name}
    assert visible == expected
    data = json.loads(report.path.read_text("utf-8"))
    assert len(data["memes"]) + len(data["skipped"]) == len(names)
    return report


@pytest.fixture
def box(tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    return pictures, tmp_path / "out"


def saved(image, format="PNG", **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


# A file that is no image, is truncated, or is a decompression bomb.


@NO_BOMB_WARNING
def test_bad_files_are_named_and_the_rest_goes_on(box):
    pictures, out = box
    noise = np.random.default_rng(0).integers(0, 255, (90, 90, 3), np.uint8)
    whole = saved(Image.fromarray(noise), "JPEG")
    files = {
        "bomb.png": hostile.bomb(50_000, 50_000),
        "cut.jpg": whole[: len(whole) // 2],
        "empty.png": b"",
        "good.jpg": whole,
        "script.png": b"#!/bin/sh\nexit 1\n",
    }
    for name, data in files.items():
        (pictures / name).write_bytes(data)
    report = check_run(pictures, out)
    assert [m.source for m in report.memes] == ["good.jpg"]
    reasons = {s.name: s.reason for s in report.skipped}
    assert "too large" in reasons["bomb.png"]
    assert "truncated" in reasons["cut.jpg"]
    assert reasons["empty.png"] == "an empty file"
    assert "not a picture" in reasons["script.png"]


@NO_BOMB_WARNING
def test_a_bomb_is_never_decoded(monkeypatch):
    def decode(image):
        raise AssertionError("it went off")

    monkeypatch.setattr(pictures_module, "as_seen", decode)
    for side in (9_000, 11_000, 2**31 - 1):
        data = hostile.bomb(side, side)
        with pytest.raises(pictures_module.UnreadablePicture, match="too large"):
            pictures_module.decode_picture(data)


# CMYK, palette, 16-bit, alpha, EXIF-rotated, animated.


def test_unusual_pictures_are_read_as_a_person_sees_them(box):
    pictures, out = box
    red = Image.new("RGB", (60, 40), "red")
    exif = Image.Exif()
    exif[0x0112] = 6
    ramp = np.full((40, 60), 40_000, np.uint16)
    files = {
        "alpha.png": saved(Image.new("RGBA", (60, 40), (0, 0, 0, 0))),
        "animated.gif": saved(
            red,
            "GIF",
            save_all=True,
            append_images=[Image.new("RGB", (60, 40), "blue")],
        ),
        "cmyk.jpg": saved(red.convert("CMYK"), "JPEG"),
        "palette.png": saved(red.quantize(4)),
        "rotated.jpg": saved(red, "JPEG", exif=exif),
        "sixteen.png": saved(Image.fromarray(ramp)),
    }
    for name, data in files.items():
        (pictures / name).write_bytes(data)
    report = check_run(pictures, out, style="below")
    assert len(report.memes) == len(files)
    shown = {}
    for meme in report.memes:
        with Image.open(out / meme.file) as image:
            width = image.width
            shown[meme.source] = image.convert("RGB").getpixel((5, 5))
            assert width == (40 if meme.source == "rotated.jpg" else 60)
    for name in ("animated.gif", "cmyk.jpg", "palette.png", "rotated.jpg"):
        red_, green, blue = shown[name]
        assert red_ > 190 and green < 60 and blue < 60, name
    assert shown["alpha.png"] == (255, 255, 255)
    assert abs(shown["sixteen.png"][0] - 40_000 / 257) <= 1


# No pictures, no captions, captions of any kind.


def test_empty_folder_and_no_captions_say_what_to_do(box):
    pictures, out = box
    with pytest.raises(ValueError, match="put some pictures there"):
        run(pictures, out)
    plain("red").save(pictures / "red.png")
    with pytest.raises(ValueError, match="at least one"):
        run(pictures, out, [])
    empty = out.parent / "captions.txt"
    empty.write_text("# only this\n")
    with pytest.raises(ValueError, match="write one on each line"):
        run(pictures, out, empty)
    with pytest.raises(ValueError, match="no captions"):
        match([plain("red")], [], ColourClip())


@pytest.mark.parametrize("text", hostile.NASTY_TEXTS)
@pytest.mark.parametrize("style", STYLES)
def test_any_caption_is_drawn_inside(text, style):
    picture = Image.new("RGB", (160, 120), (90, 140, 90))
    meme = render(picture, text, style)
    if style in ("above", "below") or (style == "auto" and meme.height > 120):
        # beside the picture, where auto puts what would hide too much of it
        assert meme.width == 160 and meme.height <= 120 + 90
        return
    assert meme.size == (160, 120)
    pixels = np.asarray(meme) != (90, 140, 90)
    edge = np.ones(pixels.shape[:2], bool)
    edge[1:-1, 1:-1] = False
    assert not pixels[edge].any()


def test_odd_captions_go_through_the_whole_run(box):
    pictures, out = box
    plain("red").save(pictures / "red.png")
    plain("blue").save(pictures / "blue.png")
    texts = [*hostile.NASTY_TEXTS, "a red thing"]
    report = check_run(pictures, out, texts)
    assert report.settings["captions"] == len(unique_captions(texts))


@NO_BOMB_WARNING
def test_a_real_clip_takes_whatever_the_reader_and_the_words_give(box):
    pictures, out = box
    clip = load_clip(write_clip(pictures.parent / "clip"))
    for mode in ("1", "L", "LA", "P", "RGBA", "I;16", "I", "F", "CMYK"):
        for size in ((33, 200), (200, 33)):
            name = f"{mode}-{size[0]}.png".replace(";", "_")
            data = hostile.odd_picture(mode, *size)
            (pictures / name).write_bytes(data)
    (pictures / "bomb.png").write_bytes(hostile.bomb(9_000, 9_000))
    report = check_run(pictures, out, hostile.NASTY_TEXTS, clip=clip)
    assert len(report.memes) == 18 and len(report.skipped) == 1
    raw = match([plain("red")], ["\ud800", "?", "", "x" * 10_000], clip)
    assert raw.scores.isfinite().all()
    assert raw.scores[0, 0] == raw.scores[0, 1]


# A model that is not to be had; pickled weights.


def test_an_unknown_model_is_one_quick_error(monkeypatch):
    def no_network(*args, **kwargs):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    started = time.perf_counter()
    with pytest.raises(ModelNotFound) as error:
        load_clip("nobody/has-this-clip")
    assert time.perf_counter() - started < 5
    said = str(error.value)
    assert "nobody/has-this-clip" in said and "Looked for" in said
    assert "Ways on" in said and "vt.load_clip()" in said


def test_the_network_is_asked_once_and_with_a_short_limit(tmp_path, monkeypatch):
    asked = []

    def refuse(address, limit=None, *args, **kwargs):
        asked.append(limit)
        raise OSError("no way out")

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    started = time.perf_counter()
    with pytest.raises(ModelNotFound) as error:
        load_clip("nobody/has-this-clip", download=True)
    assert time.perf_counter() - started < 5
    assert 1 <= len(asked) <= 2  # the client may ask for something itself
    assert all(limit is not None and limit <= 4 for limit in asked)
    said = str(error.value)
    assert "nobody/has-this-clip" in said and "Ways on" in said


class Trap:
    """Unpickling it makes a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_pickled_weights_are_refused_unopened(tmp_path):
    folder = write_clip(tmp_path / "clip")
    (folder / "model.safetensors").unlink()
    trap = pickle.dumps(Trap(tmp_path / "sprung"))
    (folder / "pytorch_model.bin").write_bytes(trap)
    with pytest.raises(ModelNotFound, match="pickled weights.*refused"):
        load_clip(folder)
    (folder / "model.safetensors").write_bytes(trap)  # under a false name
    with pytest.raises(ModelNotFound, match="Ways on"):
        load_clip(folder)
    assert not (tmp_path / "sprung").exists()
    pickle.loads(trap)  # the trap does work
    assert (tmp_path / "sprung").is_dir()


# Names that try to get out; an output folder that exists.


@settings(max_examples=200)
@given(st.one_of(hostile.file_names(), hostile.upload_names()))
@example("../../x.png")
@example("/etc/passwd")
@example("C:\\x.png")
def test_no_name_leads_out_of_the_folder(name):
    target = os.path.normpath(os.path.join("/out", safe_stem(name) + ".png"))
    assert os.path.dirname(target) == os.path.normpath("/out")


def test_an_upload_that_climbs_stays_in_the_folder(tmp_path):
    out = tmp_path / "a" / "b" / "out"
    state = StudioState(ColourClip(), CAPTIONS, out)
    for name in ("../../x.png", "..\\..\\x.png", "/x.png", "x.png"):
        state.add_upload(name, saved(plain("red")))
        assert save_meme(state, len(state.pictures) - 1).parent == out
    names = [picture.name for picture in state.pictures]
    assert names == ["x.png", "x-2.png", "x-3.png", "x-4.png"]
    assert {p.name for p in out.iterdir()} == {*names, ".vlmtutor"}
    assert {p.name for p in tmp_path.rglob("*.png")} == set(names)


def test_an_output_folder_that_exists_keeps_its_files(box):
    pictures, out = box
    plain("red").save(pictures / "red.png")
    out.mkdir()
    for name in ("red.png", "report.json", "gallery.png", "letter.txt"):
        (out / name).write_text("precious")
    for style in ("classic", "below"):
        report = run(pictures, out, style=style)
        assert report.memes[0].file == "red-2.png"
    for name in ("red.png", "report.json", "gallery.png", "letter.txt"):
        assert (out / name).read_text() == "precious"


def test_what_has_a_name_that_no_file_can_hold(box):
    pictures, out = box
    plain("red").save(pictures / "red.png")
    clip = ColourClip()
    clip.name = "folder-\udcff"  # as os.listdir gives undecodable bytes
    report = check_run(pictures, out, clip=clip)
    assert "folder-" in report.path.read_text("utf-8")


# Everything at once, at random.


@NO_BOMB_WARNING
@QUIET
def test_hundreds_of_hostile_folders(tmp_path_factory, monkeypatch):
    # Damaged headers may claim any size; decoding the largest would be slow.
    monkeypatch.setattr(pictures_module, "MAX_PIXELS", 2_000_000)
    names = hostile.file_names() if ON_LINUX else hostile.plain_names()
    cases = {"files": 0, "captions": 0, "memes": 0, "skipped": 0}

    @settings(max_examples=80, **ATTACK)
    @given(
        files=st.dictionaries(names, hostile.file_contents(), min_size=5, max_size=9),
        texts=st.lists(hostile.captions(), min_size=2, max_size=5),
        style=st.sampled_from([s for s in STYLES if s != "auto"]),  # needs a real CLIP
        assign=st.sampled_from(["best", "one_to_one"]),
    )
    def attack(files, texts, style, assign):
        base = tmp_path_factory.mktemp("hostile")
        pictures, out = base / "pictures", base / "out"
        pictures.mkdir()
        (base / "bystander.txt").write_text("leave me alone")
        for name, data in files.items():
            (pictures / name).write_bytes(data)
        texts = [*texts, "a red thing"]
        if all(name.startswith(".") for name in files):
            plain("red").save(pictures / "red.png")
        report = check_run(pictures, out, texts, style=style, assign=assign)
        cases["files"] += len(files)
        cases["captions"] += len(texts)
        cases["memes"] += len(report.memes)
        cases["skipped"] += len(report.skipped)

    attack()
    assert cases["files"] >= 200 and cases["captions"] >= 100
    # Both ways through were taken often.
    assert cases["memes"] >= 40 and cases["skipped"] >= 100


@NO_BOMB_WARNING
@QUIET
def test_a_hundred_hostile_uploads(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(pictures_module, "MAX_PIXELS", 2_000_000)
    cases = {"taken": 0, "refused": 0}
    uploads = st.tuples(hostile.upload_names(), hostile.file_contents())

    @settings(max_examples=40, **ATTACK)
    @given(st.lists(uploads, min_size=4, max_size=8), hostile.captions())
    def attack(uploads, caption):
        base = tmp_path_factory.mktemp("uploads")
        out = base / "a" / "out"
        (base / "bystander.txt").write_text("leave me alone")
        before = snapshot(base)
        state = StudioState(ColourClip(), CAPTIONS, out)
        for name, data in uploads:
            known = len(state.pictures)
            try:
                state.add_upload(name, data)
            except UnreadablePicture as reason:
                assert str(reason) and len(state.pictures) == known
                cases["refused"] += 1
            else:
                assert len(state.pictures) == known + 1
                cases["taken"] += 1
        paths = []
        for i in range(len(state.pictures)):
            state.write(i, caption)
            assert state.caption(i) == clean_text(caption)
            paths.append(save_meme(state, i))
        assert len(set(paths)) == len(paths)
        with zipfile.ZipFile(save_zip(state)) as file:
            inside = file.namelist()
        assert len(inside) == len(set(inside)) == len(paths) + 1
        for name in inside:
            assert name == os.path.basename(name.replace("\\", "/"))
        assert all(path.parent == out and path.is_file() for path in paths)
        after = {
            k: v for k, v in snapshot(base).items() if not k.startswith(str(base / "a"))
        }
        assert after == before
        assert os.listdir(base / "a") == ["out"]

    attack()
    assert sum(cases.values()) >= 100 and min(cases.values()) >= 25


@NO_BOMB_WARNING
@QUIET
def test_a_hundred_hostile_words_in_every_field(tmp_path, monkeypatch, capsys):
    """The widgets take any text; what they cannot do they say."""
    monkeypatch.setattr(pictures_module, "MAX_PIXELS", 2_000_000)
    monkeypatch.chdir(tmp_path)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for color in ("red", "blue"):
        plain(color).save(pictures / f"{color}.png")
    studio = MemeStudio(pictures, CAPTIONS, ColourClip(), tmp_path / "out")
    ui, before = studio.ui, snapshot(tmp_path)
    cases = {"words": 0, "captions": 0, "no captions": 0, "no folder": 0}

    @settings(max_examples=30, **ATTACK)
    @given(
        hostile.captions(),
        hostile.captions(),
        hostile.captions(),
        hostile.upload_names() if ON_LINUX else hostile.plain_names(),
    )
    def attack(words, captions, questions, folder):
        ui.words.value = words
        assert studio.state.caption(ui.picture.value) == ui.words.value
        assert ui.words.value == clean_text(words)
        cases["words"] += 1
        ui.captions.value = captions + "\nred"
        assert "red" in studio.state.captions
        cases["captions"] += 1
        ui.captions.value = "# " + " ".join(captions.splitlines())
        assert "no captions" in ui.status.value
        assert "red" in studio.state.captions
        cases["no captions"] += 1
        ui.why_words.value = questions  # a clip that cannot be asked why
        assert "<img" not in ui.heat.value
        ui.folder.value = f"none{folder}"
        ui.load.click()
        assert "vt-problem" in ui.status.value, ui.status.value
        assert len(studio.state.pictures) == 2
        cases["no folder"] += 1
        ui.next.click()
        assert "<script" not in ui.status.value + ui.chart.value

    attack()
    assert sum(cases.values()) >= 100
    assert snapshot(tmp_path) == before
    assert capsys.readouterr().out == ""


def test_a_hundred_hostile_caption_files(tmp_path):
    path = tmp_path / "captions.txt"
    cases = {"read": 0, "refused": 0}
    texts = st.lists(hostile.captions(), max_size=5).map("\n".join)
    encoded = st.builds(
        lambda text, code: text.encode(code, "replace"),
        texts,
        st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1"]),
    )
    made_for_programs = st.builds(
        bytes.__add__, st.sampled_from([b"{\\rtf1", b"<html>", b'["a", "']), encoded
    )

    @settings(max_examples=120, **ATTACK)
    @given(st.one_of(st.binary(max_size=200), encoded, made_for_programs))
    def attack(data):
        path.write_bytes(data)
        try:
            captions = read_captions(path)
        except ValueError as reason:
            assert str(path) in str(reason)
            cases["refused"] += 1
        else:
            assert captions == unique_captions(captions) and all(captions)
            cases["read"] += 1

    attack()
    assert sum(cases.values()) >= 100 and min(cases.values()) >= 20


def test_a_damaged_memory_of_earlier_runs_does_no_harm(box):
    pictures, out = box
    for color in ("red", "blue"):
        plain(color).save(pictures / f"{color}.png")
    check_run(pictures, out)
    journal = out / ".vlmtutor" / "journal.jsonl"
    whole = journal.read_bytes()
    victim = pictures.parent / "victim.txt"
    victim.write_text("precious")
    digest = hashlib.sha256(b"precious").hexdigest()
    entry = {
        "role": "gallery 2",
        "file": "../victim.txt",
        "key": "",
        "sha256": digest,
        "replaces": digest,
    }
    evil = [entry, entry | {"file": str(victim)}, entry | {"file": ".."}]

    @settings(max_examples=25, **ATTACK)
    @given(
        st.one_of(st.binary(max_size=300), st.sampled_from(evil)),
        st.integers(0, len(whole)),
    )
    def attack(content, at):
        if isinstance(content, dict):
            content = json.dumps(content).encode()
        journal.write_bytes(whole[:at] + b"\n" + content + b"\n")
        report = run(pictures, out)
        assert len(report.memes) == 2 and not report.skipped
        assert victim.read_text() == "precious"
        for meme in report.memes:
            Image.open(out / meme.file).load()

    attack()
