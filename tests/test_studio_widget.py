"""The studio's widgets, pressed from Python: each does what it says."""

import base64
import io
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fake_clip import ColourClip, TinyClip, plain
from test_studio_state import BEST, CAPTIONS, as_png

import vlmtutor as vt
from vlmtutor.memes import studio as studio_module
from vlmtutor.memes import studio_models
from vlmtutor.memes.studio_files import png_bytes, preview
from vlmtutor.memes.studio_html import chart_html, shorten, skipped_html
from vlmtutor.memes.studio_state import Bar
from vlmtutor.models import hub


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for colour in ("blue", "green", "red"):
        plain(colour).save(folder / f"{colour}.png")
    (folder / "captions.txt").write_text("\n".join(CAPTIONS))
    return folder


@pytest.fixture
def studio(folder):
    return vt.MemeStudio(folder=folder, clip=ColourClip())


def sent(name, data):
    """A file as the browser hands it over."""
    return {
        "name": name, "type": "image/png", "size": len(data),
        "content": memoryview(data), "last_modified": datetime.now(UTC),
    }  # fmt: skip


def saved(studio):
    """The path that the status line names."""
    text = studio.ui.status.value
    assert "Saved: " in text, text
    return Path(text.split("Saved: ")[1].split("<")[0])


def shown(widget):
    """The file of the picture in an HTML widget."""
    return base64.b64decode(widget.value.split("base64,")[1].split('"')[0])


def told(studio):
    return studio.ui.status.value


def test_it_opens_with_a_meme(studio, folder):
    ui = studio.ui
    assert repr(studio) == "MemeStudio: 3 pictures, 4 captions, colour-clip"
    assert ui.words.value == "blue moon"
    assert shown(ui.image) == preview(studio.state.meme(0))
    assert ui.folder.value == str(folder)
    assert ui.captions.value.splitlines() == CAPTIONS
    assert studio.state.out == folder.parent / "memes"
    assert "blue moon" in ui.chart.value and "chosen" in ui.chart.value


def test_previous_and_next_go_round(studio):
    studio.ui.previous.click()
    assert studio.ui.words.value == "red lips"
    studio.ui.next.click()
    assert studio.ui.words.value == "blue moon"
    studio.ui.picture.value = 1
    assert studio.ui.words.value == "green peas"
    assert "green.png" in told(studio)


def test_typing_a_caption_changes_the_picture(studio):
    before = studio.ui.image.value
    studio.ui.words.value = "hello <b>you</b>"
    assert studio.ui.image.value != before
    assert studio.ui.keep.value
    assert "<b>you" not in told(studio) and "&lt;b&gt;you" in told(studio)
    studio.ui.keep.value = False
    assert studio.ui.words.value == "blue moon"
    assert studio.ui.image.value == before


def test_an_alternative_is_taken_with_a_click(studio):
    wanted = studio.state.alternatives(0)[1].caption
    assert wanted in studio.ui.choices[1].description
    studio.ui.choices[1].click()
    assert studio.ui.words.value == wanted
    assert wanted not in [b.description for b in studio.ui.choices]


def test_style_assignment_and_temperature(studio):
    before = studio.ui.image.value
    studio.ui.style.value = "below"
    assert studio.ui.image.value != before
    studio.ui.assign.value = "one_to_one"
    assert studio.state.assign == "one_to_one"
    chart = studio.ui.chart.value
    studio.ui.temperature.value = 0.5
    assert studio.state.temperature == pytest.approx(0.5)
    assert studio.ui.chart.value != chart


def test_shuffle_and_back(studio):
    studio.ui.temperature.value = 1.0
    seen = set()
    for _ in range(6):
        studio.ui.shuffle.click()
        seen.add(studio.ui.words.value)
    assert len(seen) > 1
    studio.ui.best.click()
    assert studio.ui.words.value == "blue moon"


def test_captions_are_edited_in_place(studio):
    studio.ui.captions.value = "a blue car\na red car"
    assert studio.ui.words.value == "a blue car"
    studio.ui.captions.value = "  "
    assert "Problem" in told(studio) and "no captions" in told(studio)
    assert studio.ui.words.value == "a blue car"


def test_uploads_are_added_shown_and_refused(studio):
    good = sent("../x.png", as_png(plain("yellow")))
    bad = sent("bad.png", b"nothing")
    studio.ui.upload.value = (good, bad)
    assert studio.ui.words.value == "yellow fever"
    assert "Added" in told(studio) and "bad.png" in told(studio)
    assert len(studio.state.pictures) == 4
    assert studio.ui.upload.value == ()


def test_saved_files_are_the_memes_shown(studio):
    studio.ui.words.value = "mine"
    studio.ui.save.click()
    assert saved(studio).read_bytes() == png_bytes(studio.state.meme(0))
    studio.ui.save_all.click()
    with zipfile.ZipFile(saved(studio)) as file:
        assert len(file.namelist()) == 4


def test_another_folder_and_one_that_is_not_there(studio, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    plain("red").save(other / "only.png")
    (other / "broken.png").write_text("no")
    studio.ui.folder.value = str(other)
    studio.ui.load.click()
    assert studio.ui.words.value == "red lips"
    assert "broken.png" in studio.ui.skipped.value
    studio.ui.folder.value = str(tmp_path / "nowhere")
    studio.ui.load.click()
    assert "Problem" in told(studio) and "nowhere" in told(studio)
    assert studio.ui.words.value == "red lips"


def test_an_empty_folder_asks_for_pictures(tmp_path):
    studio = vt.MemeStudio(tmp_path, captions=["a red one"], clip=ColourClip())
    assert studio.ui.image.layout.display == "none"
    for button in (studio.ui.next, studio.ui.shuffle, studio.ui.best):
        button.click()
    studio.ui.upload.value = (sent("a.png", as_png(plain("red"))),)
    assert studio.ui.image.layout.display is None
    assert studio.ui.words.value == "a red one"


def test_why_this_caption(folder):
    studio = vt.MemeStudio(folder, clip=TinyClip())
    assert studio.ui.heat.layout.display == "none"
    studio.ui.why_words.value = "blue"
    studio.ui.why.click()
    assert shown(studio.ui.heat).startswith(b"\x89PNG")
    assert "blue" in studio.ui.heat_note.value
    assert "Heat map. “blue”: brightest" in studio.ui.heat.value
    studio.ui.next.click()
    assert studio.ui.heat.layout.display == "none"


def test_the_model_can_be_switched(studio):
    labels = [label for label, _ in studio.ui.model.options]
    assert labels[:1] == ["colour-clip"] and "StickerCLIP" in labels
    studio.ui.model.value = "StickerCLIP"
    assert studio.state.clip.name == "StickerCLIP"
    assert "StickerCLIP" in told(studio)
    studio.ui.model.value = "colour-clip"
    assert studio.ui.words.value == BEST[0]


def test_a_student_beside_the_shipped_model_can_be_chosen(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(hub, "STICKERCLIP", tmp_path / "stickerclip")
    for name, kind in (("stickerclip", "clip"), ("a_student", "clip"),
                       ("other", "bert")):  # fmt: skip
        (tmp_path / name).mkdir()
        text = f'{{"model_type": "{kind}"}}'
        (tmp_path / name / "config.json").write_text(text)
    (tmp_path / "broken").mkdir()
    ready = studio_models.ready_models()
    assert ready["a student"] == str(tmp_path / "a_student")
    assert not {"other", "broken"} & set(ready)


def test_openai_clip_can_be_downloaded_and_its_size_is_told(
    folder, monkeypatch
):
    present = []
    monkeypatch.setattr(hub, "is_cached", lambda name: bool(present))
    monkeypatch.setattr(hub, "download", lambda name: present.append(name))
    studio = vt.MemeStudio(folder, clip=ColourClip())
    assert "610 MB" in studio.ui.download.description
    studio.ui.download.click()
    assert present == [studio_models.OPENAI]
    assert studio.ui.download.layout.display == "none"
    assert studio_models.OPENAI in [v for _, v in studio.ui.model.options]


def test_a_download_that_fails_says_so(folder, monkeypatch):
    def fail(name):
        raise hub.ModelNotFound("no hub in reach: copy the folder")

    monkeypatch.setattr(hub, "is_cached", lambda name: False)
    monkeypatch.setattr(hub, "download", fail)
    studio = vt.MemeStudio(folder, clip=ColourClip())
    studio.ui.download.click()
    assert "Problem" in told(studio) and "copy the folder" in told(studio)


def test_every_control_has_a_name(studio):
    for name, widget in vars(studio.ui).items():
        for one in widget if isinstance(widget, list) else [widget]:
            if hasattr(one, "description") and name not in (
                "status", "image", "chart", "heat", "heat_note", "skipped",
            ):  # fmt: skip
                assert one.description.strip(), name
    assert 'alt="Meme. Picture 1 of 3' in studio.ui.image.value


def test_callbacks_print_nothing(studio, capsys):
    for button in (studio.ui.next, studio.ui.shuffle, studio.ui.save):
        button.click()
    studio.ui.captions.value = ""
    assert capsys.readouterr().out == ""


def test_a_folder_is_found_from_the_notebooks_too(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "pics").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    assert studio_module.find_folder("pics") == Path("..") / "pics"
    assert studio_module.find_folder("nowhere-at-all") == Path(
        "nowhere-at-all"
    )


def test_html_is_escaped():
    bar = Bar("<script>x</script>", 0.5, 1.0, True)
    assert "<script>" not in chart_html([bar])
    rows = [type("S", (), {"name": "<i>.png", "reason": "no"})()] * 30
    assert "<i>.png" not in skipped_html(rows)
    assert "and 10 more" in skipped_html(rows)
    assert shorten("a  b\nc" * 50, 10) == "a b ca b…"


def test_what_the_page_shows_is_a_png_of_at_most_640(studio):
    from PIL import Image

    picture = Image.open(io.BytesIO(shown(studio.ui.image)))
    assert max(picture.size) <= 640
