"""Embeddings kept by key: in memory, and in a folder if you name one."""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch


class EmbeddingCache:
    """Embeddings [D] by key, in memory and, if given, in a folder.

    The folder holds one ``.npy`` file an embedding (never a pickle), each
    written under a temporary name and moved, so that runs may share it and
    an interruption leaves no torn file; one that cannot be written does
    without. ``limit`` bounds the memory: beyond it, the embeddings that were
    used least recently go.
    """

    def __init__(self, folder: str | Path | None = None, limit: int = 50_000):
        self.folder = None if folder is None else Path(folder)
        self.limit = limit
        self._memory: OrderedDict[str, torch.Tensor] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> torch.Tensor | None:
        """The embedding of a key, or None."""
        with self._lock:
            found = self._memory.get(key)
            if found is not None:
                self._memory.move_to_end(key)
                return found
        found = None if self.folder is None else _load(self._path(key))
        if found is not None:
            self._remember(key, found)
        return found

    def put(self, key: str, embedding: torch.Tensor) -> None:
        """Keep an embedding, as float32 on the CPU."""
        embedding = embedding.detach().float().cpu().clone()
        self._remember(key, embedding)
        if self.folder is not None:
            with contextlib.suppress(OSError):  # it is only a memory
                _save(self._path(key), embedding)

    def _remember(self, key: str, embedding: torch.Tensor) -> None:
        with self._lock:
            self._memory[key] = embedding
            self._memory.move_to_end(key)
            while len(self._memory) > self.limit:
                self._memory.popitem(last=False)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.npy"


def _save(path: Path, embedding: torch.Tensor) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{secrets.token_hex(4)}.part")
    try:
        with part.open("wb") as file:
            np.save(file, embedding.numpy(), allow_pickle=False)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _load(path: Path) -> torch.Tensor | None:
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):  # there is none, or a torn one
        return None
    fine = values.ndim == 1 and values.dtype == np.float32
    return torch.from_numpy(values) if fine else None


MEMORY = EmbeddingCache()  # for all calls that name no other cache
