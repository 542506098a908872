"""Models that look and read: CLIP, shipped, in a folder or from the hub."""

from .hub import (
    DEFAULT_HUB_NAME,
    Known,
    ModelNotFound,
    download,
    is_cached,
    known,
    load_clip,
)

__all__ = [
    "DEFAULT_HUB_NAME",
    "Clip",
    "ImageSettings",
    "Known",
    "ModelNotFound",
    "download",
    "is_cached",
    "known",
    "load_clip",
]


def __getattr__(name: str):
    # These need torch, which the names above do not load until a model is
    # opened.
    if name in ("Clip", "ImageSettings"):
        from . import clip

        return getattr(clip, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
