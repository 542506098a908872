"""Pictures for one CLIP, and what it makes of them, each thing made once."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable, Iterator, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..models.inside import (
    as_map,
    as_tokens,
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
# What only some methods ask for, besides hidden states that are no tap.
RARE = ("patch_tokens", "keys", "attention", "shifted")

_KEPT: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def once(owner, key: Hashable, make: Callable[[], object]):
    """``make()``, made the first time and kept as long as ``owner`` lives.

    For what several methods share: a proposer of the same pictures, say.
    """
    kept = _KEPT.setdefault(owner, {})
    if key not in kept:
        kept[key] = make()
    return kept[key]


def batched(n: int, size: int) -> Sequence[slice]:
    """Slices that cover ``n`` rows."""
    return [slice(i, min(i + size, n)) for i in range(0, n, size)]


def taps(clip) -> tuple[int, ...]:
    """The hidden states that are kept: early, middle, and the last's input."""
    layers = len(vision_blocks(clip))
    return tuple(sorted({layers // 3, 2 * layers // 3, layers - 1}))


class DensePictures:
    """N pictures, uint8 ``images`` [N, S, S, 3], and one CLIP's features.

    The first pass (:meth:`prepare`, or whatever needs it first) gives
    ``image_embeds`` [N, D], ``dense`` [N, T, D] (value path, L2-normalised)
    and the hidden states of :func:`taps`; the others are made when asked for.
    ``pictures[rows]`` keeps what is made.  ``tags`` bool [N, C] is for the
    rows that are told what is in a test picture, and None otherwise: no
    scene, caption or label is in reach.  Raises ValueError for images of
    another shape.
    """

    def __init__(self, clip, images: np.ndarray | Tensor, tags: Tensor | None = None):
        images = torch.as_tensor(images)
        if images.ndim != 4 or images.shape[-1] != 3:
            raise ValueError(f"images are uint8 [N, S, S, 3], not {list(images.shape)}")
        self.clip, self.images, self.tags = clip, images, tags
        self._made: dict[str | int, Tensor] = {}  # hidden states by their number

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows) -> DensePictures:
        if not isinstance(rows, slice):
            rows = torch.as_tensor(rows)
            rows = rows if rows.dtype == torch.bool else rows.long()
        tags = None if self.tags is None else self.tags[rows]
        part = DensePictures(self.clip, self.images[rows], tags)
        part._made = {name: value[rows] for name, value in self._made.items()}
        return part

    def with_tags(self, tags: Tensor) -> DensePictures:
        """The same pictures and features, with ``tags`` [N, C]."""
        told = self[:]
        told.tags = tags
        return told

    def mirrored(self) -> DensePictures:
        """Left and right swapped, and with them what the first pass made.

        CLIP's states are turned, not made anew: what they know of their place
        stays wrong, which training bears.
        """
        self.prepare("pixel_values")
        turned = DensePictures(self.clip, self.images.flip(2), self.tags)
        made = self._made
        turned._made = {
            "pixel_values": made["pixel_values"].flip(3),
            "image_embeds": made["image_embeds"],
            "dense": _mirrored_tokens(made["dense"]),
        }
        for layer in (name for name in made if isinstance(name, int)):
            x = made[layer]
            turned._made[layer] = torch.cat([x[:, :1], _mirrored_tokens(x[:, 1:])], 1)
        return turned

    @property
    def made(self) -> frozenset:
        """What there is so far: names of features, numbers of states."""
        return frozenset(self._made)

    def prepare(self, *names: str) -> DensePictures:
        """Make the first pass and some features, so that slices share them."""
        if "dense" not in self._made:
            self._first_pass()
        for name in names:
            getattr(self, name)
        return self

    def forget(self) -> None:
        """Drop what only some methods ask for: it can be made again."""
        keep = taps(self.clip)
        for name in self.made:
            if name in RARE or (isinstance(name, int) and name not in keep):
                del self._made[name]

    def batches(self, size: int = BATCH) -> Iterator[DensePictures]:
        """The pictures in runs of ``size``."""
        for rows in batched(len(self), size):
            yield self[rows]

    def look(self, k: int) -> Image.Image:
        """Picture ``k`` to look at."""
        return Image.fromarray(self.images[k].numpy())

    @property
    def rgb(self) -> Tensor:
        """Plain colours from 0 to 1: [N, 3, S, S]."""
        return self.images.permute(0, 3, 1, 2).float() / 255

    @property
    def pixel_values(self) -> Tensor:
        """[N, 3, S, S], as the model takes them."""
        images = map(self.look, range(len(self)))
        return self._once("pixel_values", lambda: self.clip.preprocess([*images]))

    @property
    def image_embeds(self) -> Tensor:
        """The class token's joint embedding: [N, D], L2-normalised."""
        return self.prepare()._made["image_embeds"]

    @property
    def dense(self) -> Tensor:
        """Value-path patches: [N, T, D], L2-normalised."""
        return self.prepare()._made["dense"]

    def hidden(self, layer: int) -> Tensor:
        """Hidden state ``layer``: [N, 1 + T, W]; the class token is first."""
        self.prepare()
        make = self._of_pixels(lambda x: hidden_states(self.clip, x)[layer].half())
        return self._once(layer, make).float()

    @property
    def patch_tokens(self) -> Tensor:
        """Patches of the last block as it is: [N, T, D], L2-normalised."""
        return self._from_last(
            "patch_tokens",
            lambda block, x: read_out(self.clip, run_block(block, x)[:, 1:]),
        )

    @property
    def keys(self) -> Tensor:
        """The last block's keys: [N, T, W]."""
        return self._from_last("keys", lambda block, x: token_keys(block, x)[:, 1:])

    @property
    def attention(self) -> Tensor:
        """Every block's attention, mean of heads: float16 [N, L, 1+T, 1+T]."""
        blocks = vision_blocks(self.clip)

        def of_all(pixels: Tensor) -> Tensor:
            states = hidden_states(self.clip, pixels)[:-1]
            pairs = zip(blocks, states, strict=True)
            return torch.stack(
                [attention_weights(b, x).mean(1).half() for b, x in pairs], 1
            )

        return self._once("attention", self._of_pixels(of_all))

    @property
    def shifted(self) -> Tensor:
        """Value-path patches on a grid twice as fine: [N, 4 T, D]."""
        make = self._of_pixels(lambda x: shifted_features(self.clip, x))
        return self._once("shifted", make)

    def _once(self, name: str | int, make: Callable[[], Tensor]) -> Tensor:
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]

    def _first_pass(self) -> None:
        """The pass that everything starts from; its states are float16."""
        keep, last = taps(self.clip), vision_blocks(self.clip)[-1]
        parts: dict[str | int, list] = {"image_embeds": [], "dense": []}
        parts |= {layer: [] for layer in keep}
        with torch.no_grad():
            for pixels in self.pixel_values.split(BATCH):
                states = hidden_states(self.clip, pixels)
                for layer in keep:
                    parts[layer].append(states[layer].half())
                class_token = read_out(self.clip, states[-1][:, 0])
                values = value_path(last, states[-2])[:, 1:]
                parts["image_embeds"].append(class_token)
                parts["dense"].append(read_out(self.clip, values))
        self._made |= {name: torch.cat(part) for name, part in parts.items()}

    def _of_pixels(self, function: Callable) -> Callable[[], Tensor]:
        """How to make ``function(pixel_values)``, in batches."""

        @torch.no_grad()
        def make() -> Tensor:
            return torch.cat([function(x) for x in self.pixel_values.split(BATCH)])

        return make

    def _from_last(self, name: str, function: Callable) -> Tensor:
        """``function(block, hidden)`` of the last block, in batches."""
        block = vision_blocks(self.clip)[-1]
        states = self.prepare()._made[taps(self.clip)[-1]]

        @torch.no_grad()
        def make() -> Tensor:
            return torch.cat([function(block, x.float()) for x in states.split(BATCH)])

        return self._once(name, make)


def _mirrored_tokens(tokens: Tensor) -> Tensor:
    return as_tokens(as_map(tokens).flip(-1))
