"""What a method is handed: supervision by type, and pictures with features.

A type has what it has: pictures do not know their scene, tags not their
masks.  Weaker types are made from stronger ones by dropping fields, so what a
method was not given cannot be reached from what it was.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..models.inside import (
    attention_weights,
    hidden_states,
    read_out,
    run_block,
    shifted_features,
    token_keys,
    value_path,
    vision_blocks,
)

BATCH = 16  # pictures: on one core small batches stay in the cache
IGNORE = 255  # the label of pixels that do not count


def taps(clip) -> tuple[int, ...]:
    """The hidden states that are kept: early, middle, and the last's input."""
    layers = len(vision_blocks(clip))
    return tuple(sorted({layers // 3, 2 * layers // 3, layers - 1}))


class DensePictures:
    """N pictures for one CLIP, and what it makes of them, each made once.

    ``images`` is uint8 [N, S, S, 3].  One pass gives ``image_embeds`` [N, D],
    ``dense`` [N, T, D] (value path, L2-normalised) and the hidden states of
    :func:`taps`; ``hidden(l)`` [N, 1 + T, W] of others, ``patch_tokens``,
    ``keys``, ``attention`` and ``shifted`` come when asked for.
    ``pictures[rows]`` keeps what is known.  No scene, caption or label is in
    reach.
    """

    def __init__(self, clip, images: np.ndarray | Tensor):
        images = torch.as_tensor(images)
        if images.ndim != 4 or images.shape[-1] != 3:
            raise ValueError(f"images are uint8 [N, S, S, 3], not {list(images.shape)}")
        self.clip, self.images = clip, images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows) -> DensePictures:
        if not isinstance(rows, slice):
            rows = torch.as_tensor(rows)
            rows = rows if rows.dtype == torch.bool else rows.long()
        part = DensePictures(self.clip, self.images[rows])
        for name, value in self.__dict__.items():
            if name == "_hidden":
                part._hidden = {k: v[rows] for k, v in value.items()}
            elif isinstance(value, Tensor):
                part.__dict__[name] = value[rows]
        return part

    def batches(self, size: int = BATCH):
        """The pictures in runs of ``size``."""
        for start in range(0, len(self), size):
            yield self[start : start + size]

    def look(self, k: int) -> Image.Image:
        """Picture ``k`` to look at."""
        return Image.fromarray(self.images[k].numpy())

    @property
    def rgb(self) -> Tensor:
        """Plain colours from 0 to 1: [N, 3, S, S]."""
        return self.images.permute(0, 3, 1, 2).float() / 255

    @functools.cached_property
    def pixel_values(self) -> Tensor:
        """[N, 3, S, S], as the model takes them."""
        images = [self.look(k) for k in range(len(self))]
        return self.clip.preprocess(images)

    @functools.cached_property
    def _hidden(self) -> dict[int, Tensor]:
        """The pass that everything starts from; float16."""
        keep, last = taps(self.clip), vision_blocks(self.clip)[-1]
        kept: dict[int, list] = {layer: [] for layer in keep}
        embeds, dense = [], []
        with torch.no_grad():
            for pixels in self.pixel_values.split(BATCH):
                states = hidden_states(self.clip, pixels)
                for layer in keep:
                    kept[layer].append(states[layer].half())
                embeds.append(read_out(self.clip, states[-1][:, 0]))
                values = value_path(last, states[-2])[:, 1:]
                dense.append(read_out(self.clip, values))
        self.__dict__["image_embeds"] = _cat(embeds)
        self.__dict__["dense"] = _cat(dense)
        return {k: _cat(parts) for k, parts in kept.items()}

    @functools.cached_property
    def image_embeds(self) -> Tensor:
        """The class token's joint embedding: [N, D], L2-normalised."""
        self._hidden  # noqa: B018 - the pass stores it
        return self.__dict__["image_embeds"]

    @functools.cached_property
    def dense(self) -> Tensor:
        """Value-path patches: [N, T, D], L2-normalised."""
        self._hidden  # noqa: B018
        return self.__dict__["dense"]

    def prepare(self, *names: str) -> DensePictures:
        """Make some features now, so that slices share them; itself."""
        self._hidden  # noqa: B018
        for name in names:
            getattr(self, name)
        return self

    def forget(self) -> None:
        """Drop what only some methods ask for: it can be made again."""
        for name in ("patch_tokens", "keys", "attention", "shifted"):
            self.__dict__.pop(name, None)
        if "_hidden" in self.__dict__:
            keep = taps(self.clip)
            for layer in [k for k in self._hidden if k not in keep]:
                del self._hidden[layer]

    def hidden(self, layer: int) -> Tensor:
        """Hidden state ``layer``: [N, 1 + T, W]; the class token is first."""
        if layer not in self._hidden:
            with torch.no_grad():
                self._hidden[layer] = torch.cat(
                    [
                        hidden_states(self.clip, pixels)[layer].half()
                        for pixels in self.pixel_values.split(BATCH)
                    ]
                )
        return self._hidden[layer].float()

    def _from_last(self, function) -> Tensor:
        """``function(block, hidden)`` of the last block, in batches."""
        block = vision_blocks(self.clip)[-1]
        states = self._hidden[taps(self.clip)[-1]]
        with torch.no_grad():
            return torch.cat(
                [function(block, part.float()) for part in states.split(BATCH)]
            )

    @functools.cached_property
    def patch_tokens(self) -> Tensor:
        """Patches of the last block as it is: [N, T, D], L2-normalised."""
        return self._from_last(
            lambda block, x: read_out(self.clip, run_block(block, x)[:, 1:])
        )

    @functools.cached_property
    def keys(self) -> Tensor:
        """The last block's keys: [N, T, W]."""
        return self._from_last(lambda block, x: token_keys(block, x)[:, 1:])

    @functools.cached_property
    def attention(self) -> Tensor:
        """Every block's attention, mean of heads: float16 [N, L, 1+T, 1+T]."""
        blocks, parts = vision_blocks(self.clip), []
        with torch.no_grad():
            for pixels in self.pixel_values.split(BATCH):
                states = hidden_states(self.clip, pixels)[:-1]
                parts.append(
                    torch.stack(
                        [
                            attention_weights(b, x).mean(1).half()
                            for b, x in zip(blocks, states, strict=True)
                        ],
                        1,
                    )
                )
        return torch.cat(parts)

    @functools.cached_property
    def shifted(self) -> Tensor:
        """Value-path patches on a grid twice as fine: [N, 4 T, D]."""
        return torch.cat(
            [
                shifted_features(self.clip, pixels)
                for pixels in self.pixel_values.split(BATCH)
            ]
        )


def _cat(parts: list[Tensor]) -> Tensor:
    return torch.cat(parts) if parts else torch.zeros(0)


@dataclass(frozen=True)
class Unlabeled:
    """Pictures and nothing else."""

    pictures: DensePictures

    def __len__(self) -> int:
        return len(self.pictures)


@dataclass(frozen=True)
class Captioned:
    """Pictures with a sentence each.

    ``spans[i]`` has the (start, end) of each phrase that names stickers, in
    the order of the sentence; the sentence is all they were found by.
    """

    pictures: DensePictures
    captions: list[str]
    spans: list[tuple[tuple[int, int], ...]]

    def __len__(self) -> int:
        return len(self.pictures)

    def unlabeled(self) -> Unlabeled:
        return Unlabeled(self.pictures)

    def phrases(self) -> list[list[str]]:
        """The phrases that name stickers, per picture."""
        return [
            [text[a:b] for a, b in spans]
            for text, spans in zip(self.captions, self.spans, strict=True)
        ]


@dataclass(frozen=True)
class Tagged:
    """Pictures and which of ``names`` are in them: ``tags`` bool [N, C]."""

    pictures: DensePictures
    tags: Tensor
    names: list[str]

    def __len__(self) -> int:
        return len(self.pictures)

    def unlabeled(self) -> Unlabeled:
        return Unlabeled(self.pictures)


@dataclass(frozen=True)
class Regions:
    """Class-agnostic masks: ``regions`` [N, S, S], -1 where there is none.

    Numbers tell the regions of one picture apart and mean nothing else.
    """

    pictures: DensePictures
    regions: Tensor

    def __len__(self) -> int:
        return len(self.pictures)

    def unlabeled(self) -> Unlabeled:
        return Unlabeled(self.pictures)


@dataclass(frozen=True)
class Masked:
    """Pictures with named masks.

    ``labels`` [N, S, S] index ``names``; len(names) is background, 255 does
    not count.  ``regions`` as in :class:`Regions`.
    """

    pictures: DensePictures
    labels: Tensor
    regions: Tensor
    names: list[str]

    def __len__(self) -> int:
        return len(self.pictures)

    def unlabeled(self) -> Unlabeled:
        return Unlabeled(self.pictures)

    def regions_only(self) -> Regions:
        return Regions(self.pictures, self.regions)

    def tagged(self) -> Tagged:
        return Tagged(self.pictures, tags_of(self.labels, len(self.names)), self.names)


@dataclass(frozen=True)
class Partial(Masked):
    """Masks of base classes in pictures that hold novel stickers too.

    The pixels of novel stickers are 255 and in no region: the transductive
    setting, where a method is also told the novel names.
    """


def tags_of(labels: Tensor, classes: int) -> Tensor:
    """Which classes occur in label maps [N, S, S]: bool [N, classes]."""
    one_hot = labels.flatten(1)[:, :, None] == torch.arange(classes)
    return one_hot.any(dim=1)


def batched(n: int, size: int) -> Sequence[slice]:
    """Slices that cover ``n`` rows."""
    return [slice(i, min(i + size, n)) for i in range(0, n, size)]
