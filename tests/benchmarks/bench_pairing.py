"""How fast pictures and captions are paired, against other ways.

    python tests/benchmarks/bench_pairing.py --threads 2

A CLIP of the shape of OpenAI's ViT-B/32 with random weights pairs JPEG files
of 640 px with captions.  Ours is ``vlmtutor.memes.match`` with nothing cached:
reading, decoding, preprocessing, hashing and encoding all count.  It stands
against

- bare: the model alone on tensors made beforehand, each picture and each
  caption once, in float32 and in the batches that ours uses;
- ``transformers.pipeline("zero-shot-image-classification")``, which encodes
  all captions again for every picture;
- the plain loop: one pass of the model for each pair.

Bare and ours take turns, and a ratio is the median over the rounds.  The
pipeline and the loop run on a few pictures; the table says on how many, and
scales their time up.  All of them must choose the same captions.

Only the two last linear layers are not random: they are fitted so that each
picture has a caption of its own.  With random ones a few captions win
everywhere, and equal choices would say little.  Time does not depend on it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from PIL import Image
from transformers.utils import logging

sys.path.insert(0, str(Path(__file__).parents[1]))

from clip_folders import VIT_B_32, write_clip  # noqa: E402
from pairing_case import (  # noqa: E402
    BATCH,
    bare,
    fit_last_layers,
    make_captions,
    make_pictures,
    prepare,
)

from vlmtutor.memes import EmbeddingCache, identity, match  # noqa: E402
from vlmtutor.memes.captions import read_captions  # noqa: E402
from vlmtutor.models import load_clip  # noqa: E402
from vlmtutor.precision import has_bf16  # noqa: E402

TIE = 0.003  # cosine; bf16 tells no smaller differences
IMAGES = Path(__file__).parents[2] / "images"
AIMS = {  # the ratio to its peer, and whether it should be below
    "ours, fp32": (1.1, True),
    "ours, bf16": (0.6, True),
    "pipeline": (20, False),
    "pair loop": (100, False),
}


def timed(function: Callable, *args):
    """What a function gives, and the seconds it takes."""
    started = time.perf_counter()
    result = function(*args)
    return result, time.perf_counter() - started


def ours(clip, paths, captions, precision: str, cache=None):
    """Match; without a cache, as in a process that has just started."""
    if cache is None:
        cache = EmbeddingCache()
        identity.KNOWN.clear()
    return match(
        paths,
        captions,
        clip,
        correction=None,  # as the other ways choose
        cache=cache,
        precision=precision,
        batch_size=BATCH,
    )


def run_pipeline(folder: Path, paths, captions) -> tuple[list[str], float]:
    """The best caption for each of these pictures; one run to warm up."""
    from transformers import pipeline

    classify = pipeline(
        "zero-shot-image-classification", str(folder), dtype=torch.float32, device=-1
    )

    def work():
        rows = [
            classify(str(path), candidate_labels=captions, hypothesis_template="{}")
            for path in paths
        ]
        return [row[0]["label"] for row in rows]

    classify(str(paths[0]), candidate_labels=captions[:2])
    return timed(work)


@torch.no_grad()
def run_loop(folder: Path, paths, captions) -> tuple[list[str], float]:
    """The same, one pass of the model for each pair."""
    from transformers import CLIPModel, CLIPProcessor

    model = CLIPModel.from_pretrained(folder, dtype=torch.float32).eval()
    processor = CLIPProcessor.from_pretrained(folder)

    def score(image, caption: str) -> float:
        inputs = processor(text=[caption], images=image, return_tensors="pt")
        return model(**inputs).logits_per_image.item()

    def work():
        chosen = []
        for path in paths:
            with Image.open(path) as image:
                scores = [score(image, caption) for caption in captions]
            best = max(range(len(captions)), key=scores.__getitem__)
            chosen.append(captions[best])
        return chosen

    with Image.open(paths[0]) as image:
        score(image, captions[0])
    return timed(work)


class Table:
    """Prints one row a way; remembers whether all chose alike."""

    def __init__(self, wanted: list[str]):
        self.wanted, self.alike = wanted, True
        print(f"\n{'':24}{'seconds':>9}{'ratio':>9}  aim")

    def row(self, name, seconds, ratio=None, chosen=None, note="") -> None:
        text = f"{name:24}{seconds:9.2f}"
        text += f"{ratio:9.2f}" if ratio is not None else " " * 9
        if name in AIMS:
            aim, below = AIMS[name]
            met = ratio <= aim if below else ratio >= aim
            sign = "≤" if below else "≥"
            text += f"  {sign} {aim:g}: {'met' if met else 'not met'}"
        if chosen is not None:
            pairs = list(zip(chosen, self.wanted, strict=False))
            same = sum(a == b for a, b in pairs)
            text += f"; {same} of {len(pairs)} choices the same"
            self.alike &= same == len(pairs)
        print(text + (f"; {note}" if note else ""), flush=True)


def texts_of(matches) -> list[str]:
    return [matches.captions[j] for j in matches.chosen]


def compare(args: argparse.Namespace, folder: Path) -> bool:
    """Measure everything; whether all ways chose the same captions."""
    paths = make_pictures(folder / "pictures", args.pictures)
    captions = make_captions(args.captions)
    model_folder = write_clip(folder / "clip", VIT_B_32)
    clip = load_clip(model_folder)
    inputs = prepare(clip, paths, captions)
    fit_last_layers(clip, *inputs)
    clip.model.save_pretrained(model_folder)

    by_length = sorted(captions, key=len)
    image_embeds, text_embeds = bare(clip, *inputs)
    cosines = image_embeds @ text_embeds.T
    wanted = [by_length[j] for j in cosines.argmax(dim=1)]
    precisions = ["fp32", "bf16"] if has_bf16() else ["fp32"]
    times: dict[str, list[float]] = {way: [] for way in ["bare", *precisions]}
    found = {}
    for _ in range(args.rounds):
        times["bare"].append(timed(bare, clip, *inputs)[1])
        for precision in precisions:
            found[precision], seconds = timed(ours, clip, paths, captions, precision)
            times[precision].append(seconds)

    table = Table(wanted)
    table.row("bare, fp32", median(times["bare"]))
    for precision in precisions:
        ratio = median(
            a / b for a, b in zip(times[precision], times["bare"], strict=True)
        )
        table.row(
            f"ours, {precision}",
            median(times[precision]),
            ratio,
            texts_of(found[precision]),
            "ratio to bare",
        )
    if "bf16" not in precisions:
        print("ours, bf16: this processor has no fast bfloat16")
    order = [captions.index(text) for text in by_length]
    error = (found["fp32"].scores[:, order] - cosines).abs().max().item()
    print(f"{'':24}cosines of fp32 and bare differ by at most {error:.1e}")

    cache = EmbeddingCache()
    ours(clip, paths, captions, "fp32", cache)
    again, seconds = timed(ours, clip, paths, captions, "fp32", cache)
    table.row("ours, a second run", seconds, chosen=texts_of(again))
    changed = [*captions[:-1], "a caption that is new"]
    _, seconds = timed(ours, clip, paths, changed, "fp32", cache)
    table.row("ours, one new caption", seconds)

    own = median(times["fp32"])
    for name, run, count in (
        ("pipeline", run_pipeline, args.pipeline_pictures),
        ("pair loop", run_loop, args.loop_pictures),
    ):
        some = paths[:count]
        chosen, seconds = run(model_folder, some, captions)
        whole = seconds * len(paths) / len(some)
        note = f"ratio to ours; scaled up from {len(some)} of {len(paths)}"
        table.row(name, whole, whole / own, chosen, note)
    return table.alike


def compare_shipped() -> bool:
    """Whether bf16 chooses as fp32 does with the shipped model, ties apart."""
    clip = load_clip()
    paths = sorted(IMAGES.glob("*.png"))
    captions = read_captions(IMAGES / "captions.txt")
    exact = ours(clip, paths, captions, "fp32")
    rough = ours(clip, paths, captions, "bf16")
    gaps = [
        exact.scores[i, j].item() - exact.scores[i, k].item()
        for i, (j, k) in enumerate(zip(exact.chosen, rough.chosen, strict=True))
        if j != k
    ]
    same = len(paths) - len(gaps)
    text = f"{clip.name} on images/: {same} of {len(paths)} choices in bf16 "
    text += "are those of fp32"
    if gaps:
        text += f"; the others lie at most {max(gaps):.4f} apart in cosine"
    print(f"\n{text}")
    return max(gaps, default=0) < TIE


def main() -> int:
    """Print the table: 0 if all ways chose the same captions, else 1."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default, help in (
        ("threads", torch.get_num_threads(), "of the model"),
        ("pictures", 200, ""),
        ("captions", 200, ""),
        ("rounds", 3, "of bare and ours in turns"),
        ("pipeline-pictures", 3, "that the pipeline is measured on"),
        ("loop-pictures", 1, "that the loop is measured on"),
    ):
        parser.add_argument(
            f"--{name}",
            type=int,
            default=default,
            metavar="N",
            help=f"{help} (default: {default})".strip(),
        )
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    logging.disable_progress_bar()
    print(
        f"{args.pictures} pictures, {args.captions} captions, "
        f"{args.threads} threads, torch {torch.__version__}"
    )
    with tempfile.TemporaryDirectory() as folder:
        alike = compare(args, Path(folder))
    alike &= compare_shipped()
    if not alike:
        print("[FAIL] not all choices are the same")
    return 0 if alike else 1


if __name__ == "__main__":
    raise SystemExit(main())
