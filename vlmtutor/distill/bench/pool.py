"""The pool's scenes: anything in the world, most of it alone in its picture."""

from __future__ import annotations

import random
from collections.abc import Sequence

from ...world import Scene, StickerWorld, load_categories

EACH = 0.03  # share of pictures that show a novel name, of each of them
PAIRED = 0.15  # share of pictures that show a second, unrelated thing


def pool_scenes(
    novel: Sequence[str],
    hidden: Sequence[str],
    seeds: Sequence[int],
    size: int,
    noise: float,
) -> list[Scene]:
    """A scene for each of the ``seeds``, on ``size`` px.

    Each of the ``novel`` names is shown by 3 % of them (by one at least), the
    rest shows any other name but the ``hidden`` ones.  A share ``noise`` of
    the pictures is of the "noisy" domain.
    """
    others = [c.name for c in load_categories() if c.name not in {*novel, *hidden}]
    rng, n = random.Random(~seeds[0]), len(seeds)  # no scene's own draws
    names = [name for name in novel for _ in range(max(1, round(EACH * n)))][:n]
    names += rng.choices(others, k=n - len(names))
    rng.shuffle(names)
    shown = [[name] for name in names]
    for own in rng.sample(shown, round(PAIRED * n)):
        own.append(rng.choice([other for other in others if other not in own]))
    noisy = {*rng.sample(range(n), round(noise * n))}
    world, options = StickerWorld(size), {"discs": 0.0, "repeats": 0.0}
    domains = ["noisy" if k in noisy else "sticker" for k in range(n)]
    return [
        world.scene(seed, len(own), domain, own, **options)
        for seed, own, domain in zip(seeds, shown, domains, strict=True)
    ]
