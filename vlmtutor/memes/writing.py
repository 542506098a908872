"""What a run writes: memes, contact sheets, the report."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from tqdm.auto import tqdm

from ..models.mending import mended
from ..models.pictures import (
    MAX_PIXELS,
    UnreadablePicture,
    decode_picture,
    open_header,
    read_bytes,
)
from . import gallery
from .identity import model_identity
from .layout import drawn_text
from .letters import complaints
from .names import safe_stem
from .outbox import Outbox
from .render import TooSmall, draw
from .report import Meme, Report, Skipped

PHOTOS = ("JPEG", "MPO", "WEBP", "AVIF", "HEIF", "JXL", "JPEG2000")
LONGEST_JPEG = 65_500  # pixels a side: what the library behind Pillow takes
_FULL = (errno.ENOSPC, errno.EROFS, getattr(errno, "EDQUOT", errno.ENOSPC))


class Writer:
    """Fills ``box`` and notes in ``report`` what became of each file of ``folder``.

    ``home`` tells that folder from others: two pictures of one name are two.
    ``drawing`` holds the options of ``draw``, whose style may be "auto", by
    the eyes of ``clip``; without ``resume`` a meme that is there is drawn
    again.
    """

    def __init__(
        self,
        report: Report,
        box: Outbox,
        folder: Path,
        home: str,
        drawing: dict,
        clip,
        resume: bool,
    ):
        self.report, self.box, self.folder, self.home = report, box, folder, home
        self.drawing, self.clip, self.resume = drawing, clip, resume
        self.eyes = model_identity(clip) if drawing["style"] == "auto" else ""
        self.font = _content(drawing["font"])

    def draw_all(self, files: dict[str, bytes], progress: bool) -> None:
        """The meme of each picture, whose SHA-256 must still be as it was.

        ``files``: by name, in the order of the report's ``matches``.

        One that fails is skipped with the reason. Where nothing but errors
        that say nothing about a picture came of it, the first is raised.
        """
        names = tqdm(files, "writing", unit="meme", disable=not progress)
        foreign = None
        for i, name in enumerate(names):
            try:
                self._draw(name, files[name], i)
            except (UnreadablePicture, TooSmall) as reason:
                self._skip(name, str(reason))
            except Exception as error:
                if getattr(error, "errno", None) in _FULL:
                    raise  # so it would be for every other
                if not isinstance(error, (OSError, MemoryError)):
                    foreign = foreign or error
                kind = type(error).__name__
                self._skip(name, f"its meme cannot be made: {kind}: {error}")
        self.report.skipped.sort(key=lambda skip: skip.name)
        if foreign and not self.report.memes:
            raise foreign

    def _skip(self, name: str, reason: str) -> None:
        self.report.skipped.append(Skipped(name, reason))

    def _draw(self, name: str, digest: bytes, i: int) -> None:
        choice = self.report.matches.choice(i)
        if choice is None:
            why = "no caption left: there are more pictures than captions"
            return self._skip(name, why)
        data = read_bytes(self.folder / name)
        if hashlib.sha256(data).digest() != digest:
            raise UnreadablePicture("changed during the run: run it again")
        role = self._role(name)
        # what a font or a library lacked may be there by now
        lacks = complaints(
            drawn_text(choice.caption, self.drawing["upper"]), self.drawing["font"]
        )
        how = self.drawing, self.font, lacks, self.eyes
        key = _digest(digest.hex(), choice.caption, *how)
        made = self.box.kept(role, key) if self.resume else None
        if made is None:
            picture = decode_picture(data)
            meme = draw(picture, choice.caption, clip=self.clip, **self.drawing)
            suffix, options = _format(data, meme.size)
            made, _ = self.box.write(
                role,
                _stem(name),
                suffix,
                key,
                lambda part: meme.save(part, **options),
                again=True,
            )
            self.report.written += 1
        meme = Meme(
            name,
            made.name,
            i,
            choice.caption,
            choice.score,
            choice.probability,
            (*lacks, *size_notes(*_header(data)[1])),
        )
        self.report.memes.append(meme)

    def _role(self, name: str) -> str:
        return f"picture {self.home}/{name}"

    def draw_galleries(self) -> None:
        """The contact sheets; pages that a longer run left behind go."""
        memes, sheets = self.report.memes, f"gallery {self.home}"
        wanted = set()
        for number, page in enumerate(gallery.pages(len(memes)), start=1):
            paths = [self.report.out / memes[i].file for i in page]
            roles = [self._role(memes[i].source) for i in page]
            stem = "gallery" if number == 1 else f"gallery-{number}"
            role = f"{sheets} {number}"
            wanted.add(role)
            made = self._write(
                (role, stem, ".png", _digest([self.box.digest(r) for r in roles])),
                lambda part, paths=paths: gallery.draw_page(paths).save(
                    part, format="PNG"
                ),
            )
            self.report.galleries += [made] if made else []
        for role in self.box.roles():
            # the last word is the number: another folder's name may begin alike
            if role.rpartition(" ")[0] == sheets and role not in wanted:
                self.box.remove(role)

    def write_report(self) -> None:
        """``report.json``."""
        content = hashlib.sha256()
        for piece in self.report.pieces():
            content.update(piece.encode())

        def make(part: Path) -> None:
            with part.open("w", encoding="utf-8") as file:
                file.writelines(self.report.pieces())

        what = (f"report {self.home}", "report", ".json", content.hexdigest())
        self.report.path = self._write(what, make)

    def _write(self, what: tuple, make: Callable[[Path], object]) -> Path | None:
        """A file of a run that is done: if a viewer holds it, that is told."""
        try:
            return self.box.write(*what, make)[0]
        except PermissionError as error:
            name = what[1] + what[2]
            self.report.notes.append(f"{name} cannot be written: {error.strerror}")
            return None


def size_notes(width: int, height: int) -> list[str]:
    """What a reader should know of a picture of that size."""
    if width * height <= MAX_PIXELS:
        return []
    return [f"{width:,} x {height:,} pixels, read at half its size"]


def _stem(name: str) -> str:
    """A safe name that is none of the gallery's or the report's."""
    stem = safe_stem(name)
    ours = stem.casefold().startswith(("gallery", "report"))
    return f"picture-{stem}" if ours else stem


def _header(data: bytes) -> tuple[str, tuple[int, int]]:
    """The format and the size of a picture: ("", (0, 0)) if they are lost."""
    for part in (lambda: data, lambda: mended(data)):  # as it has been decoded
        with contextlib.suppress(Exception), open_header(part()) as image:
            return image.format, image.size
    return "", (0, 0)


def _format(data: bytes, size: tuple[int, int]) -> tuple[str, dict]:
    """Photos stay JPEG, because a PNG of one is many times as large.

    What counts is what was decoded, whatever the file is called.
    """
    format, _ = _header(data)
    lossless = format == "WEBP" and b"VP8L" in data[:64]
    if format not in PHOTOS or lossless or max(size) > LONGEST_JPEG:
        return ".png", {"format": "PNG"}
    if format in ("JPEG", "MPO"):
        return ".jpg", {"format": "JPEG", "quality": 92, "subsampling": 0}
    # The newer formats are smaller for what they show: no use to gild it.
    return ".jpg", {"format": "JPEG", "quality": 90}


def _content(font: str | Path | None) -> str:
    """The SHA-256 of a font file; nothing of the course's own."""
    if font is None:
        return ""
    return hashlib.sha256(Path(font).expanduser().read_bytes()).hexdigest()


def _digest(*parts: object) -> str:
    text = json.dumps(parts, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
