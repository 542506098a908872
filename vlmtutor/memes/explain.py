"""Why this caption? A heat map over the patches of a picture.

Attention relevance: Chefer, Gur and Wolf 2021, "Generic Attention-model
Explainability for Interpreting Bi-Modal and Encoder-Decoder Transformers",
arXiv 2103.15679.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..models.device import usual_torch
from ..models.inside import first_state, relevance
from ..models.pictures import as_seen
from ..models.texts import as_texts

# From dark to bright, so that the map reads without colour too.
_RAMP = np.array(
    [(8, 6, 30), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)],
    np.float32,
)


@usual_torch()  # gradients must flow, whatever the caller has set
def explain(clip, image: Image.Image, text: str) -> Tensor:
    """Where in ``image`` the cosine with ``text`` comes from: [h, w].

    One number a patch: 1 for the patch that matters most, 0 for the one
    that matters least. The patches cover what the model sees of the
    picture, :func:`seen_box`. Raises ValueError for a text without letters,
    and for a SigLIP, which has no class token to look from.

    Attention tells who looks at whom; its gradient tells whether a look
    raises the cosine. Their product, followed through all layers from the
    patches to the class token, gives the relevance of each patch. All
    layers matter: by the last one the patches have exchanged what they saw,
    and a patch may speak for a thing that is somewhere else.
    """
    [text] = as_texts([text])
    if not text.strip():
        raise ValueError("no words to explain: write at least one")
    if getattr(clip, "logit_bias", None) is not None:
        raise ValueError(f"{clip.name} is a SigLIP: only a CLIP can be asked why")
    target = clip.encode_texts([text])[0]  # [D]
    pixel_values = clip.preprocess([image]).to(clip.model.device)
    with torch.no_grad():
        hidden = first_state(clip.model, pixel_values)
    # every block counts, so all begins with what the first one reads
    patches = relevance(clip, hidden, lambda e: e @ target.to(e)).float().cpu()[0]
    low, high = patches.min(), patches.max()
    heat = (patches - low) / (high - low).clamp_min(1e-12)
    config = clip.model.config.vision_config
    side = config.image_size // config.patch_size
    return heat.unflatten(0, (side, side))  # [h, w]


def brightest(heat: Tensor) -> str:
    """In words where a heat map [h, w] is brightest: "at the top left"."""
    row, column = divmod(int(heat.argmax()), heat.shape[1])
    down = ("top", "middle", "bottom")[3 * row // heat.shape[0]]
    across = ("left", "centre", "right")[3 * column // heat.shape[1]]
    if (down, across) == ("middle", "centre"):
        return "in the centre"
    return f"at the {down} {across}"


def seen_box(clip, image: Image.Image) -> tuple[int, int, int, int]:
    """The part of a picture that the model sees: (x0, y0, x1, y1), pixels.

    CLIP scales the shorter side to its own size and cuts the ends of the
    longer one off; a model that squeezes the whole picture sees all of it.
    """
    width, height = image.size
    settings = getattr(clip, "image_settings", None)
    if settings is not None and settings.crop is None:
        return 0, 0, width, height
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def overlay(
    image: Image.Image,
    heat: Tensor | np.ndarray,
    box: tuple[int, int, int, int] | None = None,
) -> Image.Image:
    """The picture in grey with the heat [h, w] over it, bright where high.

    ``box`` is the part that the heat covers (x0, y0, x1, y1); by default
    the square in the middle. What lies outside is darkened: the model did
    not see it. A new RGB picture of the same size.
    """
    picture = as_seen(image)
    box = seen_box(None, picture) if box is None else box
    values = np.asarray(heat, np.float32)
    if values.ndim != 2:
        raise ValueError(f"heat is [h, w], got {list(values.shape)}")
    size = (box[2] - box[0], box[3] - box[1])
    smooth = Image.fromarray(values).resize(size, Image.Resampling.BICUBIC)
    level = np.clip(np.asarray(smooth), 0, 1)  # [H, W]
    places = np.linspace(0, 1, len(_RAMP))
    color = np.stack(
        [np.interp(level, places, channel) for channel in _RAMP.T], axis=-1
    )  # [H, W, 3]
    gray = picture.convert("L").convert("RGB")
    under = np.asarray(gray.crop(box), np.float32)
    mixed = 0.45 * under + 0.55 * color
    out = gray.point(lambda value: value // 4)
    out.paste(Image.fromarray(mixed.round().astype(np.uint8)), box[:2])
    return out
