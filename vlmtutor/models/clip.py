"""One CLIP, ready to use: pictures and texts in, vectors of length one out.

CLIP: Radford et al. 2021, arXiv 2103.00020.  SigLIP, the same two towers
trained pair by pair: Zhai et al. 2023, arXiv 2303.15343.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm
from transformers import CLIPModel, SiglipModel

from .device import back_to_cpu, usual_torch
from .image_settings import ImageSettings
from .inside import value_path
from .pictures import rgb_picture
from .texts import as_texts

FOREIGN = "its tokenizer is not whole, or another model's"


class UnknownToken(ValueError):
    """A text with a token that the model has no embedding of."""


def _listed(items) -> list:
    if isinstance(items, (str, os.PathLike, Image.Image)):
        raise TypeError("pass a list of pictures, not a single one")
    return list(items)


def _batches(items: list, size: int, progress: bool, what: str) -> Iterator:
    if size < 1:
        raise ValueError(f"batch_size must be at least 1, got {size}")
    with tqdm(total=len(items), desc=what, disable=not progress) as bar:
        for start in range(0, len(items), size):
            batch = items[start : start + size]
            yield batch
            bar.update(len(batch))


def unit(features: Tensor, name: str) -> Tensor:
    """Features [N, D] in float32, L2-normalised.

    Raises ValueError where one has no direction: NaN, infinity or nothing
    but zeros.  A caption chosen by such scores would look like any other.
    """
    embeds = F.normalize(features.float(), dim=-1)
    fine = (embeds.norm(dim=-1) - 1).abs() < 1e-3  # False for NaN
    if not fine.all():
        raise ValueError(
            f"{name} gives no usable embedding for {int((~fine).sum())} of "
            f"{len(fine)} inputs (NaN, infinity or zero): its training "
            "diverged, or its files are damaged"
        )
    return embeds


class Clip:
    """A CLIP or SigLIP of ``transformers``, with tokenizer and image settings.

    ``model`` and ``tokenizer`` are the library's own objects, there to be
    looked into.  ``name``, ``image_size`` (pixels) and ``embed_dim`` (D)
    describe them.  The model is put in eval mode.
    """

    def __init__(
        self,
        model: CLIPModel | SiglipModel,
        tokenizer,
        settings: ImageSettings,
        name="CLIP",
    ):
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.image_settings = settings
        self.name = name
        vision = model.config.vision_config
        self.image_size = vision.image_size
        self.embed_dim = getattr(model.config, "projection_dim", vision.hidden_size)

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

    @property
    def logit_bias(self) -> float | None:
        """What a SigLIP adds to scaled similarities; None for a CLIP.

        With a bias each pair has a probability of its own, the sigmoid of
        ``logit_scale * cosine + logit_bias``; without one the texts for a
        picture share one, by a softmax.
        """
        bias = getattr(self.model, "logit_bias", None)
        return None if bias is None else float(bias.detach())

    @property
    def device(self) -> torch.device:
        """Where the model computes; embeddings come back to the CPU."""
        return self.model.device

    def preprocess(self, images) -> Tensor:
        """PIL images or paths → pixel_values [N, 3, H, W].

        The steps are those of ``CLIPImageProcessor``, written here so that
        the numbers do not depend on whether torchvision is installed.
        """
        settings = self.image_settings
        arrays = [settings.pixel_values(rgb_picture(i)) for i in _listed(images)]
        none = np.zeros((0, 3, self.image_size, self.image_size), np.float32)
        return torch.from_numpy(np.stack(arrays) if arrays else none)

    def tokenize(self, texts) -> dict[str, Tensor]:
        """Texts → input_ids and attention_mask [M, L], over-long ones cut.

        A SigLIP was trained on texts filled up to its full length, without
        a mask.  Raises UnknownToken for a text with a token that the model
        does not know, and TypeError for what is no text.
        """
        texts = as_texts(texts)
        inputs = self.unchecked_tokens(texts)
        for text, ids in zip(texts, inputs["input_ids"].tolist(), strict=True):
            if fault := self.unknown_token(ids):
                refused = f"{self.name} cannot read the text {text!r:.40}"
                raise UnknownToken(f"{refused}: {fault}")
        return inputs

    def unchecked_tokens(self, texts: list[str]) -> dict[str, Tensor]:
        """The same [M, L], whether or not the model knows each token."""
        full = self.logit_bias is not None
        encoded = self.tokenizer(
            texts,
            padding="max_length" if full else True,
            truncation=True,
            max_length=self.model.config.text_config.max_position_embeddings,
            return_attention_mask=not full,
            return_tensors="np",
        )
        return {key: torch.from_numpy(ids).long() for key, ids in encoded.items()}

    def unknown_token(self, tokens: Iterable[int]) -> str:
        """What is wrong with a tokenizer that has these: "" if nothing is."""
        largest = max(tokens, default=0)
        known = self.model.config.text_config.vocab_size
        if largest < known:
            return ""
        has = f"it has a token {largest}, and the model knows {known} in all"
        return f"{FOREIGN}: {has}"

    def image_features(self, pixel_values: Tensor, normalize: bool = True) -> Tensor:
        """pixel_values [N, 3, H, W] → image features [N, D] in float32.

        Of length one unless ``normalize`` is off.  Gradients flow; the
        features stay on the model's device.
        """
        output = self.model.get_image_features(
            pixel_values=pixel_values.to(self.device)
        )
        return _features(output, normalize)

    def text_features(
        self, inputs: dict[str, Tensor], normalize: bool = True
    ) -> Tensor:
        """What ``tokenize`` gives → text features [M, D] in float32."""
        inputs = {key: value.to(self.device) for key, value in inputs.items()}
        return _features(self.model.get_text_features(**inputs), normalize)

    def _embed(self, compute: Callable[[], Tensor]) -> Tensor:
        """Features without gradients, checked, of length one, on the CPU."""
        device = self.device
        try:
            with usual_torch(device), torch.no_grad():
                features = compute().cpu()
        except RuntimeError as error:
            if device.type == "cpu":
                raise
            back_to_cpu(self.model, device, error)
            with usual_torch(), torch.no_grad():
                features = compute()
        return unit(features, self.name)

    def encode_pixels(self, pixel_values: Tensor) -> Tensor:
        """pixel_values [N, 3, H, W] → image_embeds [N, D], as encode_images."""
        return self._embed(lambda: self.image_features(pixel_values, False))

    @usual_torch()
    def encode_images(
        self, images, batch_size: int = 64, progress: bool = False
    ) -> Tensor:
        """PIL images or paths → image_embeds [N, D], L2-normalised, on CPU.

        Raises ValueError if the model gives NaN, infinity or zero.
        """
        images = _listed(images)
        embeds = [torch.zeros(0, self.embed_dim)]
        for batch in _batches(images, batch_size, progress, "pictures"):
            embeds.append(self.encode_pixels(self.preprocess(batch)))
        return torch.cat(embeds)

    @usual_torch()
    def encode_texts(
        self, texts, batch_size: int = 256, progress: bool = False
    ) -> Tensor:
        """Texts → text_embeds [M, D], L2-normalised, on CPU.

        A text with more tokens than the model has positions is cut short.
        Raises TypeError for what is no text, with its place, UnknownToken as
        ``tokenize`` does, and ValueError if the model gives NaN, infinity or
        zero.
        """
        texts = as_texts(texts)
        # Short texts run with short ones, so that little is padding.
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        embeds = torch.zeros(len(texts), self.embed_dim)
        for rows in _batches(order, batch_size, progress, "texts"):
            inputs = self.tokenize([texts[i] for i in rows])
            embeds[rows] = self._embed(lambda i=inputs: self.text_features(i, False))
        return embeds

    def patch_features(self, pixel_values: Tensor, path: str = "value") -> Tensor:
        """pixel_values [N, 3, H, W] → patches [N, h, w, D], L2-normalised.

        ``path="value"`` reads the last block as MaskCLIP does: attention is
        replaced by the identity, so that a patch keeps what it saw itself;
        residual and MLP stay (Zhou et al. 2022, arXiv 2112.01071).
        ``path="attention"`` takes the last block as it is.  Other picture
        sizes than the model's own get interpolated positions.  Gradients
        flow.  Raises ValueError for another path, and for a SigLIP.
        """
        if path not in ("value", "attention"):
            raise ValueError(f"path is 'value' or 'attention', not {path!r}")
        if self.logit_bias is not None:
            raise ValueError(f"{self.name} is a SigLIP: its patches speak no words")
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
