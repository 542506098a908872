"""Pictures, and what a frozen CLIP makes of them, each computed once.

All transfer methods read the same object: those that adapt features take
``image_embeds``, those that work on patches ``patch_embeds``, and only those
that change the picture or the encoder need ``pixel_values``.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

BATCH = 64
KINDS = ("pixel_values", "patch_embeds", "image_embeds")


class Pictures:
    """N pictures for one CLIP.

    ``source`` holds PIL images or paths, pixel_values [N, 3, H, W],
    patch_embeds [N, h, w, D] or image_embeds [N, D].  What is asked for is
    computed from what there is, once; ValueError where that cannot be done,
    such as pixels from embeddings.  ``pictures[rows]`` keeps what has been
    computed.
    """

    def __init__(self, clip, source: Sequence | Tensor):
        self.clip, self._images = clip, None
        if not isinstance(source, Tensor):
            self._images = list(source)
            self._length = len(self._images)
            return
        if source.ndim == 2:
            kind = "image_embeds"
        elif source.ndim == 4 and source.shape[1] == 3:
            kind = "pixel_values"
        elif source.ndim == 4 and source.shape[-1] == clip.embed_dim:
            kind = "patch_embeds"
        else:
            raise ValueError(
                "pictures are [N, 3, H, W], [N, h, w, D] or [N, D], "
                f"not {list(source.shape)}"
            )
        if kind != "pixel_values":
            if source.shape[-1] != clip.embed_dim:
                raise ValueError(
                    f"embeddings of {clip.name} have {clip.embed_dim} "
                    f"dimensions, not {source.shape[-1]}"
                )
            source = F.normalize(source.float(), dim=-1)
        setattr(self, kind, source)  # in place of what would be computed
        self._length = len(source)

    @classmethod
    def of(cls, clip, source) -> Pictures:
        """``source`` as Pictures of this CLIP."""
        if not isinstance(source, Pictures):
            return cls(clip, source)
        if source.clip is clip:
            return source
        if source._images is not None:  # another CLIP's features are no use
            return cls(clip, source._images)
        return cls(clip, source.pixel_values)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, rows: slice | Sequence[int] | Tensor) -> Pictures:
        """The pictures of some rows, with what is known of them."""
        index = torch.arange(len(self))
        index = index[rows if isinstance(rows, slice) else torch.as_tensor(rows)]
        part = copy.copy(self)
        part._length = len(index)
        part._images = self._images and [self._images[i] for i in index]
        for kind in KINDS:
            if kind in self.__dict__:  # not computed for the asking
                setattr(part, kind, getattr(self, kind)[index])
        return part

    @property
    def images(self) -> list[Image.Image]:
        """The pictures to look at; ValueError where only numbers are known."""
        if self._images is None:
            raise ValueError("these pictures were given as numbers only")
        return self._images

    def _batches(self, source) -> list:
        return [source[i : i + BATCH] for i in range(0, len(self), BATCH)]

    @functools.cached_property
    def pixel_values(self) -> Tensor:
        """[N, 3, H, W], as the model takes them.

        Raises ValueError where only embeddings are known.
        """
        if self._images is None:
            raise ValueError("this method needs pictures, not embeddings")
        return self.clip.preprocess(self._images)

    @functools.cached_property
    def image_embeds(self) -> Tensor:
        """[N, D], L2-normalised."""
        if self._images is not None and "pixel_values" not in self.__dict__:
            return self.clip.encode_images(self._images)
        with torch.no_grad():
            return torch.cat(
                [
                    self.clip.image_features(batch)
                    for batch in self._batches(self.pixel_values)
                ]
            )

    @functools.cached_property
    def patch_embeds(self) -> Tensor:
        """[N, h, w, D], L2-normalised, by the last block's value path."""
        with torch.no_grad():
            return torch.cat(
                [
                    self.clip.patch_features(batch)
                    for batch in self._batches(self.pixel_values)
                ]
            )
