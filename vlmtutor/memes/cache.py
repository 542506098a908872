"""Embeddings kept by key: in memory, and in a folder if you name one."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

NAME = "embeddings.sqlite"
PATIENCE = 10  # seconds, while another run writes
KEEP_DAYS = 30  # embeddings of a model that has added none for longer go

_SCHEMA = """
CREATE TABLE models (id INTEGER PRIMARY KEY, name TEXT UNIQUE, day INTEGER);
CREATE TABLE embeddings (key TEXT PRIMARY KEY, model INTEGER, value BLOB);
"""
_NAMES = "SELECT type, name, sql FROM sqlite_master ORDER BY name"


class EmbeddingCache:
    """Embeddings [D] by key, in memory and, if given, in a folder.

    The folder gets one file, ``embeddings.sqlite``, which several runs may
    share and an interruption leaves whole. One that cannot be used (a full
    disk, a database of somebody else, a link, which may lead anywhere) is
    done without; one that is damaged is begun anew. ``limit`` bounds the
    memory: beyond it, the embeddings that were used least recently go.
    """

    def __init__(self, folder: str | Path | None = None, limit: int = 50_000):
        self.path = None if folder is None else Path(os.path.expanduser(folder), NAME)
        self.limit = limit
        self._memory: OrderedDict[str, torch.Tensor] = OrderedDict()
        self._lock = threading.Lock()
        self._file: sqlite3.Connection | None = None
        self._models: dict[str, int] = {}  # those of this session, by name

    def get(self, key: str, size: int) -> torch.Tensor | None:
        """The embedding [size] of a key, or None.

        What a file holds is one only if it is ``size`` numbers in float32
        that make a vector of length one.
        """
        with self._lock:
            found = self._memory.get(key)
            if found is not None:
                self._memory.move_to_end(key)
                return found
            found = self._try(lambda file: _read(file, key, size), None, False)
            if found is not None:
                self._remember(key, found)
            return found

    def put(self, entries: Mapping[str, torch.Tensor], model: str = "") -> None:
        """Keep embeddings of a model by their keys, as float32 on the CPU."""
        rows = {k: v.detach().float().cpu().clone() for k, v in entries.items()}
        with self._lock:
            for key, embedding in rows.items():
                self._remember(key, embedding)
            self._try(lambda file: self._write(file, rows, model), None, True)

    def close(self) -> None:
        """Close the file; it is opened again when it is needed."""
        with self._lock:
            self._forget()

    def _remember(self, key: str, embedding: torch.Tensor) -> None:
        self._memory[key] = embedding
        self._memory.move_to_end(key)
        while len(self._memory) > self.limit:
            self._memory.popitem(last=False)

    def _try(self, use: Callable, otherwise, make: bool):
        """What ``use(file)`` gives; ``otherwise`` if the file cannot be used."""
        for _ in range(2):
            try:
                file = self._open(make)
                if file is None:
                    return otherwise
                with file:  # one transaction
                    return use(file)
            except (sqlite3.OperationalError, OSError):  # locked, full, gone
                return otherwise
            except sqlite3.DatabaseError:  # not a database, or a torn one
                self._forget()
                try:
                    self.path.unlink()
                except OSError:
                    return otherwise
        return otherwise

    def _open(self, make: bool) -> sqlite3.Connection | None:
        if self._file is not None or self.path is None:
            return self._file
        if any(path.is_symlink() or path.is_fifo() for path in _touched(self.path)):
            return None
        if make:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        elif not self.path.is_file():
            return None
        file = sqlite3.connect(self.path, PATIENCE, check_same_thread=False)
        try:
            file.execute("PRAGMA trusted_schema = OFF")
            found = file.execute(_NAMES).fetchall()
            if not found:
                file.execute("PRAGMA auto_vacuum = FULL")
                file.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}COMMIT;")
            elif found != _tables():
                raise sqlite3.OperationalError("made by somebody else")
        except BaseException:
            file.close()
            raise
        self._file = file
        return file

    def _forget(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file, self._models = None, {}

    def _write(self, file, rows: dict[str, torch.Tensor], model: str) -> None:
        if model not in self._models:
            self._models[model] = _note_model(file, model)
        number = self._models[model]
        file.executemany(
            "INSERT OR REPLACE INTO embeddings VALUES (?, ?, ?)",
            (
                (key, number, row.numpy().astype("<f4").tobytes())
                for key, row in rows.items()
            ),
        )


def _touched(path: Path) -> list[Path]:
    """What SQLite may open or make for a file."""
    rest = [path.with_name(path.name + s) for s in ("-journal", "-wal", "-shm")]
    return [path.parent, path, *rest]


def _tables() -> list[tuple]:
    """What a file of ours says about its tables."""
    file = sqlite3.connect(":memory:")
    file.executescript(_SCHEMA)
    found = file.execute(_NAMES).fetchall()
    file.close()
    return found


def _note_model(file: sqlite3.Connection, name: str) -> int:
    """The number of a model; those not used for long go, with all of theirs."""
    today = int(time.time() // 86_400)
    file.execute(
        "INSERT INTO models (name, day) VALUES (?, ?) "
        "ON CONFLICT (name) DO UPDATE SET day = excluded.day",
        (name, today),
    )
    old = "SELECT id FROM models WHERE day < ?"
    if file.execute(old, (today - KEEP_DAYS,)).fetchall():
        for table, column in (("embeddings", "model"), ("models", "id")):
            query = f"DELETE FROM {table} WHERE {column} IN ({old})"
            file.execute(query, (today - KEEP_DAYS,))
    (row,) = file.execute("SELECT id FROM models WHERE name = ?", (name,)).fetchall()
    return row[0]


def _read(file, key: str, size: int) -> torch.Tensor | None:
    """What the file holds under a key, if it can be an embedding."""
    rows = file.execute(
        "SELECT value FROM embeddings WHERE key = ? AND typeof(value) = 'blob' "
        "AND length(value) = ?",  # before it is read: it may be of any length
        (key, 4 * size),
    ).fetchall()
    if not rows:
        return None
    row = np.frombuffer(rows[0][0], "<f4").astype(np.float32)
    # Not a number is not near to one either.
    return torch.from_numpy(row) if abs(np.linalg.norm(row) - 1) < 1e-2 else None


MEMORY = EmbeddingCache()  # for all calls that name no other cache
