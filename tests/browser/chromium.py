"""Find a browser of Chromium's family, the one that the tests drive."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

# Debian's package first; then what people and CI machines have.
NAMES = (
    "chromium",
    "google-chrome",
    "google-chrome-stable",
    "chromium-browser",
    "chrome",
    "msedge",
    "microsoft-edge",
)
PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
    r"C:\Program Files\Microsoft\Edge\Application\msedge.exe",
)

# A headless browser in a container, as root, that talks to nobody.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
)

HELP = (
    "No Chromium, Chrome or Edge was found. On Debian and Ubuntu: "
    "sudo apt-get install chromium. Elsewhere install Chrome or Chromium, "
    "or name yours: CHROMIUM=/path/to/it make test"
)


def find_chromium() -> str | None:
    """The path of a browser, or None; ``CHROMIUM`` in the environment wins.

    Raises FileNotFoundError if that variable names no file.
    """
    named = os.environ.get("CHROMIUM")
    if named:
        path = shutil.which(named)
        if path is None:
            raise FileNotFoundError(f"CHROMIUM names no program: {named}")
        return path
    found = filter(None, map(shutil.which, NAMES))
    placed = (place for place in PLACES if Path(place).is_file())
    return next(found, None) or next(placed, None)
