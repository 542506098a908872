"""What became of every file of a folder, as an object and as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..console import printable
from .match import Matches

FORMAT = "vlmtutor memes 1"
ALTERNATIVES = 3  # the captions that came next
# What has no UTF-8, and what would steer a terminal that shows the file.
_ESCAPED = re.compile(r"[\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@dataclass(frozen=True, slots=True)  # a folder may hold 100,000
class Meme:
    """A picture with its caption: the file it came from and the file made.

    ``row`` is the picture's in the report's ``matches``; ``score`` is the
    cosine; ``probability`` the softmax over all captions; ``notes`` is what is
    not as one would expect, such as letters that no font has.
    """

    source: str
    file: str
    row: int
    caption: str
    score: float
    probability: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Skipped:
    """A file that gave no meme, and why."""

    name: str
    reason: str


@dataclass
class Report:
    """Every file of the folder, either in ``memes`` or in ``skipped``."""

    out: Path
    settings: dict
    matches: Matches
    memes: list[Meme] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    galleries: list[Path] = field(default_factory=list)
    path: Path | None = None  # of the JSON report
    written: int = 0  # memes drawn by this run; the others were there
    notes: list[str] = field(default_factory=list)  # about the run as a whole

    def summary(self) -> str:
        """One or two sentences for a person."""
        kept = len(self.memes) - self.written
        text = f"{len(self.memes)} memes in {printable(str(self.out))}"
        if kept:
            text += f" ({kept} of them there from an earlier run)"
        text += "."
        if self.skipped:
            where = self.path.name if self.path else "the report"
            text += f" {len(self.skipped)} files skipped, reasons in {where}."
        return text

    def remarks(self) -> list[str]:
        """What a person should know besides, each with the files it is about."""
        files: dict[str, list[str]] = {}
        for meme in self.memes:
            for note in meme.notes:
                files.setdefault(note, []).append(printable(meme.source))
        remarks = list(self.notes)
        for note, (first, *others) in files.items():
            more = f" and {len(others)} more" if others else ""
            remarks.append(f"{first}{more}: {note}")
        return remarks

    def to_json(self) -> str:
        """The same as text: scores to six digits, names as the files have them."""
        return "".join(self.pieces())

    def pieces(self) -> Iterator[str]:
        """That text a meme at a time: of a large folder it would fill memory."""
        skipped = [asdict(skip) for skip in self.skipped]
        galleries = [path.name for path in self.galleries]
        rest = {"skipped": skipped, "galleries": galleries}
        if self.notes:
            rest["notes"] = self.notes
        head = {"format": FORMAT, "settings": self.settings}
        yield json_text(head).removesuffix("\n}")
        yield ',\n "memes": ['
        for k, meme in enumerate(self.memes):
            row = "\n" + json_text(self._row(meme))
            yield "," * (k > 0) + row.replace("\n", "\n  ")
        yield "\n ],\n" if self.memes else "],\n"
        yield json_text(rest).removeprefix("{\n") + "\n"

    def _row(self, meme: Meme) -> dict:
        row = {
            "source": meme.source,
            "file": meme.file,
            "caption": meme.caption,
            "score": round(meme.score, 6),
            "probability": round(meme.probability, 6),
            "alternatives": [
                {
                    "caption": other.caption,
                    "score": round(other.score, 6),
                    "probability": round(other.probability, 6),
                }
                for other in self.matches.alternatives_of(meme.row, ALTERNATIVES)
            ],
        }
        return row | ({"notes": list(meme.notes)} if meme.notes else {})


def json_text(content: dict | list) -> str:
    """JSON that holds every name as it is, in letters that UTF-8 has.

    What a screen should not get stands as ``\\u…``: a program that reads the
    file gets it all the same. Raises ValueError for NaN.
    """
    text = json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False)
    return _ESCAPED.sub(lambda c: f"\\u{ord(c[0]):04x}", text)
