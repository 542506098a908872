"""The colour that a PNG leaves out (its chunk tRNS): there the paper shows.

Pillow gives it as the file has it, beside pixels that it scales to 8 bits: of
2 and 4 bits they grow, of 16 bits a colour the lower 8 are gone.
"""

from __future__ import annotations

import contextlib

import numpy as np
from PIL import Image

_STEPS = {"L;2": (3, 85), "L;4": (15, 17)}  # the largest grey, and what one is of 255
_COLORS_OF_16_BITS = "RGB;16B"  # so Pillow calls them: big-endian, the upper byte
_LOWER_BYTES = "RGB;16L"  # as little-endian ones they give the other byte


class ColorKey:
    """A picture's transparent colour, taken before the pixels are read.

    ``mask`` tells where it is. A picture that has been loaded elsewhere no
    longer says how many bits its file has: then its key is taken as it stands.
    """

    def __init__(self, image: Image.Image) -> None:
        key = image.info.get("transparency")
        is_key = isinstance(key, tuple if image.mode == "RGB" else int)
        of_8_bits = image.mode in ("L", "RGB") and image.format == "PNG"
        is_key = is_key and (of_8_bits or image.mode in ("I;16", "I"))
        tiles = getattr(image, "tile", None)  # none are left after loading
        coding = tiles[0][3] if tiles else ""
        self.key = key if is_key else None
        self.lower = None  # where the lower bytes are the key's, bool [H, W]
        if is_key and image.mode == "L" and coding:  # bits beyond do not count
            most, step = _STEPS.get(coding, (255, 1))
            self.key = (key & most) * step
        elif is_key and coding == _COLORS_OF_16_BITS:
            self.key = tuple(value >> 8 for value in key)
            with contextlib.suppress(Exception):  # as_seen will say what it is
                self.lower = _equals(_lower_bytes(image), [v & 255 for v in key])
        elif is_key and image.mode == "RGB" and coding:
            self.key = tuple(value & 255 for value in key)

    def mask(self, image: Image.Image) -> Image.Image | None:
        """Where the loaded ``image`` has the key: mode 1 [H, W]; None without one."""
        if self.key is None:
            return None
        here = _equals(image, self.key)
        return Image.fromarray(here if self.lower is None else here & self.lower)


def _equals(image: Image.Image, key) -> np.ndarray:
    equal = np.asarray(image) == key
    return equal.all(axis=-1) if equal.ndim == 3 else equal


def _lower_bytes(image: Image.Image) -> Image.Image:
    """The same file once more: the lower 8 of 16 bits a colour."""
    image.fp.seek(0)
    again = type(image)(image.fp)
    again.tile = [(*tile[:3], _LOWER_BYTES) for tile in again.tile]
    again.load()
    return again
