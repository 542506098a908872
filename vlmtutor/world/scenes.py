"""Sticker World: seeds in, scenes out."""

from __future__ import annotations

import functools
import operator
import random
from collections.abc import Iterable

import numpy as np
from PIL import Image

from . import backgrounds, captions, glyphs
from .categories import Category, find_category, load_categories
from .domains import apply_domain, check_domain
from .layout import Layout, Placement, random_layout


class SceneObject:
    """One sticker of a scene.

    ``name``, ``category``; ``box`` (x0, y0, x1, y1) in pixels, the extent of
    the whole sticker, covered parts too; ``mask`` [H, W] bool, its visible
    pixels; ``span`` (start, end) of its phrase in the caption; the
    attributes ``color`` (of its disc, or None), ``size`` ("small", "big" or
    None), ``position`` and ``mirrored``.
    """

    def __init__(self, scene: Scene, k: int):
        self._scene, self._k = scene, k
        placement = scene.layout.placements[k]
        self.category: Category = load_categories()[placement.category]
        self.name = self.category.name
        self.color = placement.color
        self.size = placement.size_word
        self.position = placement.position
        self.mirrored = placement.mirrored

    @functools.cached_property
    def box(self) -> tuple[int, int, int, int]:
        placement = self._scene.layout.placements[self._k]
        left, top, art = _sticker_at(placement, self._scene.size)
        return left, top, left + art.shape[1], top + art.shape[0]

    @property
    def mask(self) -> np.ndarray:
        return self._scene.owners == self._k

    @property
    def span(self) -> tuple[int, int] | None:
        return self._scene.description.spans[self._k]

    def __repr__(self) -> str:
        return f"SceneObject({self.name!r}, box={self.box})"


def _sticker_at(p: Placement, size: int) -> tuple[int, int, np.ndarray]:
    """Left, top and pixels [h, w, 4] of a sticker on a canvas of ``size``.

    On a disc the sticker is drawn at 0.72 of the disc, so that it fits.
    """
    longest = p.size * size * (0.72 if p.color else 1)
    char = load_categories()[p.category].char
    art = glyphs.sticker_array(char, max(4, round(longest)))
    if p.mirrored:
        art = art[:, ::-1]
    if p.tilt:
        art = glyphs.tilted(art, p.tilt)
    height, width = art.shape[:2]
    left = round(p.x * size - width / 2)
    top = round(p.y * size - height / 2)
    left = min(max(left, 0), max(0, size - width))
    top = min(max(top, 0), max(0, size - height))
    return left, top, art[: size - top, : size - left]


def _disc_at(p: Placement, size: int) -> tuple[int, int, np.ndarray]:
    """Left, top and alpha [d, d] of the disc behind a sticker."""
    alpha = glyphs.disc_alpha(max(4, round(p.size * size)))
    room = size - len(alpha)
    left = min(max(round(p.x * size - len(alpha) / 2), 0), room)
    top = min(max(round(p.y * size - len(alpha) / 2), 0), room)
    return left, top, alpha


def _blend(canvas, left, top, color, alpha) -> None:
    """Lay a colour or picture over the canvas, in place."""
    height, width = alpha.shape
    under = canvas[top : top + height, left : left + width]
    weight = alpha[..., None].astype(np.uint16)
    mixed = under * (255 - weight) + color * weight
    under[...] = ((mixed + 127) // 255).astype(np.uint8)


def _draw(layout: Layout, size: int) -> np.ndarray:
    pixels = backgrounds.background(layout.background, size, layout.variant).copy()
    for p in layout.placements:
        if p.color:
            left, top, alpha = _disc_at(p, size)
            color = np.uint16(backgrounds.COLORS[p.color])
            _blend(pixels, left, top, color, alpha)
        left, top, art = _sticker_at(p, size)
        _blend(pixels, left, top, art[..., :3].astype(np.uint16), art[..., 3])
    return pixels


class Scene:
    """A picture that knows what is in it.

    ``array`` [H, W, 3] uint8, ``image`` (PIL, RGB), ``caption`` (str),
    ``objects`` (list of SceneObject), ``layout``; all made when first asked
    for.
    """

    def __init__(self, layout: Layout, size: int, domain: str, seed: int):
        self.layout, self.size = layout, size
        self.domain, self.seed = domain, seed

    @functools.cached_property
    def array(self) -> np.ndarray:
        return apply_domain(_draw(self.layout, self.size), self.domain, self.seed)

    @property
    def image(self) -> Image.Image:
        return Image.fromarray(self.array)

    @functools.cached_property
    def description(self) -> captions.Caption:
        return captions.complete_caption(self.layout)

    @property
    def caption(self) -> str:
        return self.description.text

    @functools.cached_property
    def objects(self) -> list[SceneObject]:
        return [SceneObject(self, k) for k in range(len(self.layout.placements))]

    @functools.cached_property
    def owners(self) -> np.ndarray:
        """Which sticker each pixel shows: [H, W] int8, -1 for background."""
        owners = np.full((self.size, self.size), -1, np.int8)
        for k, p in enumerate(self.layout.placements):
            if p.color:
                # a disc hides what was below it
                left, top, disc = _disc_at(p, self.size)
                side = len(disc)
                view = owners[top : top + side, left : left + side]
                view[disc > 127] = -1
            left, top, art = _sticker_at(p, self.size)
            height, width = art.shape[:2]
            view = owners[top : top + height, left : left + width]
            # half opaque or more; the thinnest stickers of a tiny canvas
            # have no such pixel, and show where they are strongest
            alpha = art[..., 3]
            view[alpha >= min(128, alpha.max())] = k
        return owners

    def __repr__(self) -> str:
        return f"Scene(seed={self.seed}, {self.caption!r})"


class StickerWorld:
    """The world: 416 categories, and a scene for every seed.

    ``size`` is the side of the square canvas in pixels.
    """

    def __init__(self, size: int = 96):
        if size < 16:
            raise ValueError(f"the canvas is at least 16 px, got {size}")
        self.size = size

    @property
    def categories(self) -> list[Category]:
        return list(load_categories())

    def scene(
        self,
        seed: int,
        n: int | None = None,
        domain: str = "sticker",
        categories: Iterable[str] | None = None,
        **options,
    ) -> Scene:
        """The scene of a seed: the same pixels every time.

        ``n`` stickers (1 to 4, drawn from the seed when None), chosen from
        ``categories`` (names; all by default).  ``options`` go to
        :func:`vlmtutor.world.layout.random_layout`.  Raises ValueError for an
        unknown domain or number, KeyError for an unknown category, TypeError
        for a seed that is no whole number.
        """
        seed = operator.index(seed)  # "7" would be another scene than 7
        check_domain(domain)
        if isinstance(categories, str):
            raise ValueError(f"categories is a list: [{categories!r}]")
        if categories is None:
            pool = list(range(len(load_categories())))
        else:
            pool = [find_category(name).index for name in categories]
        layout = random_layout(random.Random(seed), pool, n, **options)
        return Scene(layout, self.size, domain, seed)

    def sticker(self, name_or_char: str, size: int | None = None) -> Image.Image:
        """One sticker alone (RGBA), its longer side ``size`` pixels."""
        category = find_category(name_or_char)
        return glyphs.sticker(category.char, size or self.size)
