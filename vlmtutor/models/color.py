"""Colours as a screen shows them: through a picture's profile to sRGB.

Profiles: International Color Consortium, specification ICC.1:2010; applied
by LittleCMS, which comes with Pillow.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageCms

NEARLY = 2  # of 255: so near to sRGB that the pixels are left as they are
_BROKEN = (ImageCms.PyCMSError, ImportError, OSError, TypeError, ValueError)


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """A picture without transparency as RGB, in the colours of sRGB.

    A profile that is broken, or made for another kind of picture, is left
    out of account, as viewers do.
    """
    plain = image if image.mode in ("L", "RGB", "CMYK") else image.convert("RGB")
    if profile:
        # A grey picture may carry the profile of the RGB one it was.
        for source in (plain, plain.convert("RGB")):
            try:
                return _through(source, profile)
            except _BROKEN:
                continue
    return plain.convert("RGB")


def _through(image: Image.Image, profile: bytes) -> Image.Image:
    opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    srgb = ImageCms.createProfile("sRGB")
    transform = ImageCms.buildTransform(opened, srgb, image.mode, "RGB")
    probe = _probe(image.mode)
    before, after = (
        np.asarray(p, int) for p in (probe.convert("RGB"), transform.apply(probe))
    )
    if np.abs(before - after).max() <= NEARLY:
        return image.convert("RGB")
    return transform.apply(image)


def _probe(mode: str) -> Image.Image:
    """Every mixture of four shades of each channel."""
    bands = len(Image.new(mode, (1, 1)).getbands())
    shades = np.indices((4,) * bands).reshape(bands, -1).T * 85  # [4^bands, bands]
    pixels = np.ascontiguousarray(shades.astype(np.uint8)[None])
    return Image.frombytes(mode, (len(shades), 1), pixels.tobytes())
