"""Memes: match pictures with captions, write the captions on, do a folder.

Rendering needs no torch: the names that do are imported on first use.
"""

from __future__ import annotations

import importlib

from ..models.pictures import UnreadablePicture, read_picture
from .captions import read_captions
from .hubs import CORRECTIONS
from .match import Choice, Matches, assign_captions, match, match_embeddings
from .render import STYLES, render

_LAZY = {
    "Embedder": "embed",
    "EmbeddingCache": "cache",
    "Report": "report",
    "Placement": "placement",
    "caption_folder": "folder",
    "place_caption": "placement",
}

__all__ = [
    "CORRECTIONS", "STYLES", "Choice", "Embedder", "EmbeddingCache", "Matches",
    "Placement", "Report", "UnreadablePicture", "assign_captions", "caption_folder",
    "match", "match_embeddings", "place_caption", "read_captions", "read_picture",
    "render",
]  # fmt: skip


def __getattr__(name: str):
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f".{_LAZY[name]}", __name__)
    value = getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
