"""File names that every system accepts, each used once."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Collection, Iterator

MOST_BYTES = 120
# Persian words and emoji of several are written with them; at the end of a
# name they join nothing.
JOINERS = "\u200c\u200d"

_ENDS = ". " + JOINERS
_FORBIDDEN = re.compile(r'[<>:"/\\|?*]')
_DEVICES = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[\d¹²³])(\..*)?", re.IGNORECASE
)


def safe_stem(name: str) -> str:
    """A name without path, suffix or anything a file system may refuse.

    Letters of any script stay, and so do joiners between them; spaces of any
    kind become plain ones. Separators, control characters and those that turn
    the writing round, Windows' device names, leading dots and what is too
    long go. Never empty.
    """
    name = name.encode("utf-8", "replace").decode()  # undecodable bytes: ?
    name = unicodedata.normalize("NFC", re.split(r"[/\\]", name)[-1])
    stem = name.rpartition(".")[0] if "." in name.lstrip(".") else name
    stem = _FORBIDDEN.sub("_", stem)
    stem = "".join(c for c in stem if c in JOINERS or unicodedata.category(c)[0] != "C")
    stem = " ".join(stem.split()).strip(_ENDS)
    if _DEVICES.fullmatch(stem):
        stem = f"_{stem}"
    stem = stem.encode()[:MOST_BYTES].decode(errors="ignore").rstrip(_ENDS)
    return stem or "picture"


def numbered(stem: str, suffix: str) -> Iterator[str]:
    """``stem + suffix``, then the same with a number: 2, 3, …."""
    yield stem + suffix
    for number in itertools.count(2):
        yield f"{stem}-{number}{suffix}"


def unused(stem: str, suffix: str, taken: Collection[str]) -> str:
    """``stem + suffix``, numbered if that name is taken.

    ``taken`` holds names after ``str.casefold``, because many file systems
    do not tell capitals from small letters.
    """
    names = numbered(stem, suffix)
    return next(name for name in names if name.casefold() not in taken)
