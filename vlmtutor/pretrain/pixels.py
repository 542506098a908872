"""What everyday pictures have and drawn ones lack: light, blur, grain, a crop."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter


def resized(pixels: np.ndarray, size: int) -> np.ndarray:
    image = Image.fromarray(pixels)
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC))


def augment(
    pixels: np.ndarray, rng: np.random.Generator, strength: float
) -> np.ndarray:
    """Light, contrast, blur and grain of an everyday picture, at random."""
    if strength == 0:
        return pixels
    if rng.random() < 0.15 * strength:
        radius = rng.uniform(0.2, 0.012 * len(pixels) + 0.2)
        image = Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius))
        pixels = np.asarray(image)
    if rng.random() < 0.6:
        light = rng.uniform(1 - 0.35 * strength, 1 + 0.25 * strength)
        tint = rng.uniform(1 - 0.1 * strength, 1 + 0.1 * strength, 3)
        mean = pixels.mean()
        contrast = rng.uniform(1 - 0.3 * strength, 1 + 0.2 * strength)
        changed = (pixels - mean) * contrast + mean
        changed = changed * (light * tint).astype(np.float32)
        if rng.random() < 0.3 * strength:
            sigma = rng.uniform(2, 14)
            changed = changed + rng.normal(0, sigma, pixels.shape)
        pixels = np.clip(changed, 0, 255).astype(np.uint8)
    return pixels


def cropped(pixels: np.ndarray, rng: np.random.Generator, least: float) -> np.ndarray:
    """A random square of at least a share of the area, at the old size."""
    if least >= 1:
        return pixels
    size = len(pixels)
    side = size * rng.uniform(least, 1) ** 0.5
    x, y = rng.uniform(0, size - side, 2)
    box = (x, y, x + side, y + side)
    image = Image.fromarray(pixels)
    bicubic = Image.Resampling.BICUBIC
    return np.asarray(image.resize((size, size), bicubic, box))
