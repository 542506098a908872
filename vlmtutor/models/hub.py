"""Where a CLIP comes from: shipped, in a folder, cached, or from the hub.

Nothing here asks the network unless it is told to download, and no weights
are read but safetensors: a pickle can run code when it is opened.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import huggingface_hub as hf
from huggingface_hub import constants
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from huggingface_hub.utils import are_progress_bars_disabled, validate_repo_id
from tqdm.auto import tqdm

from ..console import printable
from .catalog import ON_HUB, PINNED, STICKERCLIP, Known, local, shipped
from .checkpoint import Unusable, faults, open_folder, pickle_note
from .fetch import Progress, fetch, list_files

if TYPE_CHECKING:
    from .clip import Clip

DEFAULT_HUB_NAME = "openai/clip-vit-base-patch32"

__all__ = [
    "DEFAULT_HUB_NAME",
    "STICKERCLIP",
    "Known",
    "ModelNotFound",
    "download",
    "is_cached",
    "known",
    "load_clip",
]


class ModelNotFound(RuntimeError):
    """No usable CLIP: says what was looked for, and the ways on."""


def _not_found(name, looked: list[str]) -> ModelNotFound:
    first = ON_HUB[0]
    lines = [f"no usable CLIP under the name {str(name)!r}", "Looked for:"]
    lines += [f"  - {printable(line)}" for line in looked]
    lines += [
        "Ways on:",
        "  - vt.load_clip() opens the shipped StickerCLIP, without a network",
        "  - python -m vlmtutor download lists CLIPs to fetch, the smallest "
        f"{first.megabytes} MB",
        "  - vt.load_clip(name, download=True) asks the hub for any name",
        "  - vt.load_clip('path/to/folder') opens a folder from elsewhere",
    ]
    return ModelNotFound("\n".join(lines))


def known() -> list[Known]:
    """The CLIPs to choose from: shipped, yours, then the hub's by size.

    Yours are the folders in ``runs`` (a student of notebook 11, say).  Asks
    no network; ``load_clip`` opens any other CLIP or SigLIP as well.
    """
    return local() + [replace(k, is_here=is_cached(k.id)) for k in ON_HUB]


def _snapshots(name: str) -> Iterator[Path]:
    """Folders of a hub model in the local cache, the pinned one first."""
    for revision in (PINNED.get(name), constants.DEFAULT_REVISION):
        if revision:
            file = hf.try_to_load_from_cache(name, "config.json", revision=revision)
            if isinstance(file, (str, os.PathLike)):
                yield Path(file).parent


def _cached(name: str) -> tuple[Path | None, str]:
    """The cached folder of a hub model, or None, and a line on the search."""
    line = f"the cache {constants.HF_HUB_CACHE}: it does not hold {name}"
    for folder in _snapshots(name):
        found = faults(folder)
        if not found:
            return folder, ""
        line = f"the cache, {folder}: {'; '.join(found)}"
    return None, line


def is_cached(name: str = DEFAULT_HUB_NAME) -> bool:
    """Whether ``load_clip(name)`` can open a hub model without a network."""
    try:
        return _cached(name)[0] is not None
    except HFValidationError:
        return False


def _fetch(name: str, progress: Progress | None) -> tuple[Path | None, str]:
    """Fetch a hub model into the cache: its folder, or None and why."""
    revision = PINNED.get(name) or constants.DEFAULT_REVISION
    hub = f"the hub {constants.ENDPOINT}"
    try:
        commit, files = list_files(name, revision)
        names = [file.name for file in files]
        if not any(n.endswith(".safetensors") for n in names):
            return None, f"{hub}: {pickle_note(names)}"
        with _bar(name, progress) as report:
            folder = fetch(name, revision, commit, files, report)
    except OfflineModeIsEnabled:
        return None, f"{hub}: not asked, as HF_HUB_OFFLINE is set"
    except GatedRepoError:
        return None, f"{hub}: {name} is only for those who log in there"
    except RepositoryNotFoundError:
        return None, f"{hub}: it has no public model {name}"
    except Exception as error:  # the client's HTTP library is its own affair
        reason = str(error).splitlines()[0] if str(error) else ""
        return None, f"{hub}: {type(error).__name__} {reason}".rstrip()
    found = faults(folder)
    return (None, f"{folder}: {'; '.join(found)}") if found else (folder, "")


@contextlib.contextmanager
def _bar(name: str, progress: Progress | None) -> Iterator[Progress]:
    """Where a download tells how far it is: ``progress``, or a bar."""
    if progress is not None:
        yield progress
        return
    silent = are_progress_bars_disabled()
    with tqdm(desc=name, unit="B", unit_scale=True, disable=silent) as bar:

        def report(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield report


def _path(name: str | Path) -> Path:
    return Path(os.path.expanduser(name)).absolute()  # any text is let through


def _file_lines(file: Path) -> list[str]:
    """What to tell who names a file of a model in place of its folder."""
    folder = file.parent
    found = [f"{folder}: {line}" for line in faults(folder)]
    way = [f"{folder}: the folder that it is in, which is what to give"]
    return [f"{file}: a file, and a model is a folder", *(found or way)]


def _find_hub_model(name: str, ask: bool, progress: Progress | None = None) -> Path:
    path = _path(name)
    if os.path.isfile(path):
        raise _not_found(name, _file_lines(path))
    is_here = "load_clip opens it" if os.path.isdir(path) else "there is none"
    looked = [f"a folder {path}: {is_here}"]
    try:
        validate_repo_id(name)
    except HFValidationError:
        looked.append("a model on the hub: this cannot be the name of one")
        raise _not_found(name, looked) from None
    folder, line = _cached(name)
    if folder is None:
        looked.append(line)
        if ask:
            folder, line = _fetch(name, progress)
        else:
            line = f"the hub {constants.ENDPOINT}: not asked"
        looked.append(line)
    if folder is None:
        raise _not_found(name, looked)
    return folder


def download(name: str = DEFAULT_HUB_NAME, progress: Progress | None = None) -> Path:
    """The cached folder of a hub model, fetched first where it is missing.

    Only safetensors, tokenizer and settings are fetched, those of
    :func:`known` at a pinned revision; an earlier try is gone on with.
    ``progress(bytes here, bytes in all)`` takes the place of a bar.  Raises
    ModelNotFound, within seconds when the hub cannot be reached, and when it
    sends nothing for half a minute.
    """
    return _find_hub_model(name, True, progress)


def _open(folder: Path, name: str, device: str) -> Clip:
    from .device import find_device, move

    place = find_device(device)
    try:
        clip = open_folder(folder, name)
    except Unusable as reason:
        lines = [f"{folder}: {line}" for line in reason.args]
        raise _not_found(name, lines) from reason
    if place.type != "cpu":
        move(clip.model, place)
    return clip


def load_clip(
    name: str | Path | None = None, download: bool = False, device: str = "cpu"
) -> Clip:
    """Open a CLIP in fp32: StickerCLIP, or a folder, or one from the hub.

    ``name`` is a folder in the format of ``transformers`` or a name on the
    hub, such as "openai/clip-vit-base-patch32"; :func:`known` lists some.  A
    hub model is taken from the local cache; only with ``download`` is the
    network asked, with a short time limit.  ``device`` is "cpu", "cuda",
    "mps" or "auto"; one that fails is said on stderr, and the CPU is used.
    Raises ModelNotFound (by _not_found), which says how to go on.
    """
    name = "StickerCLIP" if name is None else name
    if own := shipped(str(name)):
        label, folder = own
        if not folder.is_dir():
            raise _not_found(label, [f"{folder}: no such folder"])
        return _open(folder, label, device)
    folder = _path(name)
    if os.path.isdir(folder):
        return _open(folder, folder.resolve().name, device)
    return _open(_find_hub_model(str(name), download), str(name), device)
