"""The studio's pictures: files of a folder, and uploads."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image

from ...models.pictures import (
    UnreadablePicture,
    decode_picture,
    open_header,
    read_bytes,
)
from ..captions import read_captions
from ..embed import Embedder
from ..listing import list_files, named
from ..names import safe_stem, unused
from ..render import SMALLEST_SIDE
from ..report import Skipped
from ..writing import size_notes

# Called with how many are done, of how many, and of what if not of pictures.
Progress = Callable[..., None]


@dataclass(frozen=True)
class Picture:
    """A picture by name (unique in a studio): a file, or uploaded bytes.

    ``digest`` is the SHA-256 of the file whose embedding is known.
    """

    name: str
    source: Path | bytes
    digest: bytes = b""

    @property
    def is_upload(self) -> bool:
        return isinstance(self.source, bytes)

    @property
    def origin(self) -> Path | str:
        """What it is known by when its folder is loaded again."""
        return self.name if isinstance(self.source, bytes) else self.source

    def read(self) -> Image.Image:
        """RGB, upright; UnreadablePicture if the file is gone, damaged or another."""
        return decode_picture(self._data())

    def size(self) -> tuple[int, int]:
        """Width and height, from the header where it is sound."""
        data = self._data()
        try:
            with open_header(data) as header:
                return header.size
        except UnreadablePicture:
            return decode_picture(data).size

    def notes(self) -> list[str]:
        """What is not as one would expect of it: read at half its size."""
        try:
            return size_notes(*self.size())
        except UnreadablePicture:  # told elsewhere
            return []

    def _data(self) -> bytes:
        if isinstance(self.source, bytes):
            return self.source
        data = read_bytes(self.source)
        if self.digest and hashlib.sha256(data).digest() != self.digest:
            # The captions were matched with what was there before.
            raise UnreadablePicture("changed since it was loaded: load it again")
        return data


def find_folder(folder: str | Path) -> Path:
    """A folder named from here, from one up, or from the project.

    So "images" is found from ``notebooks/`` too, and a path that was copied with
    quotes or spaces around it. If it is nowhere, the path as it was given;
    ValueError if that is empty.
    """
    project = Path(__file__).resolve().parents[2]
    bare = str(folder).strip().strip("\"'")
    for name in (folder, bare):
        name = os.path.expanduser(name)
        for root in (Path(), Path(".."), project):
            if name and os.path.isdir(root / name):
                return root / name
    if not bare:
        raise ValueError("no folder is named: give the name of one")
    return Path(os.path.expanduser(folder))


def unread_captions(folder: Path, captions: list[str]) -> str:
    """What to say of a list of captions in a folder that is not the one in use."""
    file = folder / "captions.txt"
    if not os.path.isfile(file):
        return ""
    with contextlib.suppress(OSError, ValueError):
        if read_captions(file) == captions:
            return ""
    return f"{file.name} in this folder is not in use: copy it into the last field"


def list_folder(
    folder: str | Path, uploads: Collection[Picture] = ()
) -> tuple[list[Picture], list[Skipped]]:
    """The files of a folder, by name, each perhaps a picture; the rest of it.

    The ``uploads``, whose names are in use, follow the files. Of
    ``captions.txt`` nothing is said. Raises what ``named`` and ``list_files``
    raise.
    """
    folder = named(folder)
    captions = folder / "captions.txt"
    ours = (os.path.realpath(captions),) if os.path.isfile(captions) else ()
    files, skipped = list_files(folder, ours)
    home = Path(os.path.realpath(folder))  # found wherever one goes from here
    names = _taken(uploads)
    pictures = []
    for path in files:
        name = unused(path.stem, path.suffix, names)
        names.add(name.casefold())
        pictures.append(Picture(name, home / path.name))
    return [*pictures, *uploads], skipped


def _taken(pictures: Collection[Picture]) -> set[str]:
    return {picture.name.casefold() for picture in pictures}


def open_upload(name: str, data: bytes, others: Collection[Picture] = ()) -> Picture:
    """A picture from its bytes, under a safe name that none of ``others`` has.

    Raises UnreadablePicture, with the reason, if the bytes are none.
    """
    if not data:
        raise UnreadablePicture("an empty file")
    check_side(decode_picture(bytes(data)).size)
    suffix = re.search(r"\.[A-Za-z0-9]{1,5}$", name)
    name = unused(safe_stem(name), suffix[0] if suffix else "", _taken(others))
    return Picture(name, bytes(data))


def embed_pictures(
    pictures: list[Picture], embedder: Embedder, progress: Progress | None = None
) -> tuple[list[Picture], list[torch.Tensor], list[Skipped]]:
    """The readable pictures, their embeddings [D], and the others."""
    kept, rows, skipped = [], [], []
    sources = (p.read() if p.is_upload else p.source for p in pictures)
    embeds = embedder.contents(sources)
    for picture, (digest, row) in zip(pictures, embeds, strict=True):
        try:
            if isinstance(row, UnreadablePicture):
                raise row
            if not picture.is_upload:
                picture = replace(picture, digest=digest)
            check_side(picture.size())
        except (OSError, ValueError) as reason:
            skipped.append(Skipped(picture.name, str(reason)))
        else:
            kept.append(picture)
            rows.append(row)
        if progress:
            progress(len(kept) + len(skipped), len(pictures))
    return kept, rows, skipped


def check_side(size: tuple[int, int]) -> None:
    """Raise UnreadablePicture for a picture too small to write on."""
    if min(size) < SMALLEST_SIDE:
        width, height = size
        raise UnreadablePicture(
            f"too small to write on: {width} x {height} pixels, "
            f"at least {SMALLEST_SIDE} a side are needed"
        )
