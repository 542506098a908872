"""The widgets of the meme studio: a thin skin over :mod:`vlmtutor.memes`."""

from .widget import MemeStudio

__all__ = ["MemeStudio"]
