"""Embeddings, each computed once: cached by content and by model.

The key of an embedding is the SHA-256 of what was encoded (the bytes of a
file, the pixels of a picture, the letters of a text) and of the model, as
:mod:`.identity` tells it. So a changed caption encodes itself only, and a
second run nothing.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

import torch
from PIL import Image

from ..models.clip import unit
from ..models.pictures import UnreadablePicture, as_seen, decode_picture, read_bytes
from ..models.texts import as_texts
from ..precision import bf16_products, has_bf16
from .cache import MEMORY, EmbeddingCache
from .identity import model_identity
from .options import one_of

PRECISIONS = ("fp32", "bf16", "auto")

_PIXELS_AT_ONCE = 16_000_000  # decoded pictures waiting: a bound on memory
_TEXTS_AT_ONCE = 32
_LETTERS = 20_000  # fill the positions of any model: it never sees the rest


class Embedder:
    """Encodes pictures and texts with a CLIP, through a cache.

    ``precision``: "fp32"; "bf16", which lets matrix products run in
    bfloat16 (faster where the processor has it; embeddings differ in the
    third digit); or "auto", bf16 where it is fast.
    """

    def __init__(
        self,
        clip,
        cache: EmbeddingCache | None = None,
        precision: str = "fp32",
        batch_size: int = 32,
    ):
        one_of(PRECISIONS, precision, "precision")
        if batch_size < 1:
            raise ValueError(f"batch_size must be positive, got {batch_size}")
        if precision == "auto":
            precision = "bf16" if has_bf16() else "fp32"
        self.clip = clip
        self.cache = MEMORY if cache is None else cache
        self.precision = precision
        self.batch_size = batch_size
        size = getattr(clip, "embed_dim", None)
        self.size = size or clip.encode_texts(["a"]).shape[-1]  # D

    def texts(
        self, texts: Sequence[str], progress: Callable[[int, int], None] | None = None
    ) -> torch.Tensor:
        """Embeddings of texts: [M, D], L2-normalised.

        ``progress`` is called with how many are ready, and of how many.
        Raises ValueError if the model gives anything but numbers.
        """
        salt = self._salt("text")
        texts = [text[:_LETTERS] for text in as_texts(texts)]
        keys = [_key(salt, _digest(text.encode())) for text in texts]
        rows = {key: self.cache.get(key, self.size) for key in keys}
        missing = [
            (key, text)
            for key, text in dict(zip(keys, texts, strict=True)).items()
            if rows[key] is None
        ]
        ready = len(rows) - len(missing)
        # Short texts run with short ones, so that little is padding.
        missing.sort(key=lambda entry: len(entry[1]))
        for chunk in _chunks(missing, _TEXTS_AT_ONCE):
            with self._arithmetic():
                embeds = self.clip.encode_texts([text for _, text in chunk])
            rows |= self._keep([key for key, _ in chunk], embeds)
            ready += len(chunk)
            if progress:
                progress(ready, len(rows))
        found = [rows[key] for key in keys]
        return torch.stack(found) if found else torch.zeros(0, self.size)

    def images(
        self, images: Iterable[str | Path | Image.Image]
    ) -> Iterator[torch.Tensor | UnreadablePicture]:
        """One embedding [D], L2-normalised, for each picture, in order.

        A picture that cannot be read gives the reason, an UnreadablePicture
        error, instead. While the model works on one batch, a thread reads,
        decodes and preprocesses the next: few pictures are held at a time,
        however many there are. The thread starts at once, so that texts may
        be encoded while it prepares the first batch. Raises ValueError if
        the model gives anything but numbers.
        """
        seen = self.contents(images)
        return (row for _, row in seen)

    def contents(
        self, images: Iterable[str | Path | Image.Image]
    ) -> Iterator[tuple[bytes, torch.Tensor | UnreadablePicture]]:
        """The same, each with the SHA-256 of what was read: b"" if nothing."""
        salt = self._salt("image")
        chunks = _chunks(images, self.batch_size)
        ready = _ahead(lambda chunk: self._prepare(chunk, salt), chunks)

        def results() -> Iterator[tuple[bytes, torch.Tensor | UnreadablePicture]]:
            for rows in ready:
                yield from self._finish(*rows)
                _release_memory()

        return results()

    def missing(self, paths: Iterable[Path]) -> list[Path]:
        """The files whose embedding, as pictures, the cache does not have."""
        salt, missing = self._salt("image"), []
        for path in paths:
            with suppress(UnreadablePicture):
                key = _key(salt, _digest(read_bytes(path)))
                if self.cache.get(key, self.size) is None:
                    missing.append(path)
        return missing

    def add(self, digests: Sequence[bytes], embeds: torch.Tensor) -> None:
        """Keep embeddings [N, D] of pictures that somebody else has encoded."""
        salt = self._salt("image")
        if digests:
            self._keep([_key(salt, digest) for digest in digests], embeds)

    def _prepare(self, chunk, salt):
        """Cached embeddings, errors and keys; model input for the rest."""
        rows: list[tuple[bytes, torch.Tensor | UnreadablePicture | str]] = []
        inputs: list = []
        held: list[Image.Image] = []
        known = set()
        for item in chunk:
            digest = b""
            try:
                content, decode = _open(item)
                digest = _digest(content)
                key = _key(salt, digest)
                found = self.cache.get(key, self.size)
                if found is None and key not in known:
                    held.append(decode())
                    known.add(key)
            except UnreadablePicture as reason:
                rows.append((digest, reason))
                continue
            rows.append((digest, key if found is None else found))
            if sum(p.width * p.height for p in held) > _PIXELS_AT_ONCE:
                inputs.append(self._preprocess(held))
                held = []
        if held:
            inputs.append(self._preprocess(held))
        return rows, inputs

    def _finish(self, rows, inputs):
        keys = list(dict.fromkeys(row for _, row in rows if isinstance(row, str)))
        fresh = self._keep(keys, self._encode(inputs)) if keys else {}
        for digest, row in rows:
            yield digest, fresh[row] if isinstance(row, str) else row

    def _keep(self, keys: list[str], embeds: torch.Tensor) -> dict[str, torch.Tensor]:
        """New embeddings by their keys, also in the cache."""
        embeds = unit(embeds.cpu(), getattr(self.clip, "name", "the model"))
        rows = dict(zip(keys, embeds, strict=True))
        self.cache.put(rows, model_identity(self.clip))
        return rows

    def _preprocess(self, pictures: list[Image.Image]):
        if _is_split(self.clip):
            return self.clip.preprocess(pictures)
        return pictures

    def _encode(self, inputs: list) -> torch.Tensor:
        with self._arithmetic():
            if not _is_split(self.clip):
                pictures = [p for group in inputs for p in group]
                return self.clip.encode_images(pictures)
            return self.clip.encode_pixels(torch.cat(inputs))  # [B, D]

    @contextmanager
    def _arithmetic(self):
        with torch.no_grad(), bf16_products(self.precision == "bf16"):
            yield

    def _salt(self, kind: str) -> bytes:
        identity = model_identity(self.clip)
        return f"{identity} {self.precision} {kind} ".encode()


def _is_split(clip) -> bool:
    """Whether preprocessing and encoding can be called one by one."""
    return hasattr(clip, "preprocess") and hasattr(clip, "encode_pixels")


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def _key(salt: bytes, digest: bytes) -> str:
    return hashlib.sha256(salt + digest).hexdigest()


def _open(item) -> tuple[bytes, Callable[[], Image.Image]]:
    """What identifies a picture, and how to get at its pixels."""
    if isinstance(item, Image.Image):
        picture = as_seen(item)
        size = f"{picture.width} x {picture.height} ".encode()
        return size + picture.tobytes(), lambda: picture
    if not isinstance(item, (str, os.PathLike)):
        kind = type(item).__name__
        raise TypeError(f"a picture is a PIL image or a path, not a {kind}")
    data = read_bytes(item)
    return data, lambda: decode_picture(data)


def _release_memory() -> None:
    """Give what was freed back to the system, where the C library can.

    Two threads that take and free large blocks in turn leave holes; glibc
    keeps them, and a run over 10,000 pictures would grow with each batch.
    """
    with suppress(OSError, AttributeError, TypeError):  # no glibc
        ctypes.CDLL(None).malloc_trim(0)


def _chunks(items: Iterable, size: int) -> Iterator[list]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def _ahead(function: Callable, items: Iterable) -> Iterator:
    """``map(function, items)``, computed one item ahead in a thread."""
    pool = ThreadPoolExecutor(1)
    waiting = iter(items)
    coming = deque(pool.submit(function, item) for item in islice(waiting, 1))

    def results() -> Iterator:
        try:
            for item in waiting:
                coming.append(pool.submit(function, item))
                yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    return results()
