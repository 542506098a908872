"""A page of JupyterLab in a headless browser, and what to do with it."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .chromium import ARGUMENTS, HELP, find_chromium
from .lab import copy_course, running_lab


@contextmanager
def open_lab_page(tmp_path_factory, notebook: str) -> Iterator:
    """A browser's page with a notebook of a copy of the course.

    Without a browser the test is skipped, with the remedy; in CI (``CI`` is
    set) it fails.
    """
    from playwright.sync_api import sync_playwright

    browser_path = find_chromium()
    if browser_path is None:
        if os.environ.get("CI"):
            pytest.fail(HELP)
        pytest.skip(HELP)
    folder = tmp_path_factory.mktemp("course")
    copy_course(folder)
    home = tmp_path_factory.mktemp("home")
    with running_lab(folder, home) as lab, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=browser_path, args=list(ARGUMENTS)
        )
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        try:
            page.goto(lab.url(notebook), timeout=90_000)
            page.locator(".jp-Notebook").first.wait_for(timeout=90_000)
            yield page
        finally:
            browser.close()


def run_all(page) -> None:
    """The menu Run, its entry Run All Cells, once the kernel is up."""
    idle = page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]")
    idle.wait_for(timeout=90_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()


def scroll_to(page, selector: str) -> None:
    """Turn the wheel until ``selector`` shows.

    After a run JupyterLab stands at the last cell, and it hides the cells
    that are far from what is seen.
    """
    page.locator(".jp-Notebook").first.hover()
    found = page.locator(selector).first
    for _ in range(120):
        if found.is_visible():
            found.scroll_into_view_if_needed()
            return
        page.mouse.wheel(0, -700)
        page.wait_for_timeout(250)
    raise AssertionError(f"nothing to be seen of {selector}")


def wait_until_idle(page) -> None:
    """Wait until the kernel has run all that it was asked to."""
    busy = page.locator(".jp-Notebook-ExecutionIndicator[data-status=busy]")
    page.wait_for_timeout(2000)
    busy.wait_for(state="detached", timeout=120_000)


def widget_image(page, selector: str) -> bytes:
    """The file of the picture that the page shows at ``selector``."""
    source = page.locator(selector).first.get_attribute("src", timeout=30_000)
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
