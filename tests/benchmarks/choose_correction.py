"""Which correction for hubs is the default, chosen on posters drawn for it.

    python tests/benchmarks/choose_correction.py

Each seed of the split "val" draws 28 posters as in ``images/``: one large
sticker, a small one beside it. The captions are meme lines that no training
saw: two for each large sticker and two for each of 21 that are on no poster.
Counted is how many of the 28 get a line of their large sticker. The result is
stored in ``notebooks/results/20_meme_studio.json``; ``images/`` is not used
to choose, and comes last, as the test of what was chosen.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from statistics import mean

import vlmtutor as vt
from vlmtutor import stored
from vlmtutor.memes import hubs, match_embeddings
from vlmtutor.world import backgrounds, load_categories, posters, seeds

IMAGES = Path(__file__).parents[2] / "images"
POSTERS, STRANGERS = 28, 21
SETTINGS = [
    (None, 10, 1.0),
    *(("csls", k, 1.0) for k in (1, 2, 5, 10)),
    *(("dual_softmax", 10, factor) for factor in (0.5, 1.0, 2.0)),
]  # correction, neighbours, times the model's temperature


def draw_folder(seed: int):
    """Posters, captions, and for each poster the captions that are its own."""
    rng = random.Random(seed)
    things = rng.sample(load_categories(), 2 * POSTERS + STRANGERS)
    large, small = things[:POSTERS], things[POSTERS : 2 * POSTERS]
    pictures = []
    for main, prop in zip(large, small, strict=True):
        side = rng.choice((-1, 1))
        row = posters.Poster(
            rng.choice(backgrounds.NAMES),
            rng.randrange(backgrounds.VARIANTS),
            (
                posters.Put(
                    main.name,
                    0.5 - side * rng.uniform(0.02, 0.1),
                    rng.uniform(0.42, 0.58),
                    rng.uniform(0.66, 0.8),
                ),
                posters.Put(
                    prop.name,
                    0.5 + side * rng.uniform(0.26, 0.34),
                    rng.choice((0.2, 0.78)),
                    rng.uniform(0.22, 0.38),
                    rng.uniform(-15, 15),
                ),
            ),
        )
        pictures.append(posters.draw(row)[0])
    told = [*large, *things[2 * POSTERS :]]
    captions = [line for thing in told for line in thing.held_out_memes]
    return pictures, captions, [set(thing.held_out_memes) for thing in large]


def count(embeds, captions, own, clip, setting, assign: str) -> int:
    """How many pictures get one of their own captions."""
    correction, hubs.NEIGHBORS, factor = setting
    scale = clip.logit_scale / factor
    found = match_embeddings(*embeds, captions, assign, None, correction, scale)
    return sum(captions[j] in lines for j, lines in zip(found.chosen, own, strict=True))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="a folder (default: StickerCLIP)")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--store", action="store_true")
    args = parser.parse_args()
    clip = vt.load_clip(args.model)

    def counts(pictures, captions, own):
        embeds = clip.encode_images(pictures), clip.encode_texts(captions)
        return [
            [count(embeds, captions, own, clip, s, a) for a in ("best", "one_to_one")]
            for s in SETTINGS
        ]

    drawn = [counts(*draw_folder(seed)) for seed in seeds("val", args.seeds)]
    truth = json.loads((IMAGES / "truth.json").read_text("utf-8"))
    captions = vt.memes.read_captions(IMAGES / "captions.txt")
    paths = [IMAGES / f"{name}.png" for name in truth]
    images = counts(paths, captions, [set(lines) for lines in truth.values()])
    rows = []
    for setting, *by_seed, test in zip(SETTINGS, *drawn, images, strict=True):
        best, one_to_one = ([pair[k] for pair in by_seed] for k in (0, 1))
        rows.append(
            dict(zip(("correction", "neighbors", "temperature"), setting, strict=True))
            | {"best": mean(best), "one_to_one": mean(one_to_one)}
            | {"images": test, "best_by_seed": best}
        )
        print({k: v for k, v in rows[-1].items() if k != "best_by_seed"})
    if args.store:
        weights = {"model": clip.name, "weights": stored.fingerprint(clip)}
        about = {"posters": POSTERS, "captions": 2 * (POSTERS + STRANGERS)}
        stored.save(
            stored.heading() | weights | about | {"rows": rows}, "20_meme_studio"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
