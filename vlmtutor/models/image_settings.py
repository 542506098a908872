"""How a CLIP wants its pictures: what ``preprocessor_config.json`` says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

# The mean and standard deviation of CLIP's own training pictures.
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
LONGEST = 8  # sides of a strip longer than this : 1 are cut before resizing
LARGEST = 4096  # pixels a side; no CLIP takes a quarter of it
SMALLEST = 1e-6  # what may be divided by

# What a file that is silent on something means, by the kind of the model.
SILENT = {
    "clip": {"image_mean": CLIP_MEAN, "image_std": CLIP_STD},
    "siglip": {
        "image_mean": (0.5, 0.5, 0.5),
        "image_std": (0.5, 0.5, 0.5),
        "size": {"height": 224, "width": 224},
        "do_center_crop": False,
    },
}


@dataclass(frozen=True)
class ImageSettings:
    """How a CLIP wants its pictures: the numbers in its processor's file.

    ``resize`` is the new length of the shorter side, or (height, width), or
    None; ``crop`` is (height, width) or None; ``resample`` is Pillow's number
    (3 is bicubic); ``scale`` multiplies bytes before ``mean`` is subtracted
    and ``std`` divides.  Raises ValueError for numbers that make no picture.
    """

    resize: int | tuple[int, int] | None = 224
    crop: tuple[int, int] | None = (224, 224)
    resample: int = 3
    scale: float = 1 / 255
    mean: tuple[float, ...] = CLIP_MEAN
    std: tuple[float, ...] = CLIP_STD

    def __post_init__(self) -> None:
        for what, sides in (("size", self.resize), ("crop", self.crop)):
            sides = sides if isinstance(sides, tuple) else (sides,)
            if sides != (None,) and not all(map(_is_side, sides)):
                raise ValueError(f"a {what} of {sides}: sides are 1 to {LARGEST} px")
        if self.resample not in set(Image.Resampling):
            raise ValueError(f"there is no resampling {self.resample!r}")
        for what, least in (("mean", 0), ("std", SMALLEST)):
            values = getattr(self, what)
            if len(values) != 3 or not all(_is_number(v, least) for v in values):
                raise ValueError(f"{what} is {values!r}, not three usable numbers")
        if not _is_number(self.scale, SMALLEST):
            raise ValueError(f"pictures cannot be scaled by {self.scale!r}")

    @classmethod
    def from_config(cls, config: dict, kind: str = "clip") -> ImageSettings:
        """Read the fields of ``preprocessor_config.json``.

        ``kind`` is the ``model_type``, "clip" or "siglip": on what the file
        does not mention, the two differ.
        """
        config = SILENT[kind] | config
        size, crop = config.get("size", 224), config.get("crop_size", 224)
        if isinstance(size, dict):
            if "height" in size:
                size = (size["height"], size["width"])
            else:
                size = size["shortest_edge"]
        if not isinstance(crop, dict):
            crop = {"height": crop, "width": crop}
        settings = {"resize": size, "crop": (crop["height"], crop["width"])}
        settings["resample"] = config.get("resample", 3)
        settings["scale"] = config.get("rescale_factor", 1 / 255)
        settings["mean"] = tuple(config["image_mean"])
        settings["std"] = tuple(config["image_std"])
        off = {
            "do_resize": {"resize": None},
            "do_center_crop": {"crop": None},
            "do_rescale": {"scale": 1.0},
            "do_normalize": {"mean": (0, 0, 0), "std": (1, 1, 1)},
        }
        for step, neutral in off.items():
            if not config.get(step, True):
                settings |= neutral
        return cls(**settings)

    def pixel_values(self, image: Image.Image) -> np.ndarray:
        """One RGB picture as float32 [3, H, W]."""
        if isinstance(self.resize, int):
            if self.crop:
                image = _shorten(image)
            width, height = image.size
            longer = int(self.resize * max(image.size) / min(image.size))
            small = (self.resize, longer)
            size = small if width <= height else small[::-1]
            image = image.resize(size, self.resample)
        elif self.resize:
            image = image.resize(self.resize[::-1], self.resample)
        if self.crop:
            height, width = self.crop
            left = (image.width - width) // 2
            top = (image.height - height) // 2
            image = image.crop((left, top, left + width, top + height))
        pixels = np.asarray(image, np.float32) * np.float32(self.scale)
        pixels = (pixels - np.float32(self.mean)) / np.float32(self.std)
        return pixels.transpose(2, 0, 1)  # [H, W, 3] → [3, H, W]


def _is_number(value, least: float) -> bool:
    return type(value) in (int, float) and least <= abs(value) <= 1 / SMALLEST


def _is_side(value) -> bool:
    return type(value) is int and 1 <= value <= LARGEST


def _shorten(image: Image.Image) -> Image.Image:
    """The middle of a very long strip.

    The crop would cut its ends away anyhow; resized before that, a strip one
    pixel wide could fill the memory.
    """
    limit = LONGEST * min(image.size)
    if max(image.size) <= limit:
        return image
    width, height = (min(side, limit) for side in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))
