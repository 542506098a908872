"""Fetch a model from the hub into its cache.

One question, then one file after the other, each going on where an earlier
try stopped: the hub's own client begins afresh in every process.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import huggingface_hub as hf
from huggingface_hub import constants
from huggingface_hub.utils import WeakFileLock, build_hf_headers, hf_raise_for_status

HUB_SECONDS = 4  # how long the hub may take to say that it is there
STALL_SECONDS = 30  # and how long it may then send nothing
WANTED = re.compile(r"\w[\w.-]*\.json|merges\.txt|model(-[\w-]+)?\.safetensors")

# Called twice a second with how many bytes are here, and of how many.
Progress = Callable[[int, int], None]


class HubFile(NamedTuple):
    """A file on the hub: its size in bytes and SHA-256, where it tells."""

    name: str
    size: int | None
    sha256: str | None


def list_files(name: str, revision: str) -> tuple[str, list[HubFile]]:
    """The commit of a revision, and the files of a model: one question.

    Raises what the hub's client raises, and TimeoutError.
    """

    def ask(_):
        return hf.HfApi().model_info(
            name, revision=revision, timeout=HUB_SECONDS, files_metadata=True
        )

    info = _in_time(ask, HUB_SECONDS, "the list of files")
    files = [
        HubFile(f.rfilename, f.size, getattr(f.lfs, "sha256", None))
        for f in info.siblings or []
    ]
    return info.sha, files


def fetch(
    name: str, revision: str, commit: str, files: list[HubFile], progress: Progress
) -> Path:
    """The folder in the hub's cache with the wanted ones of these files.

    Raises what the hub's client raises, TimeoutError when nothing comes for
    ``STALL_SECONDS``, and OSError for a file that is not what the hub said.
    """
    files = [file for file in files if WANTED.fullmatch(file.name)]
    total = sum(file.size or 0 for file in files)
    store = Path(constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}"
    folder = store / "snapshots" / commit
    for part in (folder, store / "blobs", store / "refs"):
        part.mkdir(parents=True, exist_ok=True)

    here = 0

    def work(alive: Callable[[str], None]) -> None:
        nonlocal here
        done = 0
        for file in files:
            target = folder / file.name
            part = store / "blobs" / f"{commit}.{file.name}.incomplete"

            def report(size: int, done=done, file=file) -> None:
                nonlocal here
                here = done + size
                alive(
                    f"{file.name} ({here / 1e6:.0f} of {total / 1e6:.0f} MB are "
                    "here; another try goes on from there)"
                )

            report(0)
            with WeakFileLock(f"{part}.lock"):
                if not target.is_file():
                    url = hf.hf_hub_url(name, file.name, revision=commit)
                    _fill(url, part, report)
                    _check(part, file)
                    os.replace(part, target)
            here = done = done + target.stat().st_size

    _in_time(work, STALL_SECONDS, "the first file", lambda: progress(here, total))
    if revision != commit:
        (store / "refs" / revision).write_text(commit)
    return folder


def _fill(url: str, part: Path, report: Callable[[int], None]) -> None:
    """Append to ``part`` what is still missing of a file on the hub.

    A connection that breaks is taken up again as long as each brought
    something.
    """
    while True:
        before = part.stat().st_size if part.is_file() else 0
        try:
            _stream(url, part, before, report)
            return
        except hf.errors.HfHubHTTPError:
            raise
        except Exception:
            if not part.is_file() or part.stat().st_size <= before:
                raise


def _stream(url: str, part: Path, have: int, report: Callable[[int], None]) -> None:
    headers = build_hf_headers() | {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    with hf.get_session().stream(
        "GET", url, headers=headers, timeout=STALL_SECONDS, follow_redirects=True
    ) as response:
        if response.status_code == 416:  # there is no more of it
            return
        hf_raise_for_status(response)
        if response.status_code != 206:  # the whole file from its beginning
            have = 0
        with part.open("ab" if have else "wb") as file:
            for block in response.iter_bytes():
                file.write(block)
                have += len(block)
                report(have)


def _check(part: Path, file: HubFile) -> None:
    """Remove a file of another length or content than the hub's; OSError."""
    size = part.stat().st_size
    fine = size == file.size or file.size is None
    if fine and file.sha256:
        with part.open("rb") as stream:
            fine = hashlib.file_digest(stream, "sha256").hexdigest() == file.sha256
    if not fine:
        part.unlink()
        raise OSError(f"{file.name} came damaged ({size:,} bytes): try again")


def _in_time(work: Callable, seconds: float, awaited: str, tick=lambda: None):
    """What ``work(alive)`` returns; TimeoutError if it is silent for so long.

    It calls ``alive`` with what it waits for next.  It runs in a thread, as
    looking up a host has no time limit of its own; meanwhile ``tick`` is
    called in this one.
    """
    state: dict = {"awaited": awaited, "time": time.monotonic()}

    def alive(awaited: str) -> None:
        state.update(awaited=awaited, time=time.monotonic())

    def run() -> None:
        try:
            state["answer"] = work(alive)
        except BaseException as error:  # handed on to the asking thread
            state["error"] = error

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while thread.is_alive():
        left = state["time"] + seconds - time.monotonic()
        if left <= 0:
            awaited = state["awaited"]
            text = f"no answer within {seconds} seconds while waiting for {awaited}"
            raise TimeoutError(text)
        thread.join(min(left, 0.5))
        tick()
    if "error" in state:
        raise state["error"]
    return state["answer"]
