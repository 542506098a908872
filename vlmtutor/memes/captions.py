"""Read captions: one a line, ``#`` starts a comment, blank lines do not count.

The file is UTF-8. A caption is cleaned as it will be drawn.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from .letters import clean_text


def read_captions(path: str | Path) -> list[str]:
    """The captions of a text file, each once, in the order of the file.

    Raises FileNotFoundError, or ValueError if the file is not UTF-8 text or
    holds no caption.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no captions: there is no file {path}")
    data = path.read_bytes()
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError(_not_utf8(path, "it looks like UTF-16"))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(_not_utf8(path, f"see line {line}")) from None
    if "\0" in text:
        raise ValueError(f"{path} is no text file: it holds zero bytes")
    lines = text.splitlines()
    captions = unique_captions(
        line for line in lines if not line.lstrip().startswith("#")
    )
    if not captions:
        raise ValueError(f"no captions in {path}: write one on each line")
    return captions


def unique_captions(captions: Iterable[str]) -> list[str]:
    """Cleaned captions without empty ones and repetitions, in order.

    Raises TypeError for a caption that is no string, or for one string
    where a list belongs.
    """
    if isinstance(captions, str):
        raise TypeError("captions must be a list of texts, not one text")
    cleaned = []
    for caption in captions:
        if not isinstance(caption, str):
            kind = type(caption).__name__
            raise TypeError(f"a caption must be a text, not {kind}")
        cleaned.append(clean_text(caption))
    return list(dict.fromkeys(c for c in cleaned if c))


def _not_utf8(path: Path, detail: str) -> str:
    return (
        f"{path} is not UTF-8 text ({detail}): "
        "save it as UTF-8 in your editor and try again"
    )
