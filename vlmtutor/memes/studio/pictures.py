"""The studio's pictures: files of a folder, and uploads."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from ...console import printable
from ...models.pictures import (
    UnreadablePicture,
    decode_picture,
    open_header,
    read_bytes,
    read_picture,
)
from ..embed import Embedder
from ..folder import nothing_in
from ..names import safe_stem, unused
from ..render import SMALLEST_SIDE
from ..report import Skipped

# Called with how many are done, of how many, and of what if not of pictures.
Progress = Callable[..., None]


@dataclass(frozen=True)
class Picture:
    """A picture by name (unique in a studio): a file, or uploaded bytes."""

    name: str
    source: Path | bytes

    @property
    def is_upload(self) -> bool:
        return isinstance(self.source, bytes)

    def read(self) -> Image.Image:
        """RGB, upright; UnreadablePicture if the file is gone or damaged."""
        if isinstance(self.source, bytes):
            return decode_picture(self.source)
        return read_picture(self.source)

    def size(self) -> tuple[int, int]:
        """Width and height, from the header where it is sound."""
        data = self.source if self.is_upload else read_bytes(self.source)
        try:
            with open_header(data) as header:
                return header.size
        except UnreadablePicture:
            return decode_picture(data).size


def find_folder(folder: str | Path) -> Path:
    """A folder named from here, from one up, or from the project.

    So "images" is found from ``notebooks/`` too. If it is nowhere, the path
    as it was given.
    """
    folder = Path(folder).expanduser()
    project = Path(__file__).resolve().parents[2]
    for root in (Path(), Path(".."), project):
        if (root / folder).is_dir():
            return root / folder
    return folder


def list_folder(folder: str | Path, taken: Collection[str] = ()) -> list[Picture]:
    """The files of a folder, by name, each perhaps a picture.

    Hidden files, folders and ``captions.txt`` are left out; ``taken`` holds
    names, casefolded, that are in use. Raises FileNotFoundError or
    NotADirectoryError, and ValueError for a folder that holds only folders.
    """
    folder = Path(folder)
    if not folder.exists():
        raise FileNotFoundError(f"there is no folder {folder}")
    if not folder.is_dir():
        raise NotADirectoryError(f"not a folder: {folder}")
    names = set(taken)
    pictures = []
    for path in sorted(folder.iterdir()):
        is_other = path.name == "captions.txt" or path.is_dir()
        if is_other or path.name.startswith("."):
            continue
        name = unused(printable(path.stem), printable(path.suffix), names)
        names.add(name.casefold())
        pictures.append(Picture(name, path))
    if not pictures and any(path.is_dir() for path in folder.iterdir()):
        raise ValueError(nothing_in(folder))
    return pictures


def open_upload(name: str, data: bytes, taken: Collection[str] = ()) -> Picture:
    """A picture from its bytes, under a safe name that is not ``taken``.

    Raises UnreadablePicture, with the reason, if the bytes are none.
    """
    check_side(decode_picture(bytes(data)).size)
    suffix = re.search(r"\.[A-Za-z0-9]{1,5}$", name)
    name = unused(safe_stem(name), suffix[0] if suffix else "", taken)
    return Picture(name, bytes(data))


def embed_pictures(
    pictures: list[Picture], embedder: Embedder, progress: Progress | None = None
) -> tuple[list[Picture], list[torch.Tensor], list[Skipped]]:
    """The readable pictures, their embeddings [D], and the others."""
    kept, rows, skipped = [], [], []
    sources = (p.read() if p.is_upload else p.source for p in pictures)
    embeds = embedder.images(sources)
    for picture, row in zip(pictures, embeds, strict=True):
        try:
            if isinstance(row, UnreadablePicture):
                raise row
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
