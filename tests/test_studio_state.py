"""What the studio does, without widgets."""

import io
import json
import sys
import zipfile

import pytest
import torch
from fake_clip import ColourClip, TinyClip, plain
from hostile import chunk, real_picture
from PIL import Image

from vlmtutor.memes import UnreadablePicture, caption_folder, match, render
from vlmtutor.memes.explain import brightest
from vlmtutor.memes.studio import state as state_module
from vlmtutor.memes.studio.files import png_bytes, preview, save_meme, save_zip
from vlmtutor.memes.studio.state import StudioState

CAPTIONS = ["red lips", "green peas", "blue moon", "yellow fever"]
NAMES = ("blue", "green", "red")  # in the order of their files


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for color in NAMES:
        plain(color).save(folder / f"{color}.png")
    return folder


@pytest.fixture
def state(folder, tmp_path):
    state = StudioState(ColourClip(), CAPTIONS, tmp_path / "out")
    state.load_folder(folder)
    return state


def chosen(state):
    return [state.caption(i) for i in range(len(state.pictures))]


def as_png(image):
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


BEST = ["blue moon", "green peas", "red lips"]


def test_each_picture_gets_its_caption(state):
    assert [p.name for p in state.pictures] == [f"{n}.png" for n in NAMES]
    assert chosen(state) == BEST
    assert state.summary() == "3 pictures, 4 captions, colour-clip"


def test_files_that_are_no_pictures_are_named(state, folder):
    (folder / "notes.png").write_text("no picture")
    (folder / "captions.txt").write_text("skipped in silence")
    plain("red", (8, 8)).save(folder / "tiny.png")
    assert state.load_folder(folder) == 3
    assert [s.name for s in state.skipped] == ["notes.png", "tiny.png"]
    assert "too small" in state.skipped[1].reason


def test_a_folder_that_is_not_there_changes_nothing(state, folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        state.load_folder(tmp_path / "nowhere")
    with pytest.raises(NotADirectoryError):
        state.load_folder(folder / "red.png")
    assert chosen(state) == BEST


def test_an_empty_upload_is_called_what_an_empty_file_is(state, folder):
    (folder / "x.png").write_bytes(b"")
    state.load_folder(folder)
    (skip,) = (s for s in state.skipped if s.name == "x.png")
    with pytest.raises(UnreadablePicture) as told:
        state.add_upload("x.png", b"")
    assert str(told.value) == skip.reason == "an empty file"


def test_an_upload_joins_and_outlives_a_new_folder(state, folder):
    picture = state.add_upload("../../red.png", as_png(plain("yellow")))
    assert picture.is_upload and "/" not in picture.name
    assert picture.name != "red.png"  # taken by the folder's
    assert state.caption(3) == "yellow fever"
    state.load_folder(folder)
    assert [p.is_upload for p in state.pictures] == [False] * 3 + [True]
    with pytest.raises(UnreadablePicture):
        state.add_upload("a.png", b"no picture")
    assert len(state.pictures) == 4


def test_what_a_person_writes_stays(state):
    state.write(0, "my own words")
    state.set_assign("one_to_one")
    state.set_captions("red\ngreen")
    state.shuffle()
    assert state.caption(0) == "my own words" and state.is_kept(0)
    state.set_assign("best")
    state.keep(0, False)
    state.unshuffle()
    assert state.caption(0) in ("red", "green") and not state.is_kept(0)


def test_a_kept_caption_is_not_given_twice(state):
    state.set_assign("one_to_one")
    state.write(0, "red lips")
    assert chosen(state)[0] == "red lips"
    assert "red lips" not in chosen(state)[1:]


def test_one_to_one_with_too_few_captions_says_so(state):
    state.set_captions("# a comment\nred\n\nred\n")
    assert state.captions == ["red"]
    assert chosen(state) == ["red"] * 3
    state.set_assign("one_to_one")
    assert sorted(chosen(state)) == ["", "", "red"]
    assert "2 pictures without" in state.summary()


def test_settings_that_make_no_sense_change_nothing(state):
    for call in (
        lambda: state.set_captions("\n# nothing\n"),
        lambda: state.set_style("comic"),
        lambda: state.set_assign("worst"),
        lambda: state.set_correction("all"),
        lambda: state.set_temperature(0),
        lambda: state.set_temperature(float("nan")),
    ):
        with pytest.raises(ValueError):
            call()
    assert (state.style, state.assign) == ("classic", "best")
    assert chosen(state) == BEST and state.captions == CAPTIONS


def test_the_chart_and_the_alternatives(state):
    bars = state.chart(0, k=2)
    assert [bar.is_chosen for bar in bars] == [True, False]
    others = state.alternatives(0)
    assert len(others) == 3 and "blue moon" not in [b.caption for b in others]
    every = state.chart(0, k=9)
    assert sum(bar.probability for bar in every) == pytest.approx(1, abs=1e-5)
    state.write(0, "words of no list")
    assert state.chart(0, k=1)[-1].caption == "words of no list"


def test_temperature_changes_shares_and_no_order(state):
    def shares():
        return {b.caption: b.probability for b in state.chart(0, k=9)}

    state.set_temperature(0.05)
    cold = shares()
    state.set_temperature(1.0)
    warm = shares()
    assert cold["blue moon"] > warm["blue moon"]
    assert chosen(state) == BEST


def test_shuffles_repeat_and_come_back(state, folder):
    state.set_temperature(1.0)
    drawn = []
    for _ in range(6):
        state.shuffle()
        drawn.append(chosen(state))
    assert any(row != BEST for row in drawn)
    again = StudioState(ColourClip(), CAPTIONS)
    again.load_folder(folder)
    again.set_temperature(1.0)
    for row in drawn:
        again.shuffle()
        assert chosen(again) == row
    state.unshuffle()
    assert chosen(state) == BEST


def test_a_new_caption_encodes_only_itself(state):
    before = len(state.clip.texts), len(state.clip.images)
    state.set_captions("\n".join([*CAPTIONS, "purple rain"]))
    state.chart(0)
    assert state.clip.texts[before[0] :] == ["purple rain"]
    assert len(state.clip.images) == before[1]


def test_another_model_chooses_anew(state):
    clip = TinyClip(seed=7)  # one that no other test has used
    done = []
    state.set_clip(clip, lambda *counts: done.append(counts))
    assert clip.pictures == 3 and done[-1] == (3, 3)
    assert state.temperature == pytest.approx(1 / clip.logit_scale)
    assert "tiny-clip" in state.summary()


class Diverged(TinyClip):
    """Its texts are not numbers; its pictures are."""

    def encode_texts(self, texts):
        return super().encode_texts(texts) * float("nan")


def test_a_model_that_gives_no_numbers_changes_nothing(state):
    clip, temperature = state.clip, state.temperature
    with pytest.raises(ValueError, match="diverged"):
        state.set_clip(Diverged(seed=3))
    assert state.clip is clip and state.temperature == temperature
    assert chosen(state) == BEST
    state.set_assign("one_to_one")
    assert chosen(state) == BEST


def test_a_correction_changes_choice_chart_and_shuffle_alike(state):
    state.set_captions("blue red green yellow\n" + "\n".join(CAPTIONS))
    for correction in ("csls", "dual_softmax", None):
        state.set_correction(correction)
        for i in range(3):
            bars = state.chart(i, k=9)
            assert bars[0].is_chosen
            shares = [bar.probability for bar in bars]
            assert shares == sorted(shares, reverse=True)
            assert sum(shares) == pytest.approx(1, abs=1e-5)


def test_auto_draws_where_the_placement_says(folder, monkeypatch):
    state = StudioState(TinyClip(), CAPTIONS)
    state.load_folder(folder)
    assert state.placement(0) is None
    calls = []
    real = state_module.place_caption
    monkeypatch.setattr(
        state_module,
        "place_caption",
        lambda *a, **k: calls.append(a[2]) or real(*a, **k),
    )
    state.set_style("auto")
    placement = state.placement(0)
    expected = render(state.pictures[0].read(), state.caption(0), placement.style)
    assert state.meme(0).tobytes() == expected.tobytes()
    assert len(calls) == 1  # a map is drawn once
    state.write(0, "other words")
    state.meme(0)
    assert calls[1:] == ["other words"]
    state.write(0, "")
    assert state.placement(0) is None


def test_captions_are_counted_while_they_are_read(state):
    told = []
    lines = "\n".join(f"red line {n}" for n in range(70))
    state.set_captions(lines, lambda *counts: told.append(counts))
    assert told[-1] == (70, 70, "captions") and len(told) == 3


def test_the_meme_is_what_render_draws(state):
    state.set_style("below")
    expected = render(state.pictures[0].read(), "blue moon", "below")
    assert state.meme(0).tobytes() == expected.tobytes()


def test_saving_writes_the_meme_once_and_replaces_nothing(state, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "blue.png").write_text("somebody's")
    path = save_meme(state, 0)
    assert path.read_bytes() == png_bytes(state.meme(0))
    assert (out / "blue.png").read_text() == "somebody's"
    assert save_meme(state, 0) == path
    state.write(0, "another")
    assert save_meme(state, 0) != path and path.exists()


def test_all_memes_as_a_zip(state, folder):
    state.pictures[1].source.unlink()  # gone since it was loaded
    done = []
    path = save_zip(state, lambda *counts: done.append(counts))
    with zipfile.ZipFile(path) as file:
        rows = json.loads(file.read("memes.json"))
        for k in (0, 2):
            data = file.read(rows[k]["meme"])
            assert data == png_bytes(state.meme(k))
    assert [row["caption"] for row in rows] == BEST
    assert "skipped" in rows[1] and "meme" not in rows[1]
    assert done[-1] == (3, 3)
    assert save_zip(state) == path


def test_memes_do_not_go_among_the_pictures(state, folder):
    state.out = folder
    with pytest.raises(ValueError, match="another folder"):
        save_meme(state, 0)
    assert len(list(folder.iterdir())) == 3


def test_why_shows_the_picture_with_heat(folder):
    state = StudioState(TinyClip(), CAPTIONS)
    state.load_folder(folder)
    image, heat = state.why(0, "blue")
    assert image.size == (80, 60) and heat.shape == (4, 4)
    with pytest.raises(ValueError):
        state.why(0, "  ")


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ((0, 0), "at the top left"),
        ((0, 11), "at the top right"),
        ((6, 6), "in the centre"),
        ((11, 5), "at the bottom centre"),
        ((5, 0), "at the middle left"),
    ],
)
def test_where_it_is_brightest_in_words(cell, words):
    heat = torch.zeros(12, 12)
    heat[cell] = 1
    assert brightest(heat) == words


def test_a_preview_fits_the_page_and_keeps_the_original():
    large = Image.new("RGB", (3000, 1000))
    small = Image.open(io.BytesIO(preview(large, 300)))
    assert small.size == (300, 100) and large.size == (3000, 1000)


def test_a_folder_of_folders_says_where_to_look(state, folder, tmp_path):
    (tmp_path / "DCIM" / "100APPLE").mkdir(parents=True)
    before = list(state.pictures)
    with pytest.raises(ValueError, match="only folders.*100APPLE"):
        state.load_folder(tmp_path / "DCIM")
    assert state.pictures == before


def test_the_captions_field_takes_hashtags(state):
    assert state.set_captions("#monday\n# a comment\nnap\u2028time\r\nnap time") == 2
    assert state.captions == ["#monday", "nap time"]


def test_what_a_viewer_shows_is_taken_from_a_folder_and_an_upload(state, tmp_path):
    sound = real_picture("PNG")
    mended = sound[:33] + chunk(b"tEXt", b"a\0b", crc=0) + sound[33:]
    cut = real_picture("JPEG")[:-2]
    (tmp_path / "new").mkdir()
    for name, data in (("a.png", mended), ("b.jpg", cut)):
        (tmp_path / "new" / name).write_bytes(data)
    assert state.load_folder(tmp_path / "new") == 2 and not state.skipped
    for data in (mended, cut):
        assert state.add_upload("c.png", data).size() == (48, 40)
    with pytest.raises(UnreadablePicture, match="HEIC.*pillow-heif"):
        state.add_upload("d.heic", b"\0\0\0\x18ftypheic" + bytes(40))


def test_a_picture_replaced_since_it_was_loaded_gets_no_old_caption(state, folder):
    plain("yellow").save(folder / "green.png")
    with pytest.raises(UnreadablePicture, match="changed since it was loaded"):
        state.meme(1)
    with zipfile.ZipFile(save_zip(state)) as file:
        rows = json.loads(file.read("memes.json"))
    assert "changed" in rows[1]["skipped"] and "meme" not in rows[1]
    state.load_folder(folder)
    assert state.caption(1) == "yellow fever" and state.meme(1)


def test_what_a_folder_holds_besides_pictures_is_told(state, folder):
    (folder / "more").mkdir()
    (folder / ".hidden.png").write_bytes(b"x")
    (folder / "captions.txt").write_text("of ours")
    assert state.load_folder(folder) == 3
    rows = [(skip.name, skip.reason) for skip in state.skipped]
    assert rows == [(".hidden.png", "hidden"), ("more", "a folder: not looked into")]


def test_a_picture_read_at_half_its_size_is_told(state, folder, monkeypatch):
    monkeypatch.setattr("vlmtutor.models.pictures.MAX_PIXELS", 5_000)
    monkeypatch.setattr("vlmtutor.memes.writing.MAX_PIXELS", 5_000)
    plain("red", (90, 80)).save(folder / "a.jpg")
    assert state.load_folder(folder) == 4
    assert state.notes(0) == ["90 x 80 pixels, read at half its size"]
    assert state.meme(0).size == (45, 40) and state.notes(1) == []


def test_the_heat_of_a_large_picture_is_no_larger_than_a_page(folder):
    plain("red", (4000, 3000)).save(folder / "a.png")
    state = StudioState(TinyClip(), CAPTIONS)
    state.load_folder(folder)
    assert state.why(0, "red")[0].size == (2048, 1536)


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("at 3.15.22\u202fPM.png", "at 3.15.22 PM"),
        ("写真\u3000１.png", "写真 １"),
        ("می\u200cخواهم.png", "می\u200cخواهم"),
        ("👩\u200d🚀 me.png", "👩\u200d🚀 me"),
    ],
)
def test_names_with_other_spaces_and_joiners_stay_what_they_are(name, stem, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    plain("red").save(folder / name)
    state = StudioState(ColourClip(), CAPTIONS, tmp_path / "out")
    state.load_folder(folder)
    assert state.pictures[0].name == name
    assert save_meme(state, 0).name == f"{stem}.png"
    with zipfile.ZipFile(save_zip(state)) as file:
        row = json.loads(file.read("memes.json"))[0]
    assert row["meme"] == f"{stem}.png" and (folder / row["picture"]).exists()
    report = caption_folder(
        folder, CAPTIONS, tmp_path / "all", ColourClip(), progress=False
    )
    row = json.loads(report.path.read_text("utf-8"))["memes"][0]
    assert row["file"] == f"{stem}.png" and (folder / row["source"]).exists()


@pytest.mark.skipif(sys.platform != "linux", reason="no other system has such names")
def test_a_name_that_is_no_text_can_be_saved_and_told(tmp_path):
    (tmp_path / "in").mkdir()
    name = "\u202ebad\udcff.png"
    (tmp_path / "in" / name).write_bytes(as_png(plain("red")))
    state = StudioState(ColourClip(), CAPTIONS, tmp_path / "out")
    state.load_folder(tmp_path / "in")
    assert save_meme(state, 0).name == "bad_.png"
    with zipfile.ZipFile(save_zip(state)) as file:
        text = file.read("memes.json").decode()
    assert json.loads(text)[0]["picture"] == name and "\u202e" not in text


def test_a_folder_loaded_again_keeps_what_a_person_wrote(state, folder):
    state.write(0, "my own joke")
    state.write(1, "gone soon")
    state.keep(2)
    (folder / "green.png").unlink()
    plain("yellow").save(folder / "blue.png")  # changed: load it again
    plain("green").save(folder / "a.png")
    state.load_folder(folder)
    assert [p.name for p in state.pictures] == ["a.png", "blue.png", "red.png"]
    assert chosen(state) == ["green peas", "my own joke", "red lips"]
    assert [state.is_kept(i) for i in range(3)] == [False, True, True]
    plain("green").save(folder / "green.png")
    state.load_folder(folder)
    assert state.caption(2) == "green peas"


def test_another_folder_gets_no_caption_of_this_one(state, folder, tmp_path):
    upload = state.add_upload("mine.png", as_png(plain("yellow")))
    state.write(0, "my own joke")
    state.write(3, "of the upload")
    other = tmp_path / "other"
    other.mkdir()
    plain("blue").save(other / "blue.png")
    state.load_folder(other)
    assert chosen(state) == ["blue moon", "of the upload"]
    assert state.pictures[1] is upload


def test_a_folder_is_named_from_home_and_never_by_nothing(
    state, folder, tmp_path, monkeypatch
):
    for home in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(home, str(tmp_path))
    monkeypatch.chdir(folder)  # which is not taken for ""
    again = StudioState(ColourClip(), CAPTIONS)
    assert again.load_folder("~/pictures") == 3
    with pytest.raises(ValueError, match="no folder is called ''"):
        again.load_folder("")
    assert len(again.pictures) == 3


def test_pictures_of_a_relative_folder_are_found_from_elsewhere(
    state, folder, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    state.load_folder("pictures")
    state.write(0, "my own joke")
    monkeypatch.chdir(folder)
    assert state.meme(0).size
    state.load_folder(folder)  # the same by another name
    assert state.caption(0) == "my own joke"


def test_the_name_of_a_model_is_no_model(state, folder, tmp_path):
    told = r"^'StickerCLIP' is no model: open it with load_clip\('StickerCLIP'\)$"
    for call in (
        lambda name: match([plain("red")], CAPTIONS, name),
        lambda name: caption_folder(folder, CAPTIONS, tmp_path / "out", name),
        lambda name: StudioState(name, CAPTIONS),
        lambda name: state.set_clip(name),
    ):
        with pytest.raises(TypeError, match=told):
            call("StickerCLIP")
    with pytest.raises(TypeError, match=r"^None is no model: .* load_clip\(\)$"):
        match([plain("red")], CAPTIONS, None)
    assert chosen(state) == BEST and not (tmp_path / "out").exists()
