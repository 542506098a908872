"""The meme studio in a real JupyterLab, driven as a person would."""

import io
import json
import re
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("playwright")
from browser.lab import ROOT
from browser.pages import (
    LONG,
    clip_out,
    open_lab_page,
    run_all,
    scroll_to,
    widget_image,
)
from clip_folders import write_clip
from fake_clip import plain
from PIL import Image
from playwright.sync_api import expect

import vlmtutor as vt
from vlmtutor.memes.explain import explain, overlay
from vlmtutor.memes.studio.files import preview

NOTEBOOK = "notebooks/20_meme_studio.ipynb"
STUDIO = ".vt-studio"
PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    def student(folder):
        write_clip(folder / "runs" / "my_student")

    with open_lab_page(tmp_path_factory, NOTEBOOK, "vt.MemeStudio(", student) as page:
        run_all(page)
        scroll_to(page, STUDIO)
        yield page


@pytest.fixture
def studio(page):
    return page.locator(STUDIO)


def status(studio):
    return studio.locator(".vt-status").first


def told(studio, text):
    """Wait until the status line says ``text``; all that it says."""
    try:
        expect(status(studio)).to_contain_text(text, timeout=LONG)
    except AssertionError as error:
        said = status(studio).inner_text()
        raise AssertionError(f"no {text!r}: {said}") from error
    return status(studio).inner_text()


def control(studio, label):
    return studio.get_by_label(label, exact=True)


def button(studio, name):
    return studio.get_by_role("button", name=name, exact=True)


def send(page, studio, path):
    """Press the button and choose a file."""
    with page.expect_file_chooser() as chooser:
        studio.get_by_role("button", name="Upload pictures").click()
    chooser.value.set_files(path)


def until(page, look, good):
    """What ``look`` sees, once it is ``good``; the last sight after ``LONG``."""
    end = time.monotonic() + LONG / 1000
    while not good(seen := look()) and time.monotonic() < end:
        page.wait_for_timeout(100)
    return seen


def meme(page):
    return widget_image(page, f"{STUDIO} .vt-wide img")


def changed(page, before):
    """The meme on the page, once it is another than before."""
    now = until(page, lambda: meme(page), lambda now: now != before)
    assert now != before, "the picture on the page did not change"
    return now


def expected_heat(name, words):
    """The map that the plain function gives, as the page should show it."""
    image = Image.open(ROOT / "images" / name).convert("RGB")
    heat = explain(vt.load_clip(), image, words)
    return preview(overlay(image, heat), 420)


def differ(one, other):
    """How far two PNG files are apart: 0 … 255, a mean over the pixels."""
    one, other = (Image.open(io.BytesIO(png)) for png in (one, other))
    return np.abs(np.asarray(one, float) - np.asarray(other, float)).mean()


def test_a_typed_caption_is_drawn(page, studio):
    before = meme(page)
    control(studio, "Caption").fill("The penguin forgot its towel")
    control(studio, "Caption").press("Enter")
    told(studio, "Your caption")
    assert changed(page, before) != before


def test_another_style_draws_it_again(page, studio):
    before = meme(page)
    control(studio, "Style").select_option(label="on a bar below")
    told(studio, "Style: on a bar below")
    changed(page, before)


def test_an_alternative_is_one_click_away(page, studio):
    before = meme(page)
    choice = studio.locator(".vt-choice").first
    text = re.sub(r" \(\d+ %\)$", "", choice.inner_text())
    choice.click()
    told(studio, "Taken.")
    changed(page, before)
    assert control(studio, "Caption").input_value() == text


def test_an_upload_is_shown_and_saved_as_seen(page, studio, tmp_path):
    picture = tmp_path / "my holiday.png"
    plain("blue", (320, 240)).save(picture)
    before = meme(page)
    send(page, studio, picture)
    told(studio, "Added my holiday.png")
    before = changed(page, before)
    control(studio, "Caption").fill("Blue, all over")
    control(studio, "Caption").press("Enter")
    told(studio, "Blue, all over")
    shown = changed(page, before)
    button(studio, "Save this meme").click()
    path = Path(told(studio, "Saved: ").partition("Saved: ")[2].strip())
    assert path.stem == "my holiday"
    assert path.read_bytes() == shown


def test_a_file_that_is_no_picture_is_refused(page, studio, tmp_path):
    wrong = tmp_path / "notes.png"
    wrong.write_text("no picture at all")
    send(page, studio, wrong)
    assert "notes.png" in told(studio, "Problem:")


def test_auto_says_why_the_words_stand_where_they_do(page, studio):
    before = meme(page)
    control(studio, "Style").select_option(label="auto: where it hides least")
    said = told(studio, "of the heat")
    assert "Style: auto" in said
    expect(
        studio.get_by_text(said.partition("Here ")[2].strip(". ")).last
    ).to_be_visible()
    control(studio, "Style").select_option(label="top")
    told(studio, "Style: top.")
    changed(page, before)


def test_another_model_and_back(page, studio):
    menu = control(studio, "Model")
    first = menu.input_value()
    before = studio.locator(".vt-bars").inner_text()
    menu.select_option(label="my student")
    told(studio, "my_student")
    assert studio.locator(".vt-bars").inner_text() != before
    menu.select_option(first)
    told(studio, "StickerCLIP")
    assert studio.locator(".vt-bars").inner_text() == before


def test_photos_of_11_mb_arrive_together(page, studio, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (3, 1700, 1700, 3), np.uint8)
    photos = [tmp_path / f"photo {n}.jpg" for n in range(3)]
    for photo, noise in zip(photos, pixels, strict=True):
        Image.fromarray(noise).save(photo, quality=97)
    assert sum(photo.stat().st_size for photo in photos) > 11_000_000
    send(page, studio, photos)
    said = told(studio, "Added")
    assert all(photo.name in said for photo in photos)


def test_a_heic_is_named_with_the_way_on(page, studio, tmp_path):
    photo = tmp_path / "IMG_0001.HEIC"
    photo.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(400))
    send(page, studio, photo)
    said = told(studio, "Problem:")
    assert "IMG_0001.HEIC" in said and "HEIC" in said.replace("IMG_0001.HEIC", "")
    assert "JPEG" in said


def test_why_this_caption_points_at_what_the_words_name(page, studio):
    """A cactus stands in the middle, a balloon hangs at the top right."""
    trust_me = studio.locator("option", has_text="trust_me.png")
    control(studio, "Picture").select_option(label=trust_me.text_content())
    told(studio, "trust_me.png")
    seen = []
    for words, place in (
        ("a cactus", "in the centre"),
        ("a balloon", "at the top right"),
    ):
        control(studio, "Words").fill(words)
        button(studio, "Why this caption?").click()
        said = f"“{words}”: brightest {place}."
        studio.get_by_text(said).wait_for(timeout=LONG)
        wanted = expected_heat("trust_me.png", words)
        image = f"{STUDIO} img[alt^='Heat map. “{words}']"
        heat = until(
            page,
            lambda image=image: widget_image(page, image),
            lambda heat, wanted=wanted: differ(heat, wanted) < 2,
        )
        assert differ(heat, wanted) < 2
        seen.append(heat)
    assert differ(*seen) > 5
    clip_out(page, STUDIO, "studio_why.png")


def test_the_keyboard_alone_reaches_and_presses_everything(page, studio):
    control(studio, "Picture").focus()
    seen = []
    for _ in range(40):
        seen.append(page.evaluate(FOCUSED))
        page.keyboard.press("Tab")
        if page.evaluate(LEFT):
            break
    assert len(seen) >= 18, seen
    assert [name for name, _ in seen if not name] == []
    assert [name for name, ring in seen if not ring] == []
    names = [name for name, _ in seen]
    for wanted in ("Caption", "Save this meme", "Style", "Folder"):
        assert wanted in names, names
    before = control(studio, "Picture").input_value()
    button(studio, "Next →").focus()
    page.keyboard.press("Enter")
    expect(control(studio, "Picture")).not_to_have_value(before, timeout=LONG)


FOCUSED = """() => {
  const e = document.activeElement;
  const name = (e.labels && e.labels[0] ? e.labels[0].innerText : '')
    || e.getAttribute('aria-label') || e.innerText || e.title;
  return [name.trim(), getComputedStyle(e).outlineStyle !== 'none'];
}"""
LEFT = "() => !document.activeElement.closest('.vt-studio')"
NAMELESS = """() => [...document.querySelectorAll(
    '.vt-studio :is(button, input, select, textarea, img)')]
  .filter(e => e.offsetParent && e.type !== 'file')
  .filter(e => !((e.labels && e.labels.length && e.labels[0].innerText)
    || e.getAttribute('aria-label') || e.innerText || e.title || e.alt))
  .map(e => e.outerHTML.slice(0, 200))"""
CUT_OFF = """() => {
  const box = document.querySelector('.vt-studio').getBoundingClientRect();
  return [...document.querySelectorAll(
      '.vt-studio :is(button, input, select, textarea, img, li, p, label)')]
    .filter(e => e.offsetParent && e.type !== 'file')
    .filter(e => e.getBoundingClientRect().right > box.right + 2
      || e.scrollWidth > e.clientWidth + 2 && e.tagName === 'BUTTON')
    .map(e => e.outerHTML.slice(0, 120));
}"""


def test_every_control_is_named(page):
    assert page.evaluate(NAMELESS) == []


def test_it_is_readable_at_200_per_cent(page, studio):
    """Twice the size on a page of half the width, with nothing cut off."""
    size = page.viewport_size
    page.set_viewport_size({"width": 640, "height": 500})
    try:
        page.wait_for_function("innerWidth === 640")
        studio.scroll_into_view_if_needed()
        cut_off = until(page, lambda: page.evaluate(CUT_OFF), lambda seen: not seen)
        assert cut_off == []
        clip_out(page, STUDIO, "studio_200.png")
    finally:
        page.set_viewport_size(size)
        page.wait_for_function(f"innerWidth === {size['width']}")
    clip_out(page, STUDIO, "studio.png")


def test_all_memes_as_zip(studio):
    button(studio, "Save all as zip").click()
    path = Path(told(studio, "memes.zip").partition("Saved: ")[2].strip())
    with zipfile.ZipFile(path) as file:
        rows = json.loads(file.read("memes.json"))
        names = [row["meme"] for row in rows]
        assert sorted([*names, "memes.json"]) == sorted(file.namelist())
        assert len(names) == 32 and "my holiday.png" in names
        assert file.read(names[0])[:4] == PNG


def test_the_status_stays_in_sight(page, studio):
    """Save is far below the line that says where the file went."""
    field = studio.get_by_label("All captions")
    field.scroll_into_view_if_needed()
    expect(field).to_be_in_viewport()
    expect(status(studio)).to_be_in_viewport()


def test_the_picture_on_the_page_is_a_png(page):
    assert meme(page)[:4] == PNG
