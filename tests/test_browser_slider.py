"""Sliders of notebooks in a real JupyterLab."""

import contextlib
import re

import pytest

pytest.importorskip("playwright")
from browser.pages import clip_out, open_lab_page, run_all, scroll_to
from playwright.sync_api import expect


@contextlib.contextmanager
def at_slider(tmp_path_factory, notebook, cell):
    """A page whose slider has the keyboard, its picture and words, and what
    they were: (page, picture, words, before)."""
    with open_lab_page(tmp_path_factory, f"notebooks/{notebook}.ipynb", cell) as page:
        run_all(page)
        scroll_to(page, ".widget-slider")
        picture = page.locator("img.widget-image").first
        words = page.locator(".widget-html-content b").first
        expect(words).not_to_be_empty()
        before = picture.get_attribute("src"), words.text_content()
        page.locator(".widget-slider .noUi-handle").focus()
        yield page, picture, words, before


def test_arrow_keys_move_to_another_scene(tmp_path_factory):
    slider = at_slider(tmp_path_factory, "00_start_here", "IntSlider(")
    with slider as (page, picture, words, before):
        page.keyboard.press("ArrowRight")
        expect(picture).not_to_have_attribute("src", before[0])
        expect(words).not_to_have_text(before[1])
        assert page.locator(".widget-readout").first.inner_text() == "25"
        page.keyboard.press("ArrowLeft")
        expect(words).to_have_text(before[1])


def test_a_higher_threshold_shows_fewer_boxes(tmp_path_factory):
    """The threshold of notebook 15."""
    slider = at_slider(tmp_path_factory, "15_det_borrow_the_teacher", "FloatSlider(")
    with slider as (page, picture, words, before):
        for _ in range(12):  # past the .81 of the tiger
            page.keyboard.press("ArrowRight")
        expect(page.locator(".widget-readout").first).to_have_text("0.90")
        expect(words).not_to_have_text(before[1])
        expect(picture).not_to_have_attribute("src", before[0])
        clip_out(page, ".jp-OutputArea:has(.widget-slider)", "threshold.png")
        found = [
            [int(share) for share in re.findall(r"(\d+)%", told)]
            for told in (before[1], words.text_content())
        ]
        assert found[1][1] < found[0][1]  # recall falls


def test_a_warmer_softmax_is_less_sure(tmp_path_factory):
    """The temperature of notebook 03."""
    slider = at_slider(tmp_path_factory, "03_contrastive", "FloatLogSlider(")
    with slider as (page, picture, words, before):
        for _ in range(6):
            page.keyboard.press("ArrowRight")
        expect(words).not_to_have_text(before[1])
        expect(picture).not_to_have_attribute("src", before[0])
        clip_out(page, ".jp-OutputArea:has(.widget-slider)", "slider.png")
        shares = [
            int(t.split()[0].rstrip("%")) for t in (before[1], words.text_content())
        ]
        assert shares[0] > shares[1]
        assert page.locator(".widget-readout").first.inner_text() == "0.14"
