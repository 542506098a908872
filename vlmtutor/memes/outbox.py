"""The output folder: every file whole, none of the user's ever touched.

A file is written under a temporary name and moved into place. A journal in
the hidden folder ``.vlmtutor`` tells which files are results, of what, and
what was in them; so a later run goes on where an earlier one stopped,
replaces its own results, and leaves alone what somebody else put there or
changed since.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from .names import unused

HIDDEN = ".vlmtutor"
_FIELDS = ("role", "file", "key", "sha256", "replaces")


class Outbox:
    """Writes results into a folder, each under a role such as "report".

    Raises NotADirectoryError if ``folder`` is a file, OSError if it cannot
    be made or written.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.hidden = self.folder / HIDDEN
        if self.folder.exists() and not self.folder.is_dir():
            raise NotADirectoryError(f"not a folder: {self.folder}")
        self.hidden.mkdir(parents=True, exist_ok=True)
        self._journal = self.hidden / "journal.jsonl"
        self._entries = self._read_journal()
        self._taken = {p.name.casefold() for p in self.folder.iterdir()}
        for rest in self.hidden.glob("*.part"):  # of an interrupted run
            rest.unlink(missing_ok=True)

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
        former = self._entries.get(role)
        found = self._digest_of_own(former)
        is_whole = found and found == former["sha256"]
        if is_whole and key == former["key"] and not again:
            return self.folder / former["file"], False
        part = self.hidden / f"{secrets.token_hex(8)}.part"
        try:
            make(part)
            if found and former["file"].endswith(suffix):
                target = self.folder / former["file"]
            else:
                target = self._free(stem, suffix)
            # The journal goes first, with what it replaces: whichever of
            # the two an interruption leaves behind is known to be ours.
            self._note(role, target.name, key, _digest(part), found)
            os.replace(part, target)
        finally:
            part.unlink(missing_ok=True)
        self._taken.add(target.name.casefold())
        if found and former["file"] != target.name:
            (self.folder / former["file"]).unlink(missing_ok=True)
        return target, True

    def remove(self, role: str) -> bool:
        """Delete the file of a role if it is still as it was written."""
        former = self._entries.get(role)
        if not self._digest_of_own(former):
            return False
        (self.folder / former["file"]).unlink()
        return True

    def roles(self) -> list[str]:
        """The roles that have had a file, this run or before."""
        return list(self._entries)

    def digest(self, role: str) -> str:
        """SHA-256 of the role's file as it was written."""
        return self._entries[role]["sha256"]

    def _free(self, stem: str, suffix: str) -> Path:
        while True:
            target = self.folder / unused(stem, suffix, self._taken)
            if not os.path.lexists(target):
                return target
            self._taken.add(target.name.casefold())  # somebody just made it

    def _digest_of_own(self, entry: dict | None) -> str:
        """What is in an entry's file; "" if gone, or not ours any more."""
        if entry is None:
            return ""
        path = self.folder / entry["file"]
        try:
            found = "" if path.is_symlink() else _digest(path)
        except OSError:
            return ""
        return found if found in (entry["sha256"], entry["replaces"]) else ""

    def _note(self, *values: str) -> None:
        entry = dict(zip(_FIELDS, values, strict=True))
        with self._journal.open("a", encoding="utf-8") as journal:
            journal.write(json.dumps(entry) + "\n")
        self._entries[entry["role"]] = entry

    def _read_journal(self) -> dict[str, dict]:
        entries: dict[str, dict] = {}
        try:
            lines = self._journal.read_bytes().splitlines()
        except FileNotFoundError:
            return entries
        for line in lines:
            # The last line may be torn; a foreign one is no business of ours.
            with contextlib.suppress(ValueError, TypeError, KeyError):
                entry = json.loads(line)
                entry = {name: str(entry[name]) for name in _FIELDS}
                if Path(entry["file"]).name == entry["file"]:
                    entries[entry["role"]] = entry
        return entries


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
