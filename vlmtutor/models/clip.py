"""One CLIP, ready to use: pictures and texts in, vectors of length one out.

CLIP: Radford et al. 2021, arXiv 2103.00020.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm
from transformers import CLIPModel

from .inside import value_path
from .pictures import rgb_picture

# The mean and standard deviation of CLIP's own training pictures.
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
LONGEST = 8  # sides of a strip longer than this : 1 are cut before resizing


@dataclass(frozen=True)
class ImageSettings:
    """How a CLIP wants its pictures: the numbers in its processor's file.

    ``resize`` is the new length of the shorter side, or (height, width), or
    None; ``crop`` is (height, width) or None; ``resample`` is Pillow's number
    (3 is bicubic); ``scale`` multiplies bytes before ``mean`` is subtracted
    and ``std`` divides.
    """

    resize: int | tuple[int, int] | None = 224
    crop: tuple[int, int] | None = (224, 224)
    resample: int = 3
    scale: float = 1 / 255
    mean: tuple[float, ...] = CLIP_MEAN
    std: tuple[float, ...] = CLIP_STD

    @classmethod
    def from_config(cls, config: dict) -> ImageSettings:
        """Read the fields of ``preprocessor_config.json``."""
        size, crop = config.get("size", 224), config.get("crop_size", 224)
        if isinstance(size, dict):
            if "height" in size:
                size = (size["height"], size["width"])
            else:
                size = size["shortest_edge"]
        if isinstance(crop, int):
            crop = {"height": crop, "width": crop}
        settings = {"resize": size, "crop": (crop["height"], crop["width"])}
        settings["resample"] = config.get("resample", 3)
        settings["scale"] = config.get("rescale_factor", 1 / 255)
        settings["mean"] = tuple(config.get("image_mean", CLIP_MEAN))
        settings["std"] = tuple(config.get("image_std", CLIP_STD))
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


def _listed(items, what: str) -> list:
    if isinstance(items, (str, os.PathLike, Image.Image)):
        raise TypeError(f"pass a list of {what}, not a single one")
    return list(items)


def _batches(items: list, size: int, progress: bool, what: str) -> Iterator:
    if size < 1:
        raise ValueError(f"batch_size must be at least 1, got {size}")
    with tqdm(total=len(items), desc=what, disable=not progress) as bar:
        for start in range(0, len(items), size):
            batch = items[start : start + size]
            yield batch
            bar.update(len(batch))


class Clip:
    """A ``transformers.CLIPModel`` with its tokenizer and image settings.

    ``model`` and ``tokenizer`` are the library's own objects, there to be
    looked into.  ``name``, ``image_size`` (pixels) and ``embed_dim`` (D)
    describe them.  The model is put in eval mode.
    """

    def __init__(
        self, model: CLIPModel, tokenizer, settings: ImageSettings, name="CLIP"
    ):
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.image_settings = settings
        self.name = name
        self.image_size = model.config.vision_config.image_size
        self.embed_dim = model.config.projection_dim

    def __repr__(self) -> str:
        millions = sum(p.numel() for p in self.model.parameters()) / 1e6
        return (
            f"Clip({self.name!r}, {self.image_size} px, "
            f"{self.embed_dim} dimensions, {millions:.1f} M parameters)"
        )

    @property
    def logit_scale(self) -> float:
        """What similarities are multiplied by, already exponentiated."""
        return float(self.model.logit_scale.detach().exp())

    def preprocess(self, images) -> Tensor:
        """PIL images or paths → pixel_values [N, 3, H, W].

        The steps are those of ``CLIPImageProcessor``, written here so that
        the numbers do not depend on whether torchvision is installed.
        """
        settings = self.image_settings
        arrays = [
            settings.pixel_values(rgb_picture(image))
            for image in _listed(images, "pictures")
        ]
        if not arrays:
            return torch.zeros(0, 3, self.image_size, self.image_size)
        return torch.from_numpy(np.stack(arrays))

    def tokenize(self, texts) -> dict[str, Tensor]:
        """Texts → input_ids and attention_mask [M, L], over-long ones cut."""
        limit = self.model.config.text_config.max_position_embeddings
        encoded = self.tokenizer(
            _listed(texts, "texts"),
            padding=True,
            truncation=True,
            max_length=limit,
            return_tensors="pt",
        )
        return dict(encoded)

    def image_features(self, pixel_values: Tensor, normalize: bool = True) -> Tensor:
        """pixel_values [N, 3, H, W] → image features [N, D] in float32.

        Of length one unless ``normalize`` is off.  Gradients flow; the
        features stay on the model's device.
        """
        pixel_values = pixel_values.to(self.model.device)
        output = self.model.get_image_features(pixel_values=pixel_values)
        return _features(output, normalize)

    def text_features(
        self, inputs: dict[str, Tensor], normalize: bool = True
    ) -> Tensor:
        """What ``tokenize`` gives → text features [M, D] in float32."""
        inputs = {key: value.to(self.model.device) for key, value in inputs.items()}
        return _features(self.model.get_text_features(**inputs), normalize)

    @torch.no_grad()
    def encode_images(
        self, images, batch_size: int = 64, progress: bool = False
    ) -> Tensor:
        """PIL images or paths → image_embeds [N, D], L2-normalised, on CPU."""
        images = _listed(images, "pictures")
        embeds = [torch.zeros(0, self.embed_dim)]
        for batch in _batches(images, batch_size, progress, "pictures"):
            embeds.append(self.image_features(self.preprocess(batch)).cpu())
        return torch.cat(embeds)

    @torch.no_grad()
    def encode_texts(
        self, texts, batch_size: int = 256, progress: bool = False
    ) -> Tensor:
        """Texts → text_embeds [M, D], L2-normalised, on CPU.

        A text with more tokens than the model has positions is cut short.
        """
        texts = _listed(texts, "texts")
        # Short texts run with short ones, so that little is padding.
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        embeds = torch.zeros(len(texts), self.embed_dim)
        for rows in _batches(order, batch_size, progress, "texts"):
            inputs = self.tokenize([texts[i] for i in rows])
            embeds[rows] = self.text_features(inputs).cpu()
        return embeds

    def patch_features(self, pixel_values: Tensor, path: str = "value") -> Tensor:
        """pixel_values [N, 3, H, W] → patches [N, h, w, D], L2-normalised.

        ``path="value"`` reads the last block as MaskCLIP does: attention is
        replaced by the identity, so that a patch keeps what it saw itself;
        residual and MLP stay (Zhou et al. 2022, arXiv 2112.01071).
        ``path="attention"`` takes the last block as it is.  Other picture
        sizes than the model's own get interpolated positions.  Gradients
        flow.
        """
        if path not in ("value", "attention"):
            raise ValueError(f"path is 'value' or 'attention', not {path!r}")
        vision = self.model.vision_model
        height, width = pixel_values.shape[-2:]
        output = vision(
            pixel_values=pixel_values.to(self.model.device),
            output_hidden_states=True,
            interpolate_pos_encoding=(height, width) != (self.image_size,) * 2,
        )
        hidden = output.last_hidden_state  # [N, 1 + T, W]
        if path == "value":
            block = vision.encoder.layers[-1]
            hidden = output.hidden_states[-2]  # what the last block reads
            hidden = value_path(block, hidden)
        patches = vision.post_layernorm(hidden[:, 1:])  # without the class
        embeds = F.normalize(self.model.visual_projection(patches), dim=-1)
        side = self.model.config.vision_config.patch_size
        return embeds.unflatten(1, (height // side, width // side))


def _features(output, normalize: bool) -> Tensor:
    """Projected features in float32."""
    features = output.pooler_output.float()
    return F.normalize(features, dim=-1) if normalize else features
