"""Named backgrounds, drawn by numpy in a few variants each and cached."""

from __future__ import annotations

import functools

import numpy as np

VARIANTS = 8  # different drawings of each background

# Named colours, also those of the discs (a palette that colour-blind people
# can tell apart by lightness too).
COLORS = {
    "red": (214, 48, 49),
    "orange": (243, 146, 55),
    "yellow": (250, 219, 94),
    "green": (58, 158, 92),
    "blue": (52, 120, 214),
    "purple": (134, 76, 180),
    "pink": (246, 160, 196),
    "white": (250, 250, 250),
    "black": (34, 34, 38),
    "brown": (134, 92, 60),
}


def _gradient(size, top, bottom, rng):
    """Two colours blended along a random direction: [size, size, 3]."""
    angle = rng.uniform(-0.6, 0.6)
    t = np.linspace(0, 1, size, dtype=np.float32)
    ramp = t[:, None] * np.cos(angle) + t[None, :] * np.sin(angle)
    ramp = (ramp - ramp.min()) / (ramp.max() - ramp.min())
    top, bottom = np.float32(top), np.float32(bottom)
    return top + ramp[..., None] * (bottom - top)


def _speckle(image, rng, share, color):
    """Sprinkle single cells of a colour over the picture."""
    size = len(image)
    cell = max(1, size // 48)
    grid = rng.random((-(-size // cell), -(-size // cell))) < share
    spots = np.kron(grid, np.ones((cell, cell), bool))[:size, :size]
    image[spots] = color
    return image


def _grass(size, rng):
    image = _gradient(size, (132, 196, 92), (86, 158, 62), rng)
    return _speckle(image, rng, 0.06, (66, 132, 52))


def _sky(size, rng):
    image = _gradient(size, (120, 184, 240), (206, 232, 250), rng)
    y, x = np.mgrid[:size, :size] / size
    for _ in range(3):
        cx, cy, r = rng.random(), rng.random() * 0.7, rng.uniform(0.06, 0.14)
        puff = ((x - cx) / (2 * r)) ** 2 + ((y - cy) / r) ** 2 < 1
        image[puff] = (246, 250, 253)
    return image


def _sea(size, rng):
    image = _gradient(size, (60, 140, 190), (24, 84, 148), rng)
    y, x = np.mgrid[:size, :size] / size
    waves = np.sin(40 * y + 1.5 * np.sin(9 * x + rng.uniform(0, 6)))
    image[waves > 0.92] = (130, 194, 222)
    return image


def _sand(size, rng):
    image = _gradient(size, (240, 222, 170), (222, 194, 132), rng)
    return _speckle(image, rng, 0.05, (200, 168, 108))


def _snow(size, rng):
    image = _gradient(size, (214, 226, 238), (242, 246, 250), rng)
    return _speckle(image, rng, 0.04, (255, 255, 255))


def _night(size, rng):
    image = _gradient(size, (16, 20, 58), (44, 44, 96), rng)
    return _speckle(image, rng, 0.02, (240, 236, 190))


def _room(size, rng):
    walls = ((226, 212, 190), (202, 214, 206), (222, 200, 204))
    image = _gradient(size, walls[rng.integers(3)], (198, 184, 168), rng)
    floor = int(size * rng.uniform(0.62, 0.75))
    image[floor:] = (156, 110, 74)
    image[floor:][:: max(2, size // 12)] = (134, 92, 60)
    image[floor : floor + max(1, size // 48)] = (248, 244, 236)
    return image


def _paper(size, rng):
    image = np.full((size, size, 3), (246, 243, 234), np.float32)
    image[:: max(3, size // 12)] = (196, 212, 230)
    return np.roll(image, int(rng.integers(size)), axis=0)


def _plain(color):
    def draw(size, rng):
        base = np.float32(COLORS[color])
        light = base + (255 - base) * rng.uniform(0.35, 0.5)
        lighter = base + (255 - base) * rng.uniform(0.55, 0.75)
        return _gradient(size, light, lighter, rng)

    return draw


def _pattern(kind):
    def draw(size, rng):
        names = list(COLORS)
        first, second = rng.choice(len(names), 2, replace=False)
        pale = [
            np.float32(COLORS[names[i]]) * 0.35 + 255 * 0.65 for i in (first, second)
        ]
        cell = max(2, int(size * rng.uniform(0.08, 0.16)))
        y, x = np.mgrid[:size, :size]
        if kind == "stripes":
            on = ((x + y) // cell) % 2 == 0
        elif kind == "checks":
            on = (x // cell + y // cell) % 2 == 0
        else:
            on = np.hypot(x % cell - cell / 2, y % cell - cell / 2) < cell / 4
        return np.where(on[..., None], pale[0], pale[1])

    return draw


_DRAW = {
    "grass": _grass, "sky": _sky, "sea": _sea, "sand": _sand, "snow": _snow,
    "night": _night, "room": _room, "paper": _paper,
    **{color: _plain(color) for color in ("red", "orange", "yellow",
       "green", "blue", "purple", "pink")},
    "stripes": _pattern("stripes"), "checks": _pattern("checks"),
    "dots": _pattern("dots"),
}  # fmt: skip

# How a caption says where a scene takes place.
PHRASES = {
    "grass": "on the grass", "sky": "in the sky", "sea": "at sea",
    "sand": "on the sand", "snow": "in the snow", "night": "at night",
    "room": "in a room", "paper": "on lined paper",
    **{color: f"on a {color} background" for color in ("red", "yellow",
       "green", "blue", "purple", "pink")},
    "orange": "on an orange background", "stripes": "on stripes",
    "checks": "on checks", "dots": "on dots",
}  # fmt: skip

NAMES = tuple(_DRAW)


@functools.lru_cache(maxsize=1024)
def background(name: str, size: int, variant: int = 0) -> np.ndarray:
    """A square background [size, size, 3] uint8 (read-only, cached)."""
    rng = np.random.default_rng([NAMES.index(name), variant % VARIANTS])
    image = _DRAW[name](size, rng)
    pixels = np.clip(image, 0, 255).round().astype(np.uint8)
    pixels.setflags(write=False)
    return pixels
