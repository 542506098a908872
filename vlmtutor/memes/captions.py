"""Read captions: one a line, "# " starts a comment, blank lines do not count.

The file is UTF-8. A caption is cleaned as it will be drawn.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from ..console import counted
from ..models.formats import describe, text_kind
from ..models.texts import as_texts
from .letters import clean_text

LARGEST = 100_000_000  # bytes of captions

_NO_TEXT = (b"version https://git-lfs", b"%PDF-", b"%!PS")  # though in letters

# Texts made for programs, though not by their first bytes.
_LIST = re.compile(r"""[\[{]\s*["']""")
_OPENS = r"[\w.$ \t]+(:[^\n=]+)?=\s*[\[({]"  # a name, perhaps a type
_NAMED_LIST = re.compile(rf"""^{_OPENS}\s*["']""", re.MULTILINE)
_ITEM = re.compile(  # a line of such a list: its first, a text, its end
    rf"""{_OPENS}|["'].*["']\s*[,\])}}]|[\])}}][;,]?$"""
)
_TIMES = re.compile(
    r"^((\d+:)?\d\d:\d\d[.,]\d{3} --> "  # SRT, WebVTT
    r"|\d+:\d\d:\d\d\.\d{3},\d+:\d\d:\d\d\.\d{3}\s*$"  # SBV
    r"|Dialogue: *\d+,\d+:\d\d:\d\d\.\d\d,)",  # SSA, ASS
    re.MULTILINE,
)
_LYRICS = re.compile(r"\[\d+:\d\d[.:]\d\d\d?\]")  # LRC
_NAME = r"""[^\n,;|\t]+\.(jpe?g|jpe|jfif|png|gif|webp|avif|hei[cf]|hif|bmp|dib|tiff?
    |jp2|jxl|ico|qoi|pcx|p[bgnp]m)(\#\d+)?["']?\s*"""
_FLAGS = re.IGNORECASE | re.VERBOSE
_ROW = re.compile(rf"{_NAME}[,;|\t](?!\ )", _FLAGS)  # prose has a space there
_CELL = re.compile(rf"[,;|\t]{_NAME}([,;|\t]|$)|^{_NAME}[,;|\t]", _FLAGS)

_SWITCH = re.compile(rb"\x1b\$?[()@AB]")  # to other letters: mails of Japan, Korea

# A hash and a word is a hashtag; a hash and one letter is neither.
_COMMENT = re.compile(r"#+(\s|.?$)")


class Captions(list[str]):
    """Captions, each once; ``left_out`` counts comments, repetitions and what is
    written in characters that are not drawn; ``unread`` says of each caption that
    the model cannot read why."""

    left_out = 0
    unread: tuple[str, ...] = ()

    def notes(self) -> list[str]:
        """What is left out, in a sentence each; nothing if nothing is."""
        notes = [f"a caption left out: {reason}" for reason in self.unread]
        if self.left_out:
            reasons = 'comments ("# …"), repetitions, nothing to draw'
            lines = counted(self.left_out, "line")
            notes.insert(0, f"{lines} of captions left out: {reasons}")
        return notes


def read_captions(path: str | Path) -> Captions:
    """The captions of a text file, each once, in the order of the file.

    Raises OSError if there is no such file, or ValueError if it is not UTF-8
    text, is made for programs (RTF, HTML, JSON, a list in a program, subtitles,
    lyrics with times, a table of pictures) or holds no caption.
    """
    path = Path(os.path.expanduser(path))
    if os.path.isdir(path):
        raise IsADirectoryError(f"no captions: {path} is a folder, name a text file")
    if not os.path.exists(path):
        raise FileNotFoundError(f"no captions: there is no file {path}")
    captions = parse_captions(_text_of(path))
    if not captions:
        raise ValueError(f"no captions in {path}: write one on each line")
    return captions


def parse_captions(text: str) -> Captions:
    """The captions of a text, one a line, each once.

    A line that starts with "# ", or holds nothing but "#", is a comment; one
    that starts with a hashtag is a caption.
    """
    # Before the "#" there may be what is not seen, such as a byte order mark
    # where files have been put together; for that the first letters are enough.
    lines = re.split("\r\n|\r|\n", text)
    kept = [line for line in lines if not _COMMENT.match(clean_text(line[:200]))]
    captions = unique_captions(kept)
    captions.left_out += len(lines) - len(kept)
    return captions


def unique_captions(captions: Iterable[str]) -> Captions:
    """Cleaned captions without empty ones and repetitions, in order.

    Raises TypeError for a caption that is no string, or for one string
    where a list belongs.
    """
    written = [text for text in as_texts(captions, "caption") if text.strip()]
    cleaned = map(clean_text, written)
    unique = Captions(dict.fromkeys(text for text in cleaned if text.strip("|\n ")))
    unique.left_out = len(written) - len(unique) + getattr(captions, "left_out", 0)
    return unique


def _text_of(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError(f"{path} is too large: over {LARGEST // 10**6} MB of captions")
    for mark, name in (
        (b"\xff\xfe\0\0", "UTF-32"),
        (b"\0\0\xfe\xff", "UTF-32"),
        (b"\xff\xfe", "UTF-16"),
        (b"\xfe\xff", "UTF-16"),
    ):
        if data.startswith(mark):
            raise ValueError(_not_utf8(path, f"it looks like {name}"))
    if _SWITCH.search(data):
        raise ValueError(_not_utf8(path, "it looks like ISO-2022"))
    few, many = sorted(data[start::2].count(0) for start in (0, 1))
    if len(data) % 2 == 0 and many > 0.8 * len(data) / 2 > 4 * few:
        raise ValueError(_not_utf8(path, "it looks like UTF-16"))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        kind, found, _ = describe(data).partition(", not a picture")
        raise ValueError(
            _no_list(path, kind) if found else _not_utf8(path, f"see line {line}")
        ) from None
    if "\0" in text:
        raise ValueError(_no_list(path, "no text file, as it holds zero bytes"))
    of_text = describe if data.startswith(_NO_TEXT) else text_kind
    kind, found, _ = of_text(data).partition(", not a picture")
    if found and kind != "a text file":
        raise ValueError(_no_list(path, kind))
    if kind := _made_for_programs(text.strip()):
        raise ValueError(_no_list(path, kind))
    return text


def _made_for_programs(text: str) -> str:
    """What kind of such a file a text is from; "" if from none."""
    if _LIST.match(text) and text[-1] in "]}":
        return "a list as programs have it"
    if _TIMES.search(text):
        return "a file of subtitles"
    rows = [line.strip() for line in text.splitlines()]
    rows = [row for row in rows if row and not _COMMENT.match(row)]
    if _most(rows, _ROW.match) or _most(rows, _CELL.search, at_least=2):
        return "a table with names of pictures"
    if _most(rows, _LYRICS.match, at_least=2):
        return "a file of subtitles"
    if _NAMED_LIST.search(text) and _most(rows, _ITEM.match):
        return "a list as programs have it"
    return ""


def _most(rows: list[str], looks_so: Callable, at_least: int = 1) -> bool:
    """Whether more than half of the rows do: single ones may be jokes."""
    found = sum(bool(looks_so(row)) for row in rows)
    return found >= at_least and 2 * found > len(rows)


def _no_list(path: Path, kind: str) -> str:
    return (
        f"{path} is {kind}, not a list of captions: "
        "save it as plain text in UTF-8, one caption on each line"
    )


def _not_utf8(path: Path, detail: str) -> str:
    return (
        f"{path} is not UTF-8 text ({detail}): "
        "save it as UTF-8 in your editor and try again"
    )
