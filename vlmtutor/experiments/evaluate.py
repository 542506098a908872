"""``python -m vlmtutor evaluate``: what a CLIP can do in Sticker World.

All figures are measured on unseen scenes, over three evaluation seeds.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from .. import naming, stored
from ..console import fail
from ..distill.bench.protocol import label_maps
from ..distill.parts.regions import square_boxes
from ..distill.supervision import IGNORE
from ..metrics import IOU_NOTE, mean_iou
from ..pretrain.card import pairs_seen, write_figures
from ..table import table
from ..world import (
    DOMAINS,
    Layout,
    Scene,
    StickerWorld,
    complete_caption,
    load_categories,
    seeds_of,
)
from ..world.backgrounds import PHRASES
from .floors import IMAGES, floors_of, folder_of, missed, own_lines
from .floors import rows as floor_rows
from .unseen import BATCH, PART_STRIDE, Evaluation, Remembering


def top1(clip, e: Evaluation, domain: str = "sticker") -> float:
    """Zero-shot accuracy over all categories, one sticker a scene."""
    scenes = e.scenes(n=e.n, n_stickers=1, domain=domain)
    embeds = clip.encode_images([s.image for s in scenes])
    names = e.labels()
    predicted = (embeds @ naming.text_classifier(clip, names).T).argmax(-1)
    truth = torch.tensor([names.index(s.objects[0].name) for s in scenes])
    return float((predicted == truth).float().mean())


def two_kinds(layout: Layout) -> bool:
    a, b = layout.placements
    return a.category != b.category


def retrieval(clip, e: Evaluation) -> dict[str, float]:
    """R@1 among 500 two-sticker scenes, both directions.

    No two of them have the same caption, so that one answer is right.
    """
    captions = set()

    def new(layout: Layout) -> bool:
        before = len(captions)
        captions.add(complete_caption(layout).text)
        return len(captions) > before

    scenes = e.scenes(n=500, offset=200_000, n_stickers=2, keep=new)
    images = clip.encode_images([s.image for s in scenes])
    texts = clip.encode_texts([s.caption for s in scenes])
    similarity = images @ texts.T
    truth = torch.arange(len(scenes))
    return {
        "image_to_text_r1": _share(similarity.argmax(1) == truth),
        "text_to_image_r1": _share(similarity.argmax(0) == truth),
    }


def _share(hits: Tensor) -> float:
    return float(hits.float().mean())


def choice(clip, scenes: list[Scene], wrong: Callable[[Layout], Layout]):
    """How often a scene prefers its caption to that of a changed layout."""
    right = [complete_caption(s.layout).text for s in scenes]
    other = [complete_caption(wrong(s.layout)).text for s in scenes]
    images = clip.encode_images([s.image for s in scenes])
    good = (images * clip.encode_texts(right)).sum(-1)
    bad = (images * clip.encode_texts(other)).sum(-1)
    return _share(good > bad)


def binding(clip, e: Evaluation) -> dict[str, float]:
    """The right caption against one with colours, or sides, exchanged."""

    def colored(layout: Layout) -> bool:
        a, b = layout.placements
        return two_kinds(layout) and a.color != b.color

    def side_by_side(layout: Layout) -> bool:
        a, b = layout.placements
        return two_kinds(layout) and abs(a.x - b.x) > abs(a.y - b.y)

    discs = e.scenes(n=500, offset=300_000, n_stickers=2, keep=colored, discs=1.0)
    sides = e.scenes(n=500, offset=400_000, n_stickers=2, keep=side_by_side)
    return {
        "binding_colours": choice(clip, discs, Layout.swap_colors),
        "binding_sides": choice(clip, sides, Layout.swap_stickers),
    }


def meme_recall(clip, e: Evaluation) -> dict[str, float]:
    """Held-out meme lines against one picture of every category."""
    world = StickerWorld(e.size)
    table = load_categories()
    own = seeds_of("evaluation", e.split, len(table), e.seed, 500_000)
    pictures = [
        world.scene(seed, n=1, categories=[c.name]).image
        for seed, c in zip(own, table, strict=True)
    ]
    images = clip.encode_images(pictures)
    lines = [line for c in table for line in c.held_out_memes]
    truth = torch.arange(len(table)).repeat_interleave(2)
    order = (clip.encode_texts(lines) @ images.T).argsort(-1, descending=True)
    rank = (order == truth[:, None]).float().argmax(-1)
    return {
        "meme_r1": _share(rank < 1),
        "meme_r5": _share(rank < 5),
        "meme_r5_named": _share(rank[0::2] < 5),
        "meme_r5_hinted": _share(rank[1::2] < 5),
    }


def _dense_names() -> tuple[list[str], Tensor]:
    """The 65 names of the dense tasks; which of them are base."""
    dense = [c for c in load_categories() if c.dense]
    return [c.name for c in dense], torch.tensor([c.base for c in dense])


def square_crop(
    image: Image.Image, box: tuple[int, int, int, int], factor: float = 1.0
) -> Image.Image:
    """A square around a box, ``factor`` times its longer side, kept inside."""
    boxes = torch.tensor([box], dtype=torch.float)
    x0, y0, x1, _ = square_boxes(boxes, min(image.size), factor)[0].tolist()
    left, top, side = round(x0), round(y0), round(x1 - x0)
    return image.crop((left, top, left + side, top + side))


def crops(clip, e: Evaluation) -> dict[str, float]:
    """Accuracy on ground-truth crops among the 65 dense-task names."""
    names, base = _dense_names()
    scenes = e.scenes(n=500, offset=600_000, n_stickers=2, categories=names)
    weights = naming.text_classifier(clip, names)
    truth = torch.tensor([names.index(o.name) for s in scenes for o in s.objects])
    figures = {}
    for factor, label in ((1.0, "box"), (1.5, "box_x1.5")):
        images = [
            square_crop(s.image, o.box, factor) for s in scenes for o in s.objects
        ]
        hit = (clip.encode_images(images) @ weights.T).argmax(-1) == truth
        figures[f"crop_{label}_base"] = _share(hit[base[truth]])
        figures[f"crop_{label}_novel"] = _share(hit[~base[truth]])
    return figures


def _patch_features(clip, scenes: list[Scene]) -> Tensor:
    """Value-path patch features [N, h, w, D] of scenes."""
    parts = []
    with torch.no_grad():
        for start in range(0, len(scenes), BATCH):
            images = [s.image for s in scenes[start : start + BATCH]]
            parts.append(clip.patch_features(clip.preprocess(images)))
    return torch.cat(parts)


def dense(clip, e: Evaluation) -> dict[str, float]:
    """MaskCLIP read-out on two-sticker scenes of the dense-task names.

    ``miou_stickers`` names sticker pixels only; ``miou_scene`` must also tell
    them from the background, which the background phrases stand for.  Both
    are :func:`vlmtutor.metrics.mean_iou`.
    """
    names, _ = _dense_names()
    scenes = e.scenes(n=300, offset=700_000, n_stickers=2, categories=names)
    weights, C = naming.text_classifier(clip, names), len(names)
    places = clip.encode_texts(list(PHRASES.values()))
    features = _patch_features(clip, scenes)
    truth = label_maps(scenes, names)
    named, _ = naming.label_maps(features, weights, e.size)
    answers, _ = naming.label_maps(features, torch.cat([weights, places]), e.size)
    stickers = truth.masked_fill(truth == C, IGNORE)
    return {
        "miou_stickers": mean_iou(named, stickers, C, IGNORE),
        "miou_scene": mean_iou(answers.clamp(max=C), truth, C + 1),
    }


def local_naming(clip, e: Evaluation) -> dict[str, float]:
    """Share of sticker pixels whose patch gives them the right name."""
    scenes = e.scenes(n=300, offset=800_000, n_stickers=2, keep=two_kinds)
    names = e.labels()
    weights = naming.text_classifier(clip, names)
    features = _patch_features(clip, scenes)  # [N, h, w, D]
    of_two, of_all, pixels = 0, 0, 0
    # the patch that each row or column of pixels lies in
    cell = torch.arange(e.size) * features.shape[1] // e.size
    for scene, feature in zip(scenes, features, strict=True):
        owners = torch.from_numpy(scene.owners).long()
        scores = feature @ weights.T  # [h, w, C]
        present = [names.index(o.name) for o in scene.objects]
        pair = torch.tensor(present)[scores[..., present].argmax(-1)]
        best = scores.argmax(-1)
        pair, best = (m[cell][:, cell] for m in (pair, best))
        on = owners >= 0
        truth = torch.tensor(present)[owners[on]]
        of_two += int((pair[on] == truth).sum())
        of_all += int((best[on] == truth).sum())
        pixels += int(on.sum())
    return {"local_of_two": of_two / pixels, "local_of_all": of_all / pixels}


def domains(clip, e: Evaluation) -> dict[str, float]:
    """Zero-shot top-1 in each domain."""
    return {f"top1_{name}": top1(clip, e, name) for name in DOMAINS}


PARTS = (domains, retrieval, binding, meme_recall, crops, dense, local_naming)


def evaluate(clip, e: Evaluation) -> dict[str, float]:
    """All figures for one evaluation seed."""
    if not isinstance(clip, Remembering):
        clip = Remembering(clip)
    figures: dict[str, float] = {}
    for part in PARTS:
        figures.update(part(clip, e))
    return figures


def evaluate_seeds(clip, n: int = 1000, split: str = "test") -> dict[str, dict]:
    """Mean, minimum and maximum of every figure over three seeds."""
    clip = Remembering(clip)
    runs = [
        evaluate(clip, Evaluation(split=split, seed=seed, n=n)) for seed in range(3)
    ]
    return {
        name: {
            "mean": round(statistics.mean(r[name] for r in runs), 4),
            "min": round(min(r[name] for r in runs), 4),
            "max": round(max(r[name] for r in runs), 4),
        }
        for name in runs[0]
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", help="folder or hub id")
    parser.add_argument("--n", type=int, default=1000, help="single scenes")
    parser.add_argument("--split", default="test", choices=("val", "test"))
    parser.add_argument("--json", help="also write the figures to this file")
    parser.add_argument(
        "--card", action="store_true", help="also put them into the model's card"
    )


def run(args: argparse.Namespace) -> int:
    from ..models.hub import ModelNotFound, load_clip

    # found out now, and not after minutes
    try:
        if not 1 <= args.n <= PART_STRIDE:
            raise ValueError(f"--n is 1 to {PART_STRIDE}, not {args.n}")
        if args.json and not Path(args.json).absolute().parent.is_dir():
            raise ValueError(f"--json: no folder for {args.json}")
        clip = load_clip(args.model)
        folder = folder_of(args.model)
        if args.card and folder is None:
            raise ValueError("--card: this model has no folder with a card")
    except (OSError, ValueError, ModelNotFound) as error:
        return fail(error)
    figures = evaluate_seeds(clip, args.n, args.split)
    pictures = own_lines(clip) if IMAGES.is_dir() else {}
    floors = floors_of(clip.name, folder and pairs_seen(folder))
    heads = ["figure", "mean", "min", "max", "floor", "holds"]
    shown = table(floor_rows(figures, pictures, floors), heads, "markdown")
    shown += "\n\n" + "\n\n".join([*missed(pictures), f"{IOU_NOTE}."])
    print(shown)
    if args.json:
        stored.write(figures | {"pictures": pictures}, args.json)
    if args.card:
        print(f"wrote {write_figures(folder, shown)}")
    return 0
