"""The studio's widgets, pressed from Python: each does what it says."""

import base64
import io
import os
import shutil
import sys
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from clip_folders import write_clip
from fake_clip import ColourClip, TinyClip, plain
from test_studio_state import BEST, CAPTIONS, as_png

import vlmtutor as vt
from vlmtutor.memes import caption_folder
from vlmtutor.memes.studio import models as studio_models
from vlmtutor.memes.studio import state as studio_state
from vlmtutor.memes.studio import view as studio_view
from vlmtutor.memes.studio.files import png_bytes, preview
from vlmtutor.memes.studio.html import (
    Bar,
    chart_html,
    duration,
    progress_html,
    shorten,
    skipped_html,
)
from vlmtutor.memes.studio.pictures import embed_pictures, find_folder
from vlmtutor.models import catalog, hub


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for color in ("blue", "green", "red"):
        plain(color).save(folder / f"{color}.png")
    (folder / "captions.txt").write_text("\n".join(CAPTIONS))
    return folder


@pytest.fixture
def studio(folder):
    return vt.MemeStudio(folder=folder, clip=ColourClip())


def sent(name, data):
    """A file as the browser hands it over."""
    return {
        "name": name,
        "type": "image/png",
        "size": len(data),
        "content": memoryview(data),
        "last_modified": datetime.now(UTC),
    }


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


def test_a_double_click_takes_what_one_click_takes(studio):
    wanted = studio.state.alternatives(0)[0].caption
    labels = [button.description for button in studio.ui.choices]
    for _ in range(2):
        studio.ui.choices[0].click()
        assert studio.ui.words.value == wanted
    assert [button.description for button in studio.ui.choices] == labels
    studio.ui.next.click()
    studio.ui.previous.click()  # the next look offers others again
    assert wanted not in studio.ui.choices[0].description


def load(studio, folder):
    """As by hand: the name into the field, then the button."""
    studio.ui.folder.value = str(folder)
    studio.ui.load.click()


def during(studio, action):
    """What ``action`` gives when it runs while a folder is being loaded."""
    given = []

    def slow(*args, **kwargs):
        given.append(action())
        return embed_pictures(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(studio_state, "embed_pictures", slow)
        studio.ui.load.click()
    return given[0]


def test_nothing_can_be_pressed_during_a_long_job(studio):
    controls = studio.ui.controls()
    assert {studio.ui.load, studio.ui.words, studio.ui.upload} < set(controls)
    assert not any(control.disabled for control in controls)
    assert during(studio, lambda: [control.disabled for control in controls]) == (
        [True] * len(controls)
    )
    assert not any(control.disabled for control in controls)
    load(studio, "/nowhere/at/all")
    assert not any(control.disabled for control in controls)


@pytest.mark.parametrize("what", ["words", "keep", "pick", "save"])
def test_what_was_meant_for_one_picture_is_not_done_to_another(studio, tmp_path, what):
    """It was asked for while another folder loads, in another thread."""
    other = tmp_path / "other"
    other.mkdir()
    plain("green").save(other / "other.png")
    actions = {
        "words": lambda: setattr(studio.ui.words, "value", "typed for the blue one"),
        "keep": lambda: setattr(studio.ui.keep, "value", True),
        "pick": studio.ui.choices[0].click,
        "save": studio.ui.save.click,
    }
    threads = []

    def ask():
        threads.append(threading.Thread(target=actions[what]))
        threads[0].start()
        threads[0].join(0.2)  # it has to wait for the folder

    studio.ui.folder.value = str(other)
    during(studio, ask)
    threads[0].join()
    assert [p.name for p in studio.state.pictures] == ["other.png"]
    assert not studio.state.is_kept(0)
    assert studio.ui.words.value == studio.state.caption(0) == "green peas"
    assert not studio.ui.keep.value and not (tmp_path / "memes").exists()
    assert "Not done" in told(studio)


def test_the_correction_can_be_chosen(studio):
    before = studio.ui.chart.value
    studio.ui.correction.value = ""
    assert studio.state.correction is None
    assert studio.ui.chart.value != before
    studio.ui.correction.value = "csls"
    assert studio.state.correction == "csls"


def test_auto_says_where_and_why(folder):
    studio = vt.MemeStudio(folder, clip=TinyClip())
    assert studio.ui.place.value == ""
    studio.ui.style.value = "auto"
    reason = studio.state.placement(0).reason()
    assert reason in studio.ui.place.value and reason in told(studio)
    studio.ui.next.click()
    assert studio.state.placement(1).reason() in studio.ui.place.value
    studio.ui.style.value = "top"
    assert studio.ui.place.value == ""


def test_auto_is_offered_where_the_model_can_tell(studio, folder):
    assert "auto" not in dict(studio.ui.style.options).values()
    studio = vt.MemeStudio(folder, clip=TinyClip())
    studio.ui.style.value = "auto"
    assert studio.state.style == "auto"
    studio.state.set_clip(ColourClip())
    assert studio.state.style == "classic"
    with pytest.raises(ValueError, match="auto"):
        studio.state.set_style("auto")


def test_with_few_captions_and_one_of_your_own_all_are_offered(folder):
    """Yours fits best: the last of the others must have its share too."""
    studio = vt.MemeStudio(folder, ["a red day", "green"], clip=ColourClip())
    for own in ("red red red", "blue", "nothing at all"):
        studio.ui.words.value = own
        assert "Problem" not in told(studio)
        shown = [b.description for b in studio.ui.choices if b.layout.display != "none"]
        assert [s.rpartition(" (")[0] for s in sorted(shown)] == ["a red day", "green"]


def test_a_click_on_an_alternative_that_is_gone_does_nothing(studio):
    studio.ui.captions.value = "red"
    before = told(studio)
    studio.ui.choices[-1].click()
    assert told(studio) == before


def test_the_limit_of_uploads_is_said_beside_the_button(studio):
    said = "".join(getattr(w, "value", "") for w in texts_of(studio))
    assert "10 MB" in said and "make lab" in said


def texts_of(box):
    """All HTML widgets on a page."""
    inside = getattr(box, "children", ())
    found = [box] if type(box).__name__ == "HTML" else []
    return found + [widget for child in inside for widget in texts_of(child)]


def test_style_assignment_and_temperature(studio):
    before = studio.ui.image.value
    studio.ui.style.value = "below"
    assert studio.ui.image.value != before
    studio.ui.assign.value = "one_to_one"
    assert studio.state.assign == "one_to_one"
    chart, share = studio.ui.chart.value, studio.ui.choices[0].description
    studio.ui.temperature.value = 0.5
    assert studio.state.temperature == pytest.approx(0.5)
    assert studio.ui.chart.value != chart
    assert studio.ui.choices[0].description != share


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
    load(studio, other)
    assert studio.ui.words.value == "red lips"
    assert "broken.png" in studio.ui.skipped.value
    load(studio, tmp_path / "nowhere")
    assert "Problem" in told(studio) and "nowhere" in told(studio)
    assert studio.ui.words.value == "red lips"


def test_an_empty_folder_asks_for_pictures(tmp_path):
    studio = vt.MemeStudio(tmp_path, captions=["a red one"], clip=ColourClip())
    assert studio.ui.image.layout.display == "none"
    for button in (studio.ui.next, studio.ui.shuffle, studio.ui.best):
        button.click()
    studio.ui.style.value = "top"
    assert "Problem" not in told(studio)
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
    studio.ui.style.value = "below"  # it is about the same words still
    assert studio.ui.heat.layout.display is None
    studio.ui.next.click()
    assert studio.ui.heat.layout.display == "none"
    studio.ui.why_words.value = "red"  # Enter, without the button
    assert "“red”" in studio.ui.heat_note.value


def test_the_model_can_be_switched(studio):
    labels = [label for label, _ in studio.ui.model.options]
    assert labels[:1] == ["colour-clip"] and "StickerCLIP" in labels
    studio.ui.model.value = "StickerCLIP"
    assert studio.state.clip.name == "StickerCLIP"
    assert "StickerCLIP" in told(studio)
    studio.ui.model.value = "colour-clip"
    assert studio.ui.words.value == BEST[0]


def test_clip_folders_are_found_and_no_others(tmp_path, monkeypatch):
    shipped, runs = tmp_path / "models", tmp_path / "runs"
    monkeypatch.setattr(catalog, "STICKERCLIP", shipped / "stickerclip")
    monkeypatch.chdir(tmp_path)
    whole = write_clip(tmp_path / "whole")
    for parent, name in (
        (shipped, "stickerclip"),
        (shipped, "pairclip"),
        (shipped, "a_student"),
        (runs, "a_student"),
        (runs, "mine"),
        (runs, "other"),
        (runs, "unfinished"),
        (runs, "pickled"),
    ):
        shutil.copytree(whole, parent / name)
    (runs / "other" / "config.json").write_text('{"model_type": "bert"}')
    (runs / "unfinished" / "model.safetensors").unlink()
    weights = runs / "pickled" / "model.safetensors"
    weights.rename(weights.with_name("pytorch_model.bin"))
    (runs / "empty").mkdir()
    ready = studio_models.ready_models()
    namesake = os.path.join("runs", "a_student")
    assert ready == {
        "StickerCLIP": "StickerCLIP",
        "PairCLIP": "PairCLIP",
        "a student": str(shipped / "a_student"),
        namesake: namesake,
        "mine": os.path.join("runs", "mine"),
    }
    assert hub.load_clip(ready["PairCLIP"]).name == "PairCLIP"


def test_a_student_in_runs_can_be_chosen(studio, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "runs" / "my_student")
    studio = vt.MemeStudio(studio.ui.folder.value, clip=ColourClip())
    names = dict(studio.ui.model.options)
    studio.ui.model.value = names["my student"]
    assert studio.state.clip.name == "my_student", told(studio)
    assert "Problem" not in told(studio)
    assert studio.ui.model.label == "my student"
    studio.ui.model.value = "colour-clip"
    assert studio.ui.words.value == BEST[0]


def test_a_model_that_does_not_open_leaves_the_old_one(studio, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    broken = write_clip(tmp_path / "runs" / "broken")
    (broken / "model.safetensors").write_bytes(b"nothing")
    studio = vt.MemeStudio(studio.ui.folder.value, clip=ColourClip())
    studio.ui.model.value = dict(studio.ui.model.options)["broken"]
    assert "Problem" in told(studio) and "broken" in told(studio)
    assert studio.ui.model.value == studio.state.clip.name == "colour-clip"
    assert studio.ui.words.value == BEST[0]


def test_more_models_can_be_downloaded_and_what_they_cost_is_told(folder, monkeypatch):
    present = []

    def download(name, progress):
        progress(47_000_000, 94_000_000)
        assert "47 of 94 MB" in told(studio)
        present.append(name)

    monkeypatch.setattr(hub, "is_cached", lambda name: name in present)
    monkeypatch.setattr(hub, "download", download)
    studio = vt.MemeStudio(folder, clip=ColourClip())
    first, *others = studio.ui.more.options
    assert "94 MB" in first[0] and "MIT" in first[0] and len(others) == 3
    studio.ui.download.click()
    assert present == ["wkcn/TinyCLIP-ViT-8M-16-Text-3M-YFCC15M"], told(studio)
    assert "TinyCLIP 8M/16 is here" in told(studio)
    assert present[0] in [v for _, v in studio.ui.model.options]
    assert list(studio.ui.more.options) == others
    present += [known.id for _, known in others]
    studio.ui.model.value = "StickerCLIP"
    for widget in (studio.ui.more, studio.ui.download):
        assert widget.layout.display == "none"


def test_a_download_that_fails_says_so(folder, monkeypatch):
    def fail(name, progress):
        raise hub.ModelNotFound("no hub in reach: copy the folder")

    monkeypatch.setattr(hub, "is_cached", lambda name: False)
    monkeypatch.setattr(hub, "download", fail)
    studio = vt.MemeStudio(folder, clip=ColourClip())
    studio.ui.download.click()
    assert "Problem" in told(studio) and "copy the folder" in told(studio)


def test_every_control_has_a_name(studio):
    for control in studio.ui.controls():
        assert control.description.strip(), control
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
    assert find_folder("pics") == Path("..") / "pics"
    assert find_folder("nowhere-at-all") == Path("nowhere-at-all")


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


@pytest.mark.parametrize("around", ['"{}"', "'{}'", " {}  ", "{}/ "])
def test_a_path_may_be_pasted_with_what_was_copied_around_it(studio, tmp_path, around):
    other = tmp_path / "my pictures"
    other.mkdir()
    plain("green").save(other / "a.png")
    load(studio, around.format(other))
    assert [p.name for p in studio.state.pictures] == ["a.png"]


def test_captions_in_a_folder_that_are_not_in_use_are_told(studio, folder, tmp_path):
    note = "captions.txt in this folder is not in use"
    assert note not in told(studio)  # read when the studio was opened
    other = tmp_path / "other"
    other.mkdir()
    plain("green").save(other / "a.png")
    (other / "captions.txt").write_text("a frog")
    load(studio, other)
    assert note in told(studio) and "a frog" not in studio.state.captions
    studio.ui.captions.value = "a frog"
    studio.ui.load.click()
    assert note not in told(studio)
    (other / "captions.txt").write_bytes(b"\xff\xfea\0")
    studio.ui.load.click()
    assert note in told(studio)


def test_a_picture_that_is_gone_is_named_by_every_button(studio, folder):
    (folder / "blue.png").unlink()
    for button in (studio.ui.save, studio.ui.why):
        button.click()
        assert "</strong> blue.png: no such file" in told(studio)


def test_nothing_is_done_to_no_picture(tmp_path):
    studio = vt.MemeStudio(tmp_path, ["a"], ColourClip(), tmp_path / "out")
    for button in (studio.ui.save, studio.ui.why, studio.ui.choices[0]):
        button.click()
        assert "No pictures yet" in told(studio)
    studio.ui.words.value = "mine"
    assert "No pictures yet" in told(studio) and not (tmp_path / "out").exists()


def test_a_picture_that_is_gone_is_not_another(studio, folder):
    (folder / "green.png").unlink()
    studio.ui.next.click()
    assert studio.ui.words.value == "green peas"
    assert "<img" not in studio.ui.image.value
    assert "green.png cannot be shown: no such file" in studio.ui.image.value
    studio.ui.next.click()
    assert shown(studio.ui.image) == preview(studio.state.meme(2))


def test_without_captions_it_asks_for_some(folder):
    (folder / "captions.txt").unlink()
    studio = vt.MemeStudio(folder, clip=ColourClip())
    assert "Write captions into" in told(studio)
    studio.ui.captions.value = "a blue moon"
    assert studio.ui.words.value == "a blue moon"


def test_a_folder_captioned_before_is_not_encoded_again(folder, tmp_path):
    out, before, after = tmp_path / "out", ColourClip(), ColourClip()
    fresh = vt.MemeStudio(folder, clip=ColourClip(), out=out)
    assert not out.exists()  # to look at pictures writes nothing
    assert fresh.state.summary().startswith("3 pictures")
    caption_folder(folder, CAPTIONS, out, before, progress=False)
    studio = vt.MemeStudio(folder, clip=after, out=out)
    assert len(before.images) == 3 and not after.images
    assert studio.ui.words.value == "blue moon"


def test_a_stopped_load_goes_on_from_there(studio, folder, monkeypatch):
    other = folder.parent / "many"
    other.mkdir()
    for i in range(70):
        plain("red", (40, 40 + i)).save(other / f"{i:02}.png")
    clip, encode, calls = studio.state.clip, ColourClip.encode_images, []

    def interrupted(self, images):
        if len(calls) == 1:
            calls.append("stop")
            raise KeyboardInterrupt
        calls.append("go")
        return encode(self, images)

    monkeypatch.setattr(ColourClip, "encode_images", interrupted)
    before = len(clip.images)
    load(studio, other)
    assert "Stopped" in told(studio) and len(studio.state.pictures) == 3
    studio.ui.load.click()
    assert len(studio.state.pictures) == 70
    assert len(clip.images) - before == 70  # each once


def test_a_long_job_says_how_far_it_is(studio, monkeypatch):
    monkeypatch.setattr(studio_view, "EVERY", 0)
    said = []
    studio.ui.status.observe(lambda change: said.append(change["new"]))
    studio.ui.save_all.click()
    bars = [str(text) for text in said if "<progress" in str(text)]
    assert bars and "of 3 pictures" in bars[0]


def test_the_time_left_in_words():
    bar = progress_html(2_500, 10_000, 60)
    assert 'max="10000" value="2500"' in bar
    assert "2,500 of 10,000 pictures, about 3 min left" in bar
    assert "left" not in progress_html(3, 3, 5)
    spans = [duration(s) for s in (0.2, 45, 600, 3 * 3600)]
    assert spans == ["about 1 s", "about 45 s", "about 10 min", "about 3.0 h"]


def test_callbacks_of_other_threads_wait_for_each_other(studio):
    """No press is lost because another is being drawn."""
    buttons = [studio.ui.next] * 40 + [studio.ui.previous] * 20
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda button: button.click(), buttons))
    assert studio.ui.picture.value == 20 % 3
    assert studio.ui.words.value == studio.state.caption(20 % 3)
    assert "Problem" not in told(studio)


def test_one_upload_that_fails_leaves_the_others(studio, monkeypatch):
    def add(name, data, real=studio.state.add_upload):
        if name == "b.png":
            raise MemoryError
        return real(name, data)

    monkeypatch.setattr(studio.state, "add_upload", add)
    data = as_png(plain("red"))
    studio.ui.upload.value = tuple(sent(f"{n}.png", data) for n in "abc")
    assert "Added a.png, c.png" in told(studio) and "b.png: MemoryError" in told(studio)
    assert len(studio.ui.picture.options) == 5


def test_lines_that_are_no_captions_are_told(studio):
    studio.ui.captions.value = "a blue car\n# of mine\n#\nA BLUE CAR\na blue car\n\n"
    assert len(studio.state.captions) == 2
    assert "Note: 3 lines of captions left out" in told(studio)
    studio.ui.captions.value = "a blue car\nA BLUE CAR"
    assert "left out" not in told(studio)


@pytest.mark.parametrize("name", ["~nobody-has-this-name/p", "a\0b", "x" * 5000])
def test_a_folder_that_cannot_be_is_told_in_the_status_line(
    name, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    studio = vt.MemeStudio(name, CAPTIONS, ColourClip(), "~nobody-has-this-name/out")
    assert "Problem" in told(studio) and not studio.state.pictures
    assert list(tmp_path.iterdir()) == []


def test_save_all_says_how_many_are_left_out_and_why(studio, folder):
    studio.ui.save_all.click()
    assert "left out" not in told(studio)
    (folder / "green.png").unlink()
    studio.ui.save_all.click()
    assert "Saved: " in told(studio)
    assert "\n1 picture left out: green.png: no such file<" in told(studio)
    plain("white").save(folder / "blue.png")
    studio.ui.save_all.click()
    assert "2 pictures left out: the first is blue.png: changed since" in told(studio)


def test_load_again_keeps_the_caption_that_was_typed(studio, folder):
    studio.ui.words.value = "my own joke"
    plain("white").save(folder / "blue.png")
    studio.ui.save.click()
    assert "changed since it was loaded: load it again" in told(studio)
    studio.ui.load.click()
    assert studio.ui.words.value == "my own joke" and studio.ui.keep.value


@pytest.mark.skipif(sys.platform != "linux", reason="no other system has such names")
def test_a_name_is_escaped_on_the_page_alone(studio, folder):
    names = ["\u202egnp.png", "3\u202fPM.png", "bad\udcff.png", "می\u200cخواهم.png"]
    other = folder.parent / "other"
    other.mkdir()
    for name in names:
        (other / name).write_bytes(as_png(plain("red")))
    (other / "\u202e.txt").write_text("no picture")
    load(studio, other)
    assert sorted(p.name for p in studio.state.pictures) == sorted(names)
    labels = sorted(label.split(": ")[1] for label, _ in studio.ui.picture.options)
    assert labels == sorted(
        ["\\u202egnp.png", "3 PM.png", "bad\\udcff.png", "می\u200cخواهم.png"]
    )
    assert "\\u202e.txt" in studio.ui.skipped.value
    for path in other.iterdir():
        path.unlink()
    for i in range(4):
        studio.ui.picture.value = i
        for button in (studio.ui.save, studio.ui.save_all):
            button.click()
            assert "no such file" in told(studio)
            page = told(studio) + studio.ui.image.value
            assert page.encode() and "\u202e" not in page


def test_a_folder_without_a_name_is_not_the_one_we_are_in(studio, folder, monkeypatch):
    monkeypatch.chdir(folder)
    for blank in ("", "  ", '""'):
        load(studio, blank)
        assert "Problem" in told(studio) and "no folder is named" in told(studio)
        with pytest.raises(ValueError, match="no folder is named"):
            vt.MemeStudio(blank, CAPTIONS, ColourClip())
