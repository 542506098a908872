"""A page of JupyterLab in a headless browser, and what to do with it."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .chromium import ARGUMENTS, HELP, find_chromium
from .lab import copy_course, cut_after, running_lab

# Milliseconds.  Waits are for states and end when the state is there: this is
# room for a machine at a quarter of the speed, with other work on its cores.
LONG = 240_000


@contextmanager
def open_lab_page(
    tmp_path_factory, notebook: str, until: str, prepare=lambda folder: None
) -> Iterator:
    """A browser's page with a notebook, up to the cell that has ``until``.

    It is a notebook of a copy of the course; ``prepare(folder)`` may add to it.

    Without a browser the test is skipped, with the remedy; in CI (``CI`` is
    set) it fails.
    """
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=LONG / 4)
    browser_path = find_chromium()
    if browser_path is None:
        if os.environ.get("CI"):
            pytest.fail(HELP)
        pytest.skip(HELP)
    folder = tmp_path_factory.mktemp("course")
    copy_course(folder)
    prepare(folder)
    cut_after(folder / notebook, until)
    home = tmp_path_factory.mktemp("home")
    with running_lab(folder, home) as lab, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=browser_path, args=list(ARGUMENTS)
        )
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(LONG / 4)
        try:
            page.goto(lab.url(notebook), timeout=LONG)
            page.locator(".jp-Notebook").first.wait_for(timeout=LONG)
            yield page
        finally:
            browser.close()


def run_all(page) -> None:
    """Run All Cells of the menu Run, and wait until all have run.

    A kernel that still runs cells hears of a key pressed in a widget only
    after them.
    """
    from playwright.sync_api import expect

    # The status bar names a kernel only when there is one; the round sign
    # beside the notebook's name already says idle before.
    page.get_by_text(re.compile(r"Python.*\| Idle$")).wait_for(timeout=LONG)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    last = page.locator(".jp-CodeCell .jp-InputPrompt").last
    expect(last).to_have_text(re.compile(r"\[\d+\]"), timeout=2 * LONG)


def scroll_to(page, selector: str) -> None:
    """Wait for a widget, which shows once its cell has run; bring it up."""
    found = page.locator(selector).first
    found.wait_for(timeout=LONG)
    found.scroll_into_view_if_needed()


def widget_image(page, selector: str) -> bytes:
    """The file of the picture that the page shows at ``selector``."""
    source = page.locator(selector).first.get_attribute("src", timeout=LONG)
    return base64.b64decode(source.partition("base64,")[2])


def clip_out(page, selector: str, name: str) -> None:
    """A screenshot to look at, if ``SCREENSHOTS`` names a folder."""
    folder = os.environ.get("SCREENSHOTS")
    if not folder:
        return
    Path(folder).mkdir(parents=True, exist_ok=True)
    size = page.viewport_size
    page.set_viewport_size({"width": size["width"], "height": 4000})
    scroll_to(page, selector)
    page.wait_for_timeout(500)
    page.locator(selector).screenshot(path=str(Path(folder, name)))
    page.set_viewport_size(size)
