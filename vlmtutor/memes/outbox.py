"""The output folder: every file whole, none of the user's ever touched.

A file is written under a temporary name and moved into place. A journal in
the hidden folder ``.vlmtutor`` tells which files are results, of what, and
what was in them; so a later run goes on where an earlier one stopped,
replaces its own results, and leaves alone what somebody else put there or
changed since. Runs that write at the same time read each other's notes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from .names import numbered

HIDDEN = ".vlmtutor"
PATIENCE = 10  # seconds, while another run moves a file into place
FORGOTTEN = 3600  # seconds after which half a file belongs to no run any more
_PART = re.compile(r"[0-9a-f]{16}\.part")
_RETRIES = (0.1, 0.2, 0.4)  # seconds; viewers and scanners lock files on Windows


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """What the journal says last of a role."""

    role: str
    file: str
    key: str
    sha256: str
    replaces: str


FIELDS = [field.name for field in dataclasses.fields(Entry)]


class Outbox:
    """Writes results into a folder, each under a role such as "report".

    In the hidden folder no link is followed and no pipe waited for, as a folder
    of somebody else may hold one: it gives way to a file of our own. Raises
    NotADirectoryError if ``folder`` is a file, OSError if it cannot be made
    or written.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(os.path.expanduser(folder))
        self.hidden = self.folder / HIDDEN
        if os.path.lexists(self.folder) and not self.folder.is_dir():
            what = "not a folder" if self.folder.exists() else "a link to nowhere"
            raise NotADirectoryError(f"{what}: {self.folder}")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._journal = self.hidden / "journal.jsonl"
        if _without_link(self.hidden).is_file() or self._journal.is_dir():
            raise FileExistsError(
                f"what is in {self.hidden} is not ours: move it away, or name "
                "another folder"
            )
        self.hidden.mkdir(exist_ok=True)
        self._lock = FileLock(self.hidden / "lock", PATIENCE)
        self._entries: dict[str, Entry] = {}
        self._read = 0  # bytes of the journal
        self._catch_up()
        self._taken = {p.name.casefold() for p in self.folder.iterdir()}
        self._names: dict[tuple[str, str], Iterator[str]] = {}
        self._sweep()

    def kept(self, role: str, key: str) -> Path | None:
        """The file of a role if it is still as this ``key`` made it."""
        former = self._entries.get(role)
        found = self._digest_of_own(former)
        is_whole = found and found == former.sha256 and key == former.key
        return self.folder / former.file if is_whole else None

    def write(
        self,
        role: str,
        stem: str,
        suffix: str,
        key: str,
        make: Callable[[Path], None],
        again: bool = False,
    ) -> tuple[Path, bool]:
        """Keep or write the file of a role: (its path, whether written).

        ``make(path)`` writes the content. It is not called if the role's
        file is still as this ``key`` made it, unless ``again`` is set. The
        name is ``stem + suffix``; a numbered one where that is taken.
        """
        kept = None if again else self.kept(role, key)
        if kept is not None:
            return kept, False
        part = self.hidden / f"{secrets.token_hex(8)}.part"
        try:
            make(part)
            with self._alone():
                return self._place(part, role, stem, suffix, key), True
        except OSError as error:
            if error.errno and error.filename is None:  # of a write: not where
                where = str(self.folder)
                raise OSError(error.errno, error.strerror, where) from error
            raise
        finally:
            part.unlink(missing_ok=True)

    def remove(self, role: str) -> bool:
        """Delete the file of a role if it is still as it was written."""
        former = self._entries.get(role)
        if not self._digest_of_own(former):
            return False
        with contextlib.suppress(OSError):  # somebody has it open
            (self.folder / former.file).unlink()
        return True

    def roles(self) -> list[str]:
        """The roles that have had a file, this run or before."""
        return list(self._entries)

    def digest(self, role: str) -> str:
        """SHA-256 of the role's file as it was written."""
        return self._entries[role].sha256

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """While no other run chooses a name; where files can be locked."""
        with contextlib.ExitStack() as stack:
            _without_link(Path(self._lock.lock_file))
            with contextlib.suppress(Timeout, OSError, NotImplementedError):
                stack.enter_context(self._lock)
            self._catch_up()
            yield

    def _place(self, part: Path, role: str, stem: str, suffix: str, key: str) -> Path:
        """Move a whole file to its name; the path."""
        former = self._entries.get(role)
        found = self._digest_of_own(former)
        if found and former.file.endswith(suffix):
            target = self.folder / former.file
        else:
            target = self._free(stem, suffix)
        # The journal goes first, with what it replaces: whichever of
        # the two an interruption leaves behind is known to be ours.
        self._note(role, target.name, key, _digest(part), found)
        _replace(part, target)
        self._taken.add(target.name.casefold())
        if found and former.file != target.name:
            with contextlib.suppress(OSError):
                (self.folder / former.file).unlink()
        return target

    def _free(self, stem: str, suffix: str) -> Path:
        """A name that nobody has; those tried once are not tried again."""
        names = self._names.get((stem, suffix)) or numbered(stem, suffix)
        for tried, name in enumerate(names):
            target = self.folder / name
            is_taken = name.casefold() in self._taken
            if not is_taken and not os.path.lexists(target):
                if tried:  # most names are there once: nothing is kept of them
                    self._names[stem, suffix] = names
                return target

    def _digest_of_own(self, entry: Entry | None) -> str:
        """What is in an entry's file; "" if gone, or not ours any more."""
        if entry is None:
            return ""
        path = self.folder / entry.file
        try:
            found = "" if path.is_symlink() else _digest(path)
        except (OSError, ValueError):  # a name that no file can have
            return ""
        return found if found in (entry.sha256, entry.replaces) else ""

    def _note(self, *values: str) -> None:
        entry = Entry(*values)
        with self._open("a+b") as journal:
            end = journal.seek(0, os.SEEK_END)
            journal.seek(max(0, end - 1))
            is_torn = journal.read() not in (b"", b"\n")  # by a kill, a full disk
            line = "\n" * is_torn + json.dumps(dataclasses.asdict(entry)) + "\n"
            written = journal.write(line.encode())
        if end == self._read:  # what we wrote need not be read again
            self._read += written
        self._entries[entry.role] = entry

    def _catch_up(self) -> None:
        """Read what has been noted since, by whatever run."""
        try:
            with self._open("rb") as journal:
                journal.seek(self._read)
                new = journal.read()
        except FileNotFoundError:
            return
        self._read += new.rfind(b"\n") + 1  # the last line may still grow
        for line in new.split(b"\n"):
            # One may be torn; a foreign one is no business of ours.
            with contextlib.suppress(ValueError, TypeError, KeyError, RecursionError):
                found = json.loads(line)
                entry = Entry(*(str(found[name]) for name in FIELDS))
                if Path(entry.file).name == entry.file:
                    self._entries[entry.role] = entry

    def _open(self, mode: str):
        """The journal; never what a link in its place leads to."""
        follow = getattr(os, "O_NOFOLLOW", 0)
        return open(
            _without_link(self._journal),
            mode,
            opener=lambda path, flags: os.open(path, flags | follow, 0o666),
        )

    def _sweep(self) -> None:
        """Delete the half files of runs that were killed, no others."""
        for path in self.hidden.iterdir():
            with contextlib.suppress(OSError):
                age = time.time() - path.lstat().st_mtime
                if _PART.fullmatch(path.name) and age > FORGOTTEN:
                    path.unlink()


def _without_link(path: Path) -> Path:
    """The path, at which there is no link any more, nor a pipe to wait for."""
    with contextlib.suppress(FileNotFoundError):
        mode = path.lstat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            path.unlink()
    return path


def _replace(part: Path, target: Path) -> None:
    for wait in _RETRIES:
        try:
            return os.replace(part, target)
        except PermissionError:
            time.sleep(wait)
    os.replace(part, target)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
