"""What the studio writes: a meme as PNG, all memes as one zip."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from ...models.pictures import UnreadablePicture
from ..listing import is_same
from ..names import safe_stem, unused
from ..outbox import Outbox
from ..render import TooSmall
from ..report import Skipped, json_text

if TYPE_CHECKING:
    from .pictures import Progress
    from .state import StudioState


def save_meme(state: StudioState, i: int) -> Path:
    """Write the meme of picture ``i`` as PNG into ``state.out``; its path.

    Another meme of the same picture gets a numbered name; the same meme is
    not written twice, and no file of anybody else is replaced. Raises
    ValueError if ``state.out`` is the folder of the pictures, OSError if it
    cannot be written.
    """
    box = _outbox(state)
    name = state.pictures[i].name
    data = png_bytes(state.meme(i))
    key = hashlib.sha256(data).hexdigest()
    path, _ = box.write(
        f"studio {name} {key}",
        safe_stem(name),
        ".png",
        key,
        lambda part: part.write_bytes(data),
    )
    return path


def save_zip(state: StudioState, progress: Progress | None = None) -> Path:
    """Write all memes, and ``memes.json`` with the captions, into one zip.

    The rules for names and the errors are those of :func:`save_meme`. A
    picture that can no longer be read is named in ``memes.json`` with the
    reason (``left_out`` reads it). One picture is held at a time.
    """
    box = _outbox(state)
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder, "memes.zip")
        _write_zip(whole, state, progress)
        with whole.open("rb") as file:
            key = hashlib.file_digest(file, "sha256").hexdigest()
        path, _ = box.write(
            f"studio zip {key}",
            "memes",
            ".zip",
            key,
            lambda part: shutil.copyfile(whole, part),
        )
    return path


def left_out(path: Path) -> list[Skipped]:
    """The pictures without a meme in a zip of ``save_zip``, and why."""
    with zipfile.ZipFile(path) as file:
        rows = json.loads(file.read("memes.json"))
    return [Skipped(r["picture"], r["skipped"]) for r in rows if "skipped" in r]


def _write_zip(path: Path, state: StudioState, progress: Progress | None) -> None:
    taken: set[str] = set()
    rows = []
    with zipfile.ZipFile(path, "w") as file:
        for i, picture in enumerate(state.pictures):
            row = {"picture": picture.name, "caption": state.caption(i)}
            try:
                data = png_bytes(state.meme(i))
            except (UnreadablePicture, TooSmall) as reason:
                row["skipped"] = str(reason)
            else:
                name = unused(safe_stem(picture.name), ".png", taken)
                taken.add(name.casefold())
                file.writestr(_entry(name), data)
                row["meme"] = name
                row |= {"notes": notes} if (notes := state.notes(i)) else {}
            rows.append(row)
            if progress:
                progress(i + 1, len(state.pictures))
        file.writestr(_entry("memes.json"), json_text(rows) + "\n")


def _entry(name: str) -> zipfile.ZipInfo:
    """A file in a zip, always of one date: the same memes, the same bytes."""
    entry = zipfile.ZipInfo(name)
    entry.external_attr = 0o644 << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


def _outbox(state: StudioState) -> Outbox:
    folders = {p.source.parent for p in state.pictures if not p.is_upload}
    if any(is_same(folder, state.out) for folder in folders):
        raise ValueError(
            f"the memes cannot go into {state.out} itself, next to the "
            "pictures: name another folder"
        )
    return Outbox(state.out)


def png_bytes(image: Image.Image) -> bytes:
    """The picture as a PNG file."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def preview(image: Image.Image, longest: int = 640) -> bytes:
    """The same, reduced to what fits on a page: at most ``longest`` px."""
    image = image.copy()
    image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    return png_bytes(image)
