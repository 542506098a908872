"""Which captions a model can read: a tokenizer may have words that it lacks."""

from __future__ import annotations

from ..models.clip import Clip, UnknownToken
from .captions import Captions, parse_captions


def legible(captions: Captions, clip) -> Captions:
    """The captions that ``clip`` can read; ``unread`` tells of the others."""
    if not isinstance(clip, Clip) or clip.tokenizer is None:
        return captions
    if not clip.unknown_token(clip.tokenizer.get_vocab().values()):
        return captions  # as of every model that is whole
    kept, unread = Captions(), []
    for caption in captions:
        try:
            clip.tokenize([caption])
            kept.append(caption)
        except UnknownToken as reason:
            unread.append(str(reason))
    kept.left_out, kept.unread = captions.left_out, tuple(unread)
    return kept


def legible_lines(text: str, clip) -> Captions:
    """Those of a text, one a line; ValueError, and why, if there is none."""
    captions = legible(parse_captions(text), clip)
    if not captions:
        reasons = "no captions: write at least one", *captions.notes()
        raise ValueError(". ".join(reasons))
    return captions
