"""What a screen can show: characters that it has, and no control codes."""

from __future__ import annotations

import sys

MARKS = {"✓": "[OK]", "→": "->"}  # in letters that every screen has


def say(text: str) -> None:
    """Print a text, whatever the encoding of the screen.

    What that lacks, as a Windows console or a pipe lacks "✓", becomes the
    word of :data:`MARKS` or "?".
    """
    code = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        text.encode(code)
    except UnicodeEncodeError:
        for mark, word in MARKS.items():
            text = text.replace(mark, word)
        text = text.encode(code, "replace").decode(code)
    print(text)


def printable(text: str, keep: str = "") -> str:
    """A text with what no terminal or JSON file can hold escaped.

    Control characters and those that turn the writing round are among it:
    file names may hold them. ``keep`` holds characters to leave as they are.
    """
    text = text.encode("utf-8", "backslashreplace").decode()
    return "".join(
        c if c.isprintable() or c in keep else c.encode("unicode_escape").decode()
        for c in text
    )


def counted(n: int, noun: str) -> str:
    """ "1 case", "1,200 cases"."""
    return f"{n:,} {noun}{'s' * (n != 1)}"


def fail(error: object) -> int:
    """Say on stderr why a command failed; its exit code, 1.

    On one line, but for a text or an error that is made of lines: a name in it
    may hold line ends, behind which anything could pass for a line of ours.
    """
    keep = "" if isinstance(error, (OSError, ValueError)) else "\n"
    reason = printable(str(error), keep)
    print(f"[FAIL] {reason}", file=sys.stderr)
    return 1


def tolerate_encodings() -> None:
    """Have what a console lacks replaced, so that no print raises."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
