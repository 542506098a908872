"""Greys of more than 8 bits, as a screen shows them."""

from __future__ import annotations

import numpy as np
from PIL import Image

_BITS, _MEANING, _KIND = 0x0102, 0x0106, 0x0153  # tags of TIFF 6.0
_WHITE_IS_ZERO, _UNSIGNED, _SIGNED = 0, 1, 2


def eight_bits(image: Image.Image) -> Image.Image:
    """16 or 32 bits or floats (modes I, I;16 and F) as 8 bits (mode L).

    Black is 0, and white what the file says; where it says nothing, 1, 255 or
    65535 (32767 of signed 16 bits), the least that no value exceeds.  Larger
    values have no white of their own: the brightest is taken; and the darkest
    as black where there are negative ones.  Infinity is the brightest, minus
    infinity the darkest there is, NaN is black; none of them counts when white
    is sought.
    """
    tags = getattr(image, "tag_v2", {})  # of a TIFF
    values = np.asarray(image)
    if image.mode == "I" and tags and tags.get(_KIND, (1,))[0] == _UNSIGNED:
        values = values.view(np.uint32)  # Pillow reads them as signed
    values = values.astype(np.float32)
    is_number = np.isfinite(values)
    low = float(values.min(initial=0, where=is_number))
    high = float(values.max(initial=0, where=is_number))
    if image.mode.startswith("I;16"):
        low, high = 0, 2 ** tags.get(_BITS, (16,))[0] - 1
    elif image.mode == "I" and image.format in ("PNG", "PPM"):
        low, high = 0, 65535  # whatever a PPM calls white: Pillow scales it
    elif low >= 0 and high <= 65535:
        whites = (1, 255, 65535) if image.mode == "F" else (255, 65535)
        if (tags.get(_KIND), tags.get(_BITS)) == ((_SIGNED,), (16,)):
            whites = (255, 32767)
        low, high = 0, next(white for white in whites if high <= white)
    is_negative = tags.get(_MEANING) == _WHITE_IS_ZERO
    black = high if is_negative else low
    np.nan_to_num(values, copy=False, nan=black, posinf=high, neginf=low)
    step = 255 / (high - low) if high > low else 0
    values = values * np.float32(step) - np.float32(low * step)
    pixels = values.round().clip(0, 255).astype(np.uint8)
    return Image.fromarray(255 - pixels if is_negative else pixels)
