"""Read captions: one a line, "# " starts a comment, blank lines do not count.

The file is UTF-8. A caption is cleaned as it will be drawn.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from ..models.formats import describe, text_kind
from ..models.texts import as_texts
from .letters import clean_text

# A hash and a word is a hashtag; a hash and one letter is neither.
_COMMENT = re.compile(r"#+(\s|.?$)")


class Captions(list[str]):
    """Captions, each once; ``left_out`` counts comments and repetitions."""

    left_out = 0


def read_captions(path: str | Path) -> Captions:
    """The captions of a text file, each once, in the order of the file.

    Raises FileNotFoundError, or ValueError if the file is not UTF-8 text, is
    made for programs (RTF, HTML, JSON) or holds no caption.
    """
    path = Path(os.path.expanduser(path))
    if not path.is_file():
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
    # Files put together from several may hold byte order marks anywhere.
    lines = [line.lstrip("\ufeff \t") for line in re.split("\r\n|\r|\n", text)]
    kept = [line for line in lines if not _COMMENT.match(line.rstrip())]
    captions = unique_captions(kept)
    captions.left_out += len(lines) - len(kept)
    return captions


def unique_captions(captions: Iterable[str]) -> Captions:
    """Cleaned captions without empty ones and repetitions, in order.

    Raises TypeError for a caption that is no string, or for one string
    where a list belongs.
    """
    cleaned = [clean_text(caption) for caption in as_texts(captions, "caption")]
    cleaned = [caption for caption in cleaned if caption]
    unique = Captions(dict.fromkeys(cleaned))
    unique.left_out = len(cleaned) - len(unique)
    return unique


def _text_of(path: Path) -> str:
    data = path.read_bytes()
    for mark, name in (
        (b"\xff\xfe\0\0", "UTF-32"),
        (b"\0\0\xfe\xff", "UTF-32"),
        (b"\xff\xfe", "UTF-16"),
        (b"\xfe\xff", "UTF-16"),
    ):
        if data.startswith(mark):
            raise ValueError(_not_utf8(path, f"it looks like {name}"))
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
        raise ValueError(f"{path} is no text file: it holds zero bytes")
    kind, found, _ = text_kind(data).partition(", not a picture")
    if found and kind != "a text file":
        raise ValueError(_no_list(path, kind))
    return text


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
