"""How fast the world draws and the package loads.

    python tests/benchmarks/bench_world.py

Speed of drawing is counted in CPU seconds of one thread, so that other work
on the machine matters little.  Beside each figure stands a ratio to a
peer measured in the same run: Pillow resizing a picture of 96 px to the 224 px
of OpenAI's CLIP.  Figures differ between machines, ratios hardly.  Loading is
wall-clock in fresh processes, the best of three.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median

from PIL import Image

from vlmtutor.world import DOMAINS, StickerWorld, seeds

SCENES = 300
ROUNDS = 7
FLOOR = 1000  # scenes a second on one core once glyphs are cached

IMPORTS = {
    "import vlmtutor": ("", "import vlmtutor"),
    "first scene": (
        "",
        "from vlmtutor.world import StickerWorld\nStickerWorld(96).scene(0).array",
    ),
    "load_clip(), torch is in": (
        "import torch",
        "import vlmtutor as vt\nvt.load_clip()",
    ),
    "load_clip(), transformers is in": (
        "import torch, transformers\nfrom transformers import CLIPModel",
        "import vlmtutor as vt\nvt.load_clip()",
    ),
}


def per_second(work: Callable[[], object], times: int) -> float:
    """Runs of ``work`` in a CPU second, each of which is ``times`` pieces."""
    started = time.process_time()
    work()
    return times / (time.process_time() - started)


def drawing() -> dict[str, tuple[float, float]]:
    """Scenes a second and the ratio to the peer, by kind of scene."""
    world = StickerWorld(96)
    picture = Image.fromarray(world.scene(0).array)
    known = seeds("train", SCENES)

    def resize() -> None:
        for _ in range(SCENES):
            picture.resize((224, 224), Image.Resampling.BICUBIC)

    def draw(which, **options) -> Callable[[], None]:
        def work() -> None:
            for seed in which:
                _ = world.scene(seed, **options).array

        return work

    def everything() -> None:
        for seed in known:
            scene = world.scene(seed)
            _ = scene.array, scene.caption, scene.owners
            _ = [(o.box, o.mask, o.span) for o in scene.objects]

    fresh = iter(range(SCENES, 10**9, SCENES))
    kinds: dict[str, Callable[[], Callable[[], None]]] = {
        "scenes, glyphs cached": lambda: draw(known),
        "with boxes, masks, caption": lambda: everything,
        "new scenes, after 9,000": lambda: draw(seeds("train", SCENES, next(fresh))),
        **{f"domain {d}": lambda d=d: draw(known, domain=d) for d in DOMAINS[1:]},
    }
    rates: dict[str, list[float]] = {kind: [] for kind in kinds}
    ratios: dict[str, list[float]] = {kind: [] for kind in kinds}
    draw(seeds("train", 9000))()  # as training does: the cache is full
    draw(known)()
    for _ in range(ROUNDS):  # peer and scenes in turn, under the same load
        for kind, make in kinds.items():
            peer = per_second(resize, SCENES)
            if "new" not in kind:
                draw(known)()  # what other rounds have pushed out
            rate = per_second(make(), SCENES)
            rates[kind].append(rate)
            ratios[kind].append(rate / peer)
    return {k: (median(rates[k]), median(ratios[k])) for k in kinds}


def loading(runs: int = 3) -> dict[str, float]:
    """Seconds in fresh processes, the best of ``runs``."""
    found = {}
    for what, (before, code) in IMPORTS.items():
        script = (
            f"import time\n{before}\nstart = time.perf_counter()\n{code}\n"
            "print(time.perf_counter() - start)"
        )
        times = []
        for _ in range(runs):
            done = subprocess.run(
                [sys.executable, "-c", script],
                capture_output=True,
                text=True,
                check=True,
            )
            times.append(float(done.stdout.split()[-1]))
        found[what] = min(times)
    return found


def main() -> int:
    speeds = drawing()
    print(f"{'':28} scenes/s  of the peer's speed")
    for kind, (rate, ratio) in speeds.items():
        print(f"{kind:28} {rate:8.0f}  {ratio:.2f}")
    print()
    for what, seconds in loading().items():
        print(f"{what:32} {seconds:.2f} s")
    rate, _ = speeds["scenes, glyphs cached"]
    if rate < FLOOR:
        print(f"[FAIL] {rate:.0f} scenes a second, {FLOOR} are promised")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
