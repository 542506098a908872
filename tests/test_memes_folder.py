import json
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_clip import COLOURS, ColourClip, TinyClip, plain
from PIL import Image

from vlmtutor import MemeStudio, fonts
from vlmtutor.figures import as_image
from vlmtutor.memes import caption_folder, letters, match, read_picture, render, writing
from vlmtutor.memes import folder as folder_module
from vlmtutor.memes import gallery as gallery_module

CAPTIONS = [f"something {color}" for color in COLOURS]


@pytest.fixture
def box(tmp_path):
    """A folder with a picture of each colour, and where memes go."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for color in COLOURS:
        plain(color).save(pictures / f"{color}.png")
    return pictures, tmp_path / "memes"


def run(pictures, out, captions=CAPTIONS, clip=None, **options):
    options.setdefault("progress", False)
    clip = clip or ColourClip()
    return caption_folder(pictures, captions, out, clip, **options)


def contents(folder):
    """Every file below a folder with its bytes and time of change."""
    return {
        path.relative_to(folder): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def visible(out):
    return {p.name for p in out.iterdir() if not p.name.startswith(".")}


def test_every_picture_gets_its_caption(box):
    pictures, out = box
    before = contents(pictures)
    report = run(pictures, out)
    assert {m.source: m.caption for m in report.memes} == {
        f"{color}.png": f"something {color}" for color in COLOURS
    }
    assert visible(out) == {*os.listdir(pictures), "gallery.png", "report.json"}
    for meme in report.memes:
        with Image.open(out / meme.file) as image:
            assert image.size == (80, 60)
            assert len(image.getcolors(9999)) > 5  # letters are on it
    assert contents(pictures) == before
    assert "8 memes in" in report.summary()
    assert not list(out.rglob("*.part"))


def test_report_on_disk_tells_the_same(box):
    pictures, out = box
    (pictures / "broken.jpg").write_bytes(b"no")
    report = run(pictures, out, style="top", assign="one_to_one")
    data = json.loads((out / "report.json").read_text("utf-8"))
    assert data["settings"]["model"] == "colour-clip"
    assert data["settings"]["style"] == "top"
    assert data["settings"]["assign"] == "one_to_one"
    assert [m["source"] for m in data["memes"]] == sorted(f"{c}.png" for c in COLOURS)
    for entry, meme in zip(data["memes"], report.memes, strict=True):
        assert entry["score"] == pytest.approx(meme.score, abs=1e-6)
        assert entry["caption"] == meme.caption
        assert len(entry["alternatives"]) == 3
        shares = [other["probability"] for other in entry["alternatives"]]
        assert shares == sorted(shares, reverse=True)
    (skip,) = data["skipped"]
    assert skip["name"] == "broken.jpg" and "not a picture" in skip["reason"]
    assert data["galleries"] == ["gallery.png"]


def test_a_second_run_does_nothing_again(box):
    pictures, out = box
    first = run(pictures, out)
    before = contents(out)
    clip = ColourClip()
    second = run(pictures, out, clip=clip)
    assert contents(out) == before
    assert clip.images == [] and clip.texts == []
    assert second.memes == first.memes
    assert (first.written, second.written) == (8, 0)
    assert "8 of them there from an earlier run" in second.summary()


def test_without_resume_everything_is_done_again(box):
    pictures, out = box
    run(pictures, out)
    before = contents(out)
    clip = ColourClip()
    report = run(pictures, out, clip=clip, resume=False)
    assert report.written == 8 and len(clip.images) == 8
    names = {
        str(k): v[0] for k, v in contents(out).items() if k.parts[0] != ".vlmtutor"
    }
    assert names == {
        str(k): v[0] for k, v in before.items() if k.parts[0] != ".vlmtutor"
    }


def test_changed_captions_replace_only_what_changes(box):
    pictures, out = box
    run(pictures, out)
    before = contents(out)
    captions = ["so very red" if "red" in c else c for c in CAPTIONS]
    clip = ColourClip()
    report = run(pictures, out, captions, clip)
    assert clip.images == [] and clip.texts == ["so very red"]
    assert report.written == 1
    after = contents(out)
    changed = {
        str(k) for k in after if after[k] != before.get(k) and k.parts[0] != ".vlmtutor"
    }
    assert changed == {"red.png", "gallery.png", "report.json"}


def test_a_renamed_picture_is_not_encoded_again(box):
    pictures, out = box
    run(pictures, out)
    (pictures / "red.png").rename(pictures / "crimson.png")
    clip = ColourClip()
    report = run(pictures, out, clip=clip)
    assert clip.images == [] and report.written == 1
    assert "crimson.png" in {meme.source for meme in report.memes}


def test_another_model_encodes_for_itself(box):
    pictures, out = box
    run(pictures, out, clip=TinyClip(0))
    for seed, fresh in ((0, 0), (1, 8), (1, 0), (0, 0)):
        clip = TinyClip(seed)
        run(pictures, out, clip=clip)
        assert clip.pictures == fresh


@pytest.mark.parametrize("stage", ["encoding", "drawing", "gallery"])
def test_an_interrupted_run_goes_on_where_it_stopped(box, stage, monkeypatch):
    pictures, out = box
    clip = ColourClip()
    calls = 0

    def breaks_off(function, after):
        def call(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls > after:
                raise KeyboardInterrupt
            return function(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        if stage == "encoding":
            patch.setattr(clip, "encode_images", breaks_off(clip.encode_images, 2))
        elif stage == "drawing":
            patch.setattr(writing, "draw", breaks_off(writing.draw, 3))
        else:
            patch.setattr(
                gallery_module, "draw_page", breaks_off(gallery_module.draw_page, 0)
            )
        with pytest.raises(KeyboardInterrupt):
            run(pictures, out, clip=clip, batch_size=2)
    again = ColourClip()
    report = run(pictures, out, clip=again, batch_size=2)
    done = {"encoding": (4, 0), "drawing": (8, 3), "gallery": (8, 8)}[stage]
    assert len(again.images) == 8 - done[0]
    assert report.written == 8 - done[1]
    assert len(report.memes) == 8 and not report.skipped
    assert visible(out) == {*os.listdir(pictures), "gallery.png", "report.json"}
    assert not list(out.rglob("*.part"))


def test_files_of_the_user_are_never_touched(box):
    pictures, out = box
    out.mkdir()
    for name in ("red.png", "gallery.png", "report.json", "BLUE.png"):
        (out / name).write_text(f"mine: {name}")
    mine = contents(out)
    for _ in range(2):
        report = run(pictures, out)
        after = contents(out)
        assert {k: after[k] for k in mine} == mine
        files = {m.source: m.file for m in report.memes}
        assert files["red.png"] == "red-2.png"
        assert files["blue.png"] == "blue-2.png"
        assert report.path.name == "report-2.json"
        assert report.galleries[0].name == "gallery-2.png"


def test_a_meme_that_somebody_changed_is_theirs_now(box):
    pictures, out = box
    run(pictures, out)
    plain("white").save(out / "red.png")
    retouched = (out / "red.png").read_bytes()
    report = run(pictures, out, style="below")
    assert (out / "red.png").read_bytes() == retouched
    assert {m.source: m.file for m in report.memes}["red.png"] == "red-2.png"
    with Image.open(out / "green.png") as image:
        assert image.height > 60  # ours was replaced


def test_a_deleted_meme_comes_back(box):
    pictures, out = box
    run(pictures, out)
    (out / "red.png").unlink()
    assert run(pictures, out).written == 1
    assert (out / "red.png").exists()


def test_out_may_lie_in_the_folder_but_not_be_it(box):
    pictures, _ = box
    for _ in range(2):
        report = run(pictures, pictures / "memes")
        assert len(report.memes) == 8 and not report.skipped
    with pytest.raises(ValueError, match="name another folder"):
        run(pictures, pictures)
    with pytest.raises(ValueError, match="name another folder"):
        run(pictures, pictures / "memes" / "..")


@pytest.mark.skipif(os.name != "posix", reason="links need rights elsewhere")
def test_the_folder_in_other_letters_is_the_folder_still(box, monkeypatch):
    pictures, out = box
    out.symlink_to(pictures)  # as "Pictures" is "pictures" where capitals say nothing
    monkeypatch.setattr(os.path, "realpath", lambda p, **_: os.path.abspath(p))
    with pytest.raises(ValueError, match="name another folder"):
        run(pictures, out)
    studio = MemeStudio(pictures, CAPTIONS, ColourClip(), out)
    studio.ui.save.click()
    assert "name another folder" in studio.ui.status.value
    assert len(os.listdir(pictures)) == len(COLOURS)


def test_every_entry_is_in_the_report(box):
    pictures, out = box
    (pictures / "sub").mkdir()
    (pictures / ".DS_Store").write_bytes(b"x")
    (pictures / "notes.txt").write_text("not a picture")
    plain("red", (20, 20)).save(pictures / "speck.png")
    captions = pictures / "captions.txt"
    captions.write_text("\n".join(CAPTIONS), encoding="utf-8")
    if hasattr(os, "symlink") and os.name == "posix":
        (pictures / "nowhere.png").symlink_to(pictures / "gone.png")
        (pictures / "loop.png").symlink_to(pictures / "loop.png")
    report = run(pictures, out, captions)
    reasons = {skip.name: skip.reason for skip in report.skipped}
    listed = {m.source for m in report.memes} | set(reasons)
    assert listed == set(os.listdir(pictures)) - {"captions.txt"}
    assert "folder" in reasons["sub"] and reasons[".DS_Store"] == "hidden"
    assert "not a picture" in reasons["notes.txt"]
    assert "too small to write on: 20 x 20" in reasons["speck.png"]
    if "nowhere.png" in reasons:
        assert "no such file" in reasons["nowhere.png"]
        assert "cannot be opened" in reasons["loop.png"]
    assert f"{len(reasons)} files skipped" in report.summary()


def test_a_picture_replaced_during_the_run_gets_no_caption(box, monkeypatch):
    pictures, out = box
    real = folder_module.match_embeddings

    def late(*args, **kwargs):
        plain("blue").save(pictures / "red.png")
        return real(*args, **kwargs)

    monkeypatch.setattr(folder_module, "match_embeddings", late)
    report = run(pictures, out)
    (skip,) = report.skipped
    assert skip.name == "red.png" and "changed" in skip.reason
    monkeypatch.undo()
    captions = {m.source: m.caption for m in run(pictures, out).memes}
    assert captions["red.png"] == "something blue"


def test_another_engine_fills_the_cache_first(box, monkeypatch):
    from vlmtutor.memes import spread

    pictures, out = box
    filled = []

    def fill(embedder, paths, progress):
        filled.append([path.name for path in embedder.missing(paths)])
        list(embedder.images(paths))
        progress(8, 8)

    monkeypatch.setattr(spread, "fill", fill)
    report = run(pictures, out, engine="ray")
    assert filled == [sorted(p.name for p in pictures.iterdir())]
    assert report.memes == run(pictures, out.with_name("other")).memes
    run(pictures, out, engine="ray")
    assert filled[1] == []  # all was there
    with pytest.raises(ValueError, match="unknown engine 'spark'"):
        run(pictures, out, engine="spark")


def test_a_bar_tells_of_captions_and_of_pictures(box, capsys):
    pictures, out = box
    run(pictures, out, [f"caption {i}" for i in range(80)], progress=True)
    said = capsys.readouterr().err
    assert "80/80" in said and "8/8" in said and "caption" in said


def test_names_are_unique_and_none_of_ours(tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name in ("a.png", "a.webp", "a.bmp", "gallery.png", "report.png"):
        plain("red").save(pictures / name)
    plain("red").save(pictures / "photo.JPG")
    report = run(pictures, tmp_path / "out")
    assert {m.source: m.file for m in report.memes} == {
        "a.bmp": "a.png",
        "a.png": "a-2.png",
        "a.webp": "a.jpg",
        "gallery.png": "picture-gallery.png",
        "report.png": "picture-report.png",
        "photo.JPG": "photo.jpg",
    }
    with Image.open(tmp_path / "out" / "photo.jpg") as image:
        assert image.format == "JPEG"
    names = [m.file for m in run(pictures, tmp_path / "out").memes]
    assert names == [m.file for m in report.memes]


def test_more_pictures_than_captions_are_reported(box):
    pictures, out = box
    report = run(pictures, out, CAPTIONS[:3], assign="one_to_one")
    assert len(report.memes) == 3 and len(report.skipped) == 5
    assert all("no caption left" in s.reason for s in report.skipped)


def test_a_folder_without_a_readable_picture(tmp_path):
    pictures, out = tmp_path / "pictures", tmp_path / "out"
    pictures.mkdir()
    (pictures / "x.png").write_bytes(b"x")
    report = run(pictures, out)
    assert report.memes == [] and report.galleries == []
    assert len(report.skipped) == 1 and report.path.exists()


def test_galleries_of_many(box, monkeypatch):
    pictures, out = box
    monkeypatch.setattr(gallery_module, "PER_PAGE", 3)
    report = run(pictures, out)
    assert [p.name for p in report.galleries] == [
        "gallery.png",
        "gallery-2.png",
        "gallery-3.png",
    ]
    with Image.open(report.galleries[0]) as page:
        width, height = page.size
        assert width > 2 * gallery_module.CELL
        # Read left to right, by name: black comes first, then blue.
        third = gallery_module.GAP + gallery_module.CELL // 2
        assert max(page.getpixel((third, 150))) < 60
        assert page.getpixel((third + 312, 150))[2] > 150
    for color in list(COLOURS)[2:]:
        (pictures / f"{color}.png").unlink()
    assert len(run(pictures, out).galleries) == 1
    assert not (out / "gallery-2.png").exists()
    assert (out / "blue.png").exists()  # memes stay


def test_contact_sheets_of_a_folder_whose_name_begins_alike_stay(tmp_path):
    for name, color in (("holiday", "red"), ("holiday 2023", "blue")):
        (tmp_path / name).mkdir()
        plain(color).save(tmp_path / name / "a.png")
    first = run(tmp_path / "holiday 2023", tmp_path / "out")
    second = run(tmp_path / "holiday", tmp_path / "out")
    for report in (first, second):
        assert [sheet.exists() for sheet in report.galleries] == [True]


def test_a_meme_is_drawn_again_when_what_it_lacked_is_there(box, monkeypatch):
    pictures, out = box
    lacking = ["no font here has the letters"]
    monkeypatch.setattr(writing, "complaints", lambda *text: lacking)
    first = run(pictures, out)
    assert first.memes[0].notes == tuple(lacking)
    assert run(pictures, out).written == 0
    monkeypatch.undo()
    again = run(pictures, out)
    assert again.written == len(first.memes) and again.memes[0].notes == ()


def test_another_font_under_the_same_name_is_another_font(box, tmp_path):
    pictures, out = box
    mine, other = tmp_path / "mine.ttf", tmp_path / "other.ttf"
    for path, name in ((mine, "DejaVuSans.ttf"), (other, "DejaVuSans-Bold.ttf")):
        path.write_bytes(Path(fonts.dejavu(name)).read_bytes())
    first = run(pictures, out, font=mine)
    assert run(pictures, out, font=mine).written == 0
    other.replace(mine)  # a file that is open must not be written over
    assert run(pictures, out, font=mine).written == len(first.memes)


def test_memory_stays_flat(tmp_path, monkeypatch):
    import weakref

    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for i in range(40):
        plain("red", (100 + i, 80)).save(pictures / f"{i}.png")
    alive, most = [], 0

    def watched(function):
        def call(*args, **kwargs):
            nonlocal most
            picture = function(*args, **kwargs)
            alive.append(weakref.ref(picture))
            most = max(most, sum(ref() is not None for ref in alive))
            return picture

        return call

    from vlmtutor.memes import embed

    for module in (embed, writing):
        monkeypatch.setattr(module, "decode_picture", watched(module.decode_picture))
    report = run(pictures, tmp_path / "out", clip=TinyClip(), batch_size=4)
    assert len(report.memes) == 40 and len(alive) == 80
    assert most <= 8


def test_progress_is_shown_when_wanted(box, capfd):
    pictures, out = box
    run(pictures, out, progress=True)
    shown = capfd.readouterr().err
    assert "looking" in shown and "writing" in shown and "8/8" in shown
    assert re.search(r"8/8 \[\d\d:\d\d<\d\d:\d\d", shown)  # gone<left
    run(pictures, out, progress=False)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "options, message",
    [
        ({"style": "comic"}, "unknown style 'comic'"),
        ({"assign": "any"}, "unknown assignment 'any'"),
        ({"captions": []}, "no captions"),
        ({"captions": ["", "  "]}, "no captions"),
        ({"temperature": 0}, "temperature must be positive"),
        ({"temperature": float("inf")}, "temperature must be positive, got inf"),
        ({"temperature": float("nan")}, "temperature must be positive"),
        ({"temperature": 1e-320}, "temperature must be positive"),
        ({"precision": "int1"}, "unknown precision"),
    ],
)
def test_wrong_settings_leave_no_memes(box, options, message):
    pictures, out = box
    with pytest.raises(ValueError, match=message):
        run(pictures, out, **options)
    assert not out.exists()


@pytest.mark.parametrize("number", [np.float32, np.float64, torch.tensor, str])
def test_settings_of_other_libraries_are_plain_in_the_report(box, number):
    pictures, out = box
    run(pictures, out, temperature=number(0.5), upper=np.bool_(True))
    settings = json.loads((out / "report.json").read_text("utf-8"))["settings"]
    assert settings["temperature"] == 0.5 and settings["upper"] is True


@pytest.mark.parametrize("temperature", [float("inf"), 1e-320, -1.0])
def test_match_takes_the_temperatures_that_a_folder_takes(temperature):
    with pytest.raises(ValueError, match="temperature must be positive"):
        match([plain("red")], CAPTIONS, ColourClip(), temperature=temperature)


def test_a_name_that_no_folder_has_is_told(box, monkeypatch):
    pictures, out = box
    monkeypatch.chdir(pictures)
    for name in ("", "a\0b"):  # "" would be the folder that one is in
        for names in ((name, out), (pictures, name)):
            with pytest.raises(ValueError, match="no folder is called"):
                run(*names)
        with pytest.raises(ValueError, match="no folder is called"):
            MemeStudio(pictures, CAPTIONS, ColourClip(), name)
    assert not out.exists() and len(os.listdir(pictures)) == len(COLOURS)


def test_no_bar_is_drawn_where_there_is_no_screen(box, monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)  # so it is without a console
    assert len(run(*box, progress=True).memes) == len(COLOURS)


@pytest.mark.parametrize("lost", [0, 2])
def test_a_photo_that_had_to_be_mended_stays_one(tmp_path, monkeypatch, lost):
    for module in ("vlmtutor.models.pictures", "vlmtutor.memes.writing"):
        monkeypatch.setattr(f"{module}.MAX_PIXELS", 4_000)
    (tmp_path / "pictures").mkdir()
    whole = tmp_path / "pictures" / "a.jpg"
    plain("red", (90, 80)).save(whole)
    data = whole.read_bytes()
    stump = b"\xff\xe0\0\x07JFIF\0"  # which is too short for a header
    whole.write_bytes(data[:2] + stump + data[2 : len(data) - lost])
    report = run(tmp_path / "pictures", tmp_path / "out")
    assert [meme.file for meme in report.memes] == ["a.jpg"]
    assert report.remarks() == ["a.jpg: 90 x 80 pixels, read at half its size"]


def test_folders_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        run(tmp_path / "none", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="put some pictures there"):
        run(tmp_path / "empty", tmp_path / "out")
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotADirectoryError):
        run(tmp_path / "file", tmp_path / "out")
    (tmp_path / "empty" / "red.png").write_bytes(b"x")
    with pytest.raises(NotADirectoryError):
        run(tmp_path / "empty", tmp_path / "file")


# One file, one letter, one locked name must not end a run.


def test_what_is_too_long_for_a_jpeg_becomes_a_png(tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    plain("red", (66_000, 40)).save(pictures / "a.jpg", format="PNG")
    plain("blue", (200, 65_490)).save(pictures / "b.jpg")
    plain("green").save(pictures / "c.jpg")
    report = run(pictures, tmp_path / "out", style="below")
    assert [m.file for m in report.memes] == ["a.png", "b.png", "c.jpg"]
    with Image.open(tmp_path / "out" / "b.png") as meme:
        assert meme.height > 65_500


@pytest.mark.parametrize(
    "name, format, options, suffix",
    [
        ("a.jfif", "JPEG", {}, ".jpg"),
        ("a.jpe", "JPEG", {}, ".jpg"),
        ("a", "JPEG", {}, ".jpg"),
        ("a.png", "JPEG", {}, ".jpg"),
        ("a.webp", "WEBP", {}, ".jpg"),
        ("a.webp", "WEBP", {"lossless": True}, ".png"),
        ("a.jpg", "PNG", {}, ".png"),
        ("a.gif", "GIF", {}, ".png"),
    ],
)
def test_the_type_follows_what_was_decoded(tmp_path, name, format, options, suffix):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    plain("red").save(pictures / name, format, **options)
    (meme,) = run(pictures, tmp_path / "out").memes
    assert meme.file == "a" + suffix


def test_a_meme_that_cannot_be_written_is_skipped_by_name(box, monkeypatch):
    pictures, out = box
    run(pictures, out)
    real = os.replace

    def replace(source, target):
        if target.name in ("red.png", "gallery.png"):
            raise PermissionError(13, "used by another process", str(target))
        return real(source, target)

    monkeypatch.setattr("vlmtutor.memes.outbox._RETRIES", ())
    monkeypatch.setattr(os, "replace", replace)
    report = run(pictures, out, style="below")
    (skip,) = report.skipped
    assert skip.name == "red.png" and "used by another process" in skip.reason
    assert len(report.memes) == 7 and report.galleries == []
    assert report.remarks() == [
        "gallery.png cannot be written: used by another process"
    ]


def test_an_error_that_is_no_pictures_fault_is_not_blamed_on_them(box, monkeypatch):
    pictures, out = box
    real = writing.draw

    def broken(picture, caption, *args, **options):
        if all_fail or "red" in caption:
            raise ValueError("a setting that is wrong")
        return real(picture, caption, *args, **options)

    monkeypatch.setattr(writing, "draw", broken)
    all_fail = False
    report = run(pictures, out)
    (skip,) = report.skipped
    assert skip.name == "red.png" and "ValueError: a setting" in skip.reason
    all_fail = True
    with pytest.raises(ValueError, match="a setting that is wrong"):
        run(pictures, out, style="below")


def test_a_full_disk_ends_the_run_at_once(box, monkeypatch):
    pictures, out = box
    seen = []

    def full(picture, *args, **options):
        seen.append(picture)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing, "draw", full)
    with pytest.raises(OSError, match="No space left"):
        run(pictures, out)
    assert len(seen) == 1


def test_two_folders_with_one_name_keep_both_memes(tmp_path):
    for who, color in (("holiday", "red"), ("work", "blue")):
        (tmp_path / who).mkdir()
        plain(color).save(tmp_path / who / "IMG_1.png")
    first, second, again = (
        run(tmp_path / who, tmp_path / "memes")
        for who in ("holiday", "work", "holiday")
    )
    files = [report.memes[0].file for report in (first, second, again)]
    assert files == ["IMG_1.png", "IMG_1-2.png", "IMG_1.png"] and again.written == 0
    assert first.path.name == "report.json" and second.path.name == "report-2.json"
    (tmp_path / "holiday").rename(tmp_path / "trip")
    moved = tmp_path.parent / "moved"
    tmp_path.rename(moved)  # all together: nothing is new
    assert run(moved / "work", moved / "memes").written == 0
    moved.rename(tmp_path)


def test_a_folder_of_folders_says_where_to_look(tmp_path):
    for name in ("101APPLE", "100APPLE", ".thumbs"):
        (tmp_path / "DCIM" / name).mkdir(parents=True)
    with pytest.raises(ValueError, match="only folders.*100APPLE and 1 more"):
        run(tmp_path / "DCIM", tmp_path / "out")


def test_a_photo_read_at_half_its_size_is_told(box, monkeypatch):
    pictures, out = box
    monkeypatch.setattr("vlmtutor.models.pictures.MAX_PIXELS", 5_000)
    monkeypatch.setattr(writing, "MAX_PIXELS", 5_000)
    plain("red", (90, 80)).save(pictures / "large.jpg")
    report = run(pictures, out)
    (remark,) = report.remarks()
    assert remark == "large.jpg: 90 x 80 pixels, read at half its size"
    with Image.open(out / "large.jpg") as meme:
        assert meme.size == (45, 40)


def test_the_tilde_is_the_home_folder_for_every_path(tmp_path, monkeypatch):
    home, here = tmp_path / "home", tmp_path / "here"
    (home / "pictures").mkdir(parents=True), here.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.chdir(here)
    plain("red").save(home / "pictures" / "a.png")
    (home / "captions.txt").write_text("so red")
    (home / "font.ttf").write_bytes(open(letters.choose_face("a").path, "rb").read())
    report = run("~/pictures", "~/memes", "~/captions.txt", font="~/font.ttf")
    assert report.memes[0].caption == "so red" and report.out == home / "memes"
    clip, path = TinyClip(), "~/pictures/a.png"
    assert len(clip.encode_images([path])) == 1
    assert len(match([path], ["so red"], clip).chosen) == 1
    assert as_image(path).size == read_picture(path).size == render(path, "a").size
    studio = MemeStudio("~/pictures", "~/captions.txt", ColourClip(), "~/studio")
    studio.ui.save.click()
    assert (home / "studio" / "a.png").exists() and not list(here.iterdir())
