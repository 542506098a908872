"""Label maps to look at: regions drawn into their picture, with their names.

The truth stands above the answers, so that what is missed, misplaced or called
by another name is seen at once.  Names, not colours, say what a region is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont
from scipy import ndimage

from . import fonts
from .figures import PALETTE, show
from .metrics import confusion, iou_per_class

LEAST = 90  # pixels of a region that gets its name written
MOST = 7  # names in a picture, those of its largest regions
PALE = 0.75  # how much white is mixed into what has no name
LETTERS = 11  # height of names in pixels
IGNORE = 255
COLORS = [np.array(ImageColor.getrgb(c)) for c in list(PALETTE.values())[:6]]


def named_regions(image, labels, names: Sequence[str], size: int = 190) -> Image.Image:
    """A picture with the regions of a label map in it: outlined, tinted, named.

    ``image`` [S, S, 3] uint8, ``labels`` [S, S]: places in ``names``; what is
    beyond them is background, and pale.  A name stands in each region of 90
    pixels or more, seven at most.
    """
    pixels, labels = np.asarray(image, float), np.asarray(labels).astype(int)
    thing = labels < len(names)
    shown = np.where(thing[..., None], pixels, (1 - PALE) * pixels + PALE * 255)
    for c in np.unique(labels[thing]):
        tint = COLORS[c % len(COLORS)]
        shown[labels == c] = 0.7 * shown[labels == c] + 0.3 * tint
    times = max(1, round(size / len(labels)))
    shown, large = (np.kron(x, _block(x, times)) for x in (shown, labels))
    edge = np.zeros(large.shape, bool)
    edge[1:] |= large[1:] != large[:-1]
    edge[:, 1:] |= large[:, 1:] != large[:, :-1]
    shown[edge] = 0
    picture = Image.fromarray(shown.round().astype(np.uint8))
    _write_names(picture, _regions(labels, len(names)), names, times)
    return picture


def _block(x: np.ndarray, times: int) -> np.ndarray:
    return np.ones((times, times, *([1] * (x.ndim - 2))), x.dtype)


def _regions(labels: np.ndarray, classes: int) -> list[tuple[int, int, int, int]]:
    """(pixels, name, y, x) of connected regions, the largest first.

    The place is the one farthest from the region's edge.
    """
    found = []
    for c in np.unique(labels[labels < classes]):
        islands, n = ndimage.label(labels == c)
        for k in range(1, n + 1):
            own = np.pad(islands == k, 1)
            if own.sum() >= LEAST:
                depth = ndimage.distance_transform_edt(own)
                y, x = np.unravel_index(depth.argmax(), depth.shape)
                found.append((int(own.sum()), int(c), int(y) - 1, int(x) - 1))
    return sorted(found, reverse=True)[:MOST]


def _write_names(picture: Image.Image, regions, names, times: int) -> None:
    """Each name on a white ground, inside the picture, none upon another."""
    draw, taken = ImageDraw.Draw(picture), []
    font = ImageFont.truetype(fonts.dejavu(), LETTERS)
    for _, c, y, x in regions:
        wide, high = font.getlength(names[c]) + 4, LETTERS + 4
        left = min(max((x + 0.5) * times - wide / 2, 0), picture.width - wide)
        start = min(max((y + 0.5) * times - high / 2, 0), picture.height - high)
        tries = [start + k * s * high for k in range(4) for s in (1, -1)]
        tries = [t for t in tries if 0 <= t <= picture.height - high]
        for top in tries:
            box = left, top, left + wide, top + high
            if not any(_meet(box, other) for other in taken):
                draw.rectangle(box, fill="white", outline="black")
                middle = left + wide / 2, top + high / 2
                draw.text(middle, names[c], "black", font, anchor="mm")
                taken.append(box)
                break


def _meet(a: tuple, b: tuple) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def picture_iou(labels, truth, classes: int) -> float:
    """Mean IoU of the names that one picture truly holds: from 0 to 1.

    ``labels`` and ``truth`` [S, S]; ``classes`` names, the background after
    them; 255 in the truth does not count.
    """
    counts = confusion(labels, truth, classes + 1, IGNORE)
    return float(np.nanmean(iou_per_class(counts)[:-1]))


def show_regions(
    images,
    truth,
    answers: Mapping[str, object],
    names: Sequence[str],
    description: str,
    size: int = 190,
) -> None:
    """The true regions of some pictures, and below them each method's.

    ``images`` [N, S, S, 3] uint8, ``truth`` and every one of the ``answers``
    (title → map) [N, S, S]; the captions have each picture's mean IoU, in
    points.  Raises ValueError where an answer is of other pictures.
    """
    rows, captions = [], []
    for title, maps in {"truth": truth, **answers}.items():
        if len(maps) != len(images):
            raise ValueError(f"{title}: {len(maps)} maps of {len(images)} pictures")
        for image, labels, true in zip(images, maps, truth, strict=True):
            rows.append(named_regions(image, labels, names, size))
            if title == "truth":
                captions.append(title)
            else:
                value = 100 * picture_iou(labels, true, len(names))
                captions.append(f"{title}: IoU {value:.0f}")
    show(rows, description, captions, columns=len(images), size=size)
