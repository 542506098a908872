"""Fonts: which letters one has, and which one has a letter.

matplotlib brings DejaVu along; for other scripts there are the fonts of the
system. Nothing here imports matplotlib, which would read its settings and
write a list of all fonts first.
"""

from __future__ import annotations

import functools
import importlib.util
import logging
import os
import sys
import unicodedata
from pathlib import Path

from fontTools.ttLib import TTFont
from PIL import ImageFont

# Families that have many scripts, or one of the large ones; before others.
_GOOD = (
    "noto",
    "pingfang",
    "hiragino",
    "msyh",
    "yugoth",
    "malgun",
    "nirmala",
    "leelaw",
    "kohinoor",
    "thonburi",
    "arialuni",
    "arial unicode",
    "droid",
)
# Pictures of letters, and fonts that have a box for every character.
_USELESS = ("emoji", "lastresort", "blank")
_SUFFIXES = (".ttf", ".otf", ".ttc", ".otc")
logging.getLogger("fontTools").setLevel(logging.ERROR)  # remarks on odd tables


def dejavu(name: str = "DejaVuSans.ttf") -> str:
    """The path of one of the DejaVu fonts that matplotlib ships."""
    home = importlib.util.find_spec("matplotlib").submodule_search_locations[0]
    return str(Path(home, "mpl-data", "fonts", "ttf", name))


@functools.cache
def letters_of(path: str) -> frozenset[int]:
    """The code points that a font can draw; none for what is no font."""
    if not os.path.isfile(path):  # a pipe would be waited for
        return frozenset()
    try:
        ImageFont.truetype(path, 16)  # whether FreeType can scale it
        with TTFont(path, fontNumber=0, lazy=True) as font:
            return frozenset(font["cmap"].getBestCmap() or ())
    except Exception:  # fontTools meets a damaged font with errors of any kind
        return frozenset()


def has(path: str, char: str) -> bool:
    """Whether a font can draw a character."""
    return ord(char) in letters_of(path)


def opened(font: str | Path) -> str:
    """The path of a font file; OSError if it is none, or has no letters."""
    path = os.path.expanduser(os.fspath(font))
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            raise OSError("not an ordinary file")  # a pipe would be waited for
        ImageFont.truetype(path, 16)
    except (OSError, ValueError) as error:
        raise OSError(f"cannot read the font {font}: {error}") from None
    kinds = {unicodedata.category(chr(code)) for code in letters_of(path)}
    if not kinds & {"Ll", "Lo", "Lu"}:
        raise OSError(f"cannot use the font {font}: there are no letters in it")
    return path


@functools.cache
def system_font(char: str) -> str | None:
    """A font of this computer that has a character, or None."""
    return next((path for path in _system_fonts() if has(path, char)), None)


@functools.cache
def _system_fonts() -> tuple[str, ...]:
    """The font files of this computer, the likeliest first."""
    found = {
        str(path)
        for folder in _folders()
        for path in sorted(Path(folder).rglob("*"))
        if path.suffix.lower() in _SUFFIXES
    }
    names = {path: Path(path).name.lower() for path in found}
    useful = [p for p in found if not any(word in names[p] for word in _USELESS)]

    def rank(path: str) -> tuple:
        is_good = any(word in names[path] for word in _GOOD)
        return not is_good, "bold" not in names[path], names[path], path

    return tuple(sorted(useful, key=rank))


def _folders() -> list[str]:
    home, env = os.path.expanduser("~"), os.environ.get
    if sys.platform == "win32":
        local = env("LOCALAPPDATA", home)
        return [
            env("WINDIR", "C:\\Windows") + "\\Fonts",
            local + "\\Microsoft\\Windows\\Fonts",
        ]
    if sys.platform == "darwin":
        return ["/System/Library/Fonts", "/Library/Fonts", home + "/Library/Fonts"]
    data = [env("XDG_DATA_HOME") or home + "/.local/share"]
    data += (env("XDG_DATA_DIRS") or "/usr/local/share:/usr/share").split(":")
    return [folder + "/fonts" for folder in data] + [home + "/.fonts"]
