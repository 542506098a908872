"""What is in a folder of pictures, and what of it is not looked at."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from .report import Skipped


def named(folder: str | Path) -> Path:
    """A folder by its name, in which "~" is the home folder.

    Raises ValueError for a name that no folder has. The empty one would be the
    folder that one is in, and is what a shell makes of a variable that is not set.
    """
    name = os.path.expanduser(os.fspath(folder))
    if not name or "\0" in name:
        raise ValueError(f"no folder is called {name!r}: give its name")
    return Path(name)


def is_same(folder: Path, other: Path) -> bool:
    """Whether two paths lead to one folder: by links, or in other capitals on a
    system that does not tell them apart."""
    try:
        return os.path.samefile(folder, other)
    except (OSError, ValueError):  # one of them is not there
        return False


def list_files(
    folder: Path, ours: Collection[str | None] = ()
) -> tuple[list[Path], list[Skipped]]:
    """The files of a folder by name, each perhaps a picture; the rest of it.

    ``ours`` holds what is not worth a word, as ``os.path.realpath`` has it.
    Raises FileNotFoundError or NotADirectoryError, and ValueError for a
    folder that holds nothing but folders.
    """
    if not folder.exists():
        raise FileNotFoundError(f"there is no folder {folder}")
    if not folder.is_dir():
        raise NotADirectoryError(f"not a folder: {folder}")
    files, skipped, inside = [], [], []
    for path in sorted(folder.iterdir()):
        if os.path.realpath(path) in ours:
            continue
        if path.name.startswith("."):
            skipped.append(Skipped(path.name, "hidden"))
        elif os.path.isdir(path):
            skipped.append(Skipped(path.name, "a folder: not looked into"))
            inside.append(path)
        else:
            files.append(path)
    if inside and not files:
        more = f" and {len(inside) - 1} more" if inside[1:] else ""
        raise ValueError(
            f"no files in {folder}, only folders, which are not looked into: "
            f"name the one with the pictures, say {inside[0]}{more}"
        )
    return files, skipped
