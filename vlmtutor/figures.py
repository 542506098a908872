"""Figures that carry their description.

It is stored as the output's alt text, but JupyterLab and nbconvert drop that,
so it is printed as well: for screen readers, and for tests, which do not look
at pixels.
"""

from __future__ import annotations

import io
import math
import os
import textwrap
import warnings

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from . import fonts
from .console import printable, say
from .models.pictures import as_seen, rgb_picture
from .models.texts import as_texts

# Eight colours that people with colour blindness can tell apart: Okabe and
# Ito 2002, https://jfly.uni-koeln.de/color/.  Pair them with MARKERS,
# DASHES or HATCHES: colour alone must never carry a meaning.
PALETTE = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "red": "#D55E00",
    "purple": "#CC79A7",
    "sky": "#56B4E9",
    "black": "#000000",
    "yellow": "#F0E442",
}
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES = (
    "-",
    "--",
    "-.",
    ":",
    (0, (5, 1)),
    (0, (3, 1, 1, 1)),
    (0, (1, 1)),
    (0, (5, 5)),
)
HATCHES = ("", "//", "..", "xx", "\\\\", "++", "oo", "--")
SEQUENTIAL = "cividis"  # a colour map that grows lighter evenly

GAP = 8  # pixels between the pictures of a grid
TEXT = 13  # height of captions in pixels


def style() -> None:
    """Set matplotlib's defaults: the palette, markers, dashes, sizes."""
    import matplotlib as mpl
    from cycler import cycler

    mpl.rcParams.update(
        {
            "figure.figsize": (6, 3.5),
            "figure.dpi": 80,
            "font.size": 11,
            "axes.prop_cycle": cycler(color=list(PALETTE.values()))
            + cycler(marker=MARKERS)
            + cycler(linestyle=DASHES),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.alpha": 0.3,
            "image.cmap": SEQUENTIAL,
            "lines.markersize": 5,
            "legend.frameon": False,
        }
    )


def show(
    what,
    description: str,
    captions: list[str] | None = None,
    columns: int | None = None,
    size: int = 160,
) -> None:
    """Show a figure, a picture or a grid of pictures, and say what it shows.

    ``what``: a matplotlib figure (closed afterwards) or axes; a PIL image, a
    path, a scene; an array or tensor [H, W], [H, W, 1, 3 or 4] or
    [1, 3 or 4, H, W], alone or as a batch of one, uint8 or floats from 0 to
    1; or a list of pictures, laid out in ``columns`` with ``captions`` below,
    each fitted into ``size`` pixels. ``description``: one sentence, printed
    and stored as alt text.
    Raises ValueError for an empty description or list, for floats above 1
    and for a file that cannot be read, and TypeError for what is no picture.
    """
    from IPython.display import Image as Shown
    from IPython.display import display

    (description,) = as_texts([description], "description")
    # names of files in it may hold control codes; joiners belong to letters
    description = printable(" ".join(description.split()), keep="\u200c\u200d")
    captions = as_texts(captions or [], "caption")
    if not description:
        raise ValueError("a picture needs a description: say what to see")
    alt = description
    if captions:
        alt += " " + "; ".join(" ".join(c.split()) for c in captions)
    display(Shown(data=_png(what, captions, columns, size), alt=alt))
    say(description)


def grid(
    pictures: list,
    captions: list[str] | None = None,
    columns: int | None = None,
    size: int = 160,
) -> Image.Image:
    """The pictures side by side as one PIL image (RGB), captions below.

    Small pictures are enlarged by whole numbers, so that pixels stay square;
    large ones are made to fit into ``size`` × ``size``.
    """
    images = [_fit(as_image(p), size) for p in pictures]
    if not images:
        raise ValueError("no pictures to show")
    captions = as_texts(captions or [], "caption")
    if captions and len(captions) != len(images):
        raise ValueError(f"{len(images)} pictures, {len(captions)} captions")
    wide = max(max(i.width for i in images), 120 if captions else 1)
    high = max(i.height for i in images)
    looks = [caption_font(caption) for caption in captions]
    texts = [wrap(c, f, wide) for c, f in zip(captions, looks, strict=True)] or [""]
    line = TEXT + 4
    below = line * max(t.count("\n") + 1 for t in texts) if captions else 0
    columns = min(columns or max(1, 800 // (wide + GAP)), len(images))
    rows = math.ceil(len(images) / columns)
    cell_w, cell_h = wide + GAP, high + below + GAP
    sheet = Image.new("RGB", (columns * cell_w, rows * cell_h), "white")
    draw = ImageDraw.Draw(sheet)
    for k, image in enumerate(images):
        left = k % columns * cell_w + GAP // 2
        top = k // columns * cell_h + GAP // 2
        at = (left + (wide - image.width) // 2, top + high - image.height)
        sheet.paste(image, at)
        if captions:
            for n, text in enumerate(texts[k].split("\n")):
                middle = (left + wide / 2, top + high + line * n + 2)
                draw.text(middle, text, "black", looks[k], anchor="ma")
    return sheet


def frame(ax, picture, boxes, words, dotted=(), title: str = "") -> None:
    """Draw a picture with boxes [n, 4], (x0, y0, x1, y1) in pixels, into axes.

    Each box has a colour and a stroke of its own; its word stands below the
    picture, not across it.  Boxes of ``dotted`` are black and have none.
    """
    import matplotlib.patheffects as effects
    from matplotlib.patches import Rectangle

    hues = [hue for name, hue in PALETTE.items() if name not in ("black", "yellow")]
    looks = [{"ec": "black", "ls": ":"}] * len(dotted)
    looks += [
        {"ec": hues[k % len(hues)], "ls": DASHES[k % 3], "label": word}
        for k, word in enumerate(words)
    ]
    ax.imshow(as_image(picture))
    for box, look in zip([*dotted, *boxes], looks, strict=True):
        x0, y0, x1, y1 = (float(side) - 0.5 for side in box)
        halo = [effects.withStroke(linewidth=4, foreground="white")]
        shape = Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, lw=2, **look)
        shape.set_path_effects(halo)
        ax.add_patch(shape)
    ax.set(xticks=[], yticks=[], title=title)
    ax.grid(False)
    if len(words):
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, 0), fontsize=10)


def as_image(what) -> Image.Image:
    """A PIL image (RGB) of a picture in any of the forms of :func:`show`.

    A file and a PIL image look as they do to a model: ``rgb_picture`` reads
    both.
    """
    if isinstance(what, (str, os.PathLike)):
        return rgb_picture(what)
    what = getattr(what, "image", what)  # a scene
    if isinstance(what, Image.Image):
        return as_seen(what)
    if hasattr(what, "detach"):
        what = what.detach().cpu()
        what = (what.float() if what.is_floating_point() else what).numpy()
    if not isinstance(what, np.ndarray):
        raise TypeError(f"a {type(what).__name__} is no picture")
    pixels, channels = _pixels(what), (1, 3, 4)
    while pixels.ndim > 2 and pixels.shape[0] == 1:
        if pixels.ndim == 3 and pixels.shape[2] in channels:  # [1, W, 3]
            break
        pixels = pixels[0]  # a batch, or a channel, of one
    if pixels.ndim == 3 and pixels.shape[2] not in channels:
        pixels = pixels.transpose(1, 2, 0)  # [3, H, W] → [H, W, 3]
    if pixels.ndim not in (2, 3) or (pixels.shape[2:] or (1,))[0] not in channels:
        raise TypeError(f"an array of shape {what.shape} is no picture")
    if pixels.shape[2:] == (1,):
        pixels = pixels[..., 0]
    return as_seen(Image.fromarray(np.ascontiguousarray(pixels)))


def _pixels(what: np.ndarray) -> np.ndarray:
    """The same array as uint8."""
    if what.dtype == np.uint8:
        return what
    if what.dtype != bool and not np.issubdtype(what.dtype, np.floating):
        raise TypeError(
            f"pixels are uint8 or floats from 0 to 1, not {what.dtype}: values "
            "from 0 to 255 can go through np.uint8(...)"
        )
    most = np.nan_to_num(what).max(initial=0)
    if most > 1 + 1e-3:
        raise ValueError(
            f"floats are brightness from 0 (black) to 1 (white), but one is {most:.4g}:"
            " divide by 255, undo a normalisation, or clip"
        )
    return (np.nan_to_num(what.clip(0, 1)) * 255).round().astype(np.uint8)


def _png(what, captions, columns, size) -> bytes:
    file = io.BytesIO()
    what = getattr(what, "figure", what)  # axes know their figure
    if hasattr(what, "savefig"):
        import matplotlib.pyplot as plt

        # no version in the file: the same figure is the same bytes
        what.savefig(
            file, format="png", bbox_inches="tight", metadata={"Software": None}
        )
        plt.close(what)
        return file.getvalue()
    if isinstance(what, (list, tuple)):
        image = grid(what, captions, columns, size)
    elif captions:
        image = grid([what], captions, 1, size)
    else:
        image = as_image(what)
    image.save(file, "PNG", optimize=True)
    return file.getvalue()


def _fit(image: Image.Image, size: int) -> Image.Image:
    longest = max(image.size)
    if longest > size:
        image.thumbnail((size, size), Image.Resampling.LANCZOS)
        return image
    times = size // longest
    wide, high = image.size
    nearest = Image.Resampling.NEAREST
    return image.resize((wide * times, high * times), nearest)


def caption_font(text: str = "") -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which has letters of many scripts, or a system font.

    The one that has most of the text; warns of letters that it lacks.
    """
    letters = [c for c in dict.fromkeys(text) if c.isprintable()]
    paths = [fonts.dejavu()]
    lacking = [c for c in letters if not fonts.has(paths[0], c)]
    paths += filter(None, map(fonts.system_font, lacking))
    best = max(paths, key=lambda path: sum(fonts.has(path, c) for c in letters))
    missing = " ".join(c for c in letters if not fonts.has(best, c))
    if missing:
        warnings.warn(f"no font here has the letters {missing}", stacklevel=4)
    return ImageFont.truetype(best, TEXT)


def wrap(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """Lines that fit into ``width`` pixels; a word too long is broken."""
    lines = []
    for paragraph in text.split("\n"):
        letters = max(1, len(paragraph))
        while True:
            wrapped = textwrap.wrap(paragraph, letters) or [""]
            if letters == 1 or max(map(font.getlength, wrapped)) <= width:
                break
            letters = min(letters, max(map(len, wrapped))) - 1
        lines += wrapped
    return "\n".join(lines)
