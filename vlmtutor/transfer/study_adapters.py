"""The study of notebook 10: ``python -m vlmtutor.transfer.study_adapters``.

Few-shot tables of the adapters, WiSE-FT's two-way bargain, and scenes of
several stickers: multi-label recognition and dense prediction.  About ten
minutes on one core; writes ``notebooks/results/10_adapters.json``.  Settings are
chosen on validation pictures of other classes, or, for scenes, on validation
scenes.
"""

from __future__ import annotations

import sys
import time

import torch
import torch.nn.functional as F

from ..metrics import mean_iou
from ..naming import text_classifier
from ..world import StickerWorld, seeds_of
from . import denseclip, dualcoop, tai_dpt, wise_ft
from . import plans_adapters as plan
from .few_shot import accuracy
from .multi_label import hide_labels, mean_average_precision
from .plans import Method
from .scene_sets import SceneSet, other_words, scene_set
from .study import SEARCH_SEED, SEEDS, first, learn
from .study_tables import development, main, ordinary, run_task, search
from .tasks import Task, make_task

NAME = "10_adapters"


def choose(clip, notes, say=print) -> None:
    """Settings of all methods that have one label a picture."""
    task = development(clip, plan.SEARCH_DOMAIN)
    notes["settings"], notes["search"] = search(
        plan.METHODS, task, plan.SEARCH_SHOTS, 12, say
    )
    chosen, rows = choose_wise_ft(task)
    notes["settings"]["WiSE-FT"] = chosen
    notes["search"]["WiSE-FT"] = rows
    say(f"WiSE-FT: {chosen}")


def tables(clip, notes, say=print) -> None:
    """The few-shot tables, and WiSE-FT on the first task."""
    for number, (name, domain) in enumerate(plan.TASKS):
        task = run_task(
            clip,
            notes,
            plan.METHODS,
            name,
            domain,
            plan.SHOTS,
            SEEDS,
            n_test=plan.N_TEST,
            n_kept=plan.N_KEPT,
            say=say,
        )
        if number == 0:
            settings = notes["settings"]["WiSE-FT"]
            notes["WiSE-FT"] = wise_rows(task, name, settings, say)


# WiSE-FT


def choose_wise_ft(task: Task) -> tuple[dict, list[dict]]:
    """The step size, by validation accuracy of the fine-tuned end."""
    val, rows = first(task.val(12, half="base"), plan.WISE_FT_PICTURES), []
    train = task.shots(max(plan.WISE_FT_SHOTS), SEARCH_SEED, "base")
    for lr in plan.WISE_FT_LR:
        predictor = wise_ft.fit(
            task.clip,
            train.pictures,
            train.labels,
            train.classes,
            SEARCH_SEED,
            alpha=1.0,
            lr=lr,
            **plan.WISE_FT,
        )
        rows.append({"lr": lr, "score": round(accuracy(predictor, val), 4)})
    best = max(rows, key=lambda row: row["score"])
    return {**plan.WISE_FT, "lr": best["lr"]}, rows


def wise_rows(task: Task, name: str, settings: dict, say) -> list[dict]:
    """Accuracies on the target and on stickers along the line of weights."""
    few = plan.WISE_FT_PICTURES
    halves = [first(task.test(half), few) for half in ("base", "novel")]
    clean, rows = ordinary(task.clip, name, few), []
    method = Method("WiSE-FT")
    for k in plan.WISE_FT_SHOTS:
        for seed in SEEDS:
            train = task.shots(k, seed, "base")
            predictor, seconds = learn(method, train, seed, **settings)
            for alpha in plan.WISE_FT_ALPHAS:
                mixed = predictor.at(alpha)
                row = {
                    "shots": k,
                    "seed": seed,
                    "alpha": alpha,
                    "base": accuracy(mixed, halves[0]),
                    "kept": accuracy(mixed, clean),
                    "seconds": round(seconds, 2),
                    "parameters": predictor.parameters_trained,
                }
                if alpha in (0, 0.5):
                    other = mixed.with_classes(halves[1].classes)
                    row["novel"] = accuracy(other, halves[1])
                rows.append(row)
    say(f"WiSE-FT: {len(rows)} rows")
    return rows


# Scenes of several stickers


def scenes(clip, notes, say=print) -> None:
    """Multi-label and dense methods on sketched scenes."""
    sizes = plan.SCENES
    classes = make_task(clip, "mixed").classes[: plan.SCENE_CLASSES]

    def draw(split, seed):
        return scene_set(
            clip, classes, sizes[split], split, seed, domain=plan.SCENE_DOMAIN
        )

    val, test = draw("val", 0), draw("test", 0)
    train = draw("train", SEARCH_SEED)
    found = {
        "domain": plan.SCENE_DOMAIN,
        "classes": classes,
        "sizes": sizes,
        "captions": plan.CAPTIONS,
        "search": {},
        "zero-shot": multi_label_zero_shot(test),
        "dense zero-shot": dense_zero_shot(test),
    }
    fits = {"DualCoOp": dual_coop, "TaI-DPT": tai, "DenseCLIP": dense}
    grids = {
        "DualCoOp": plan.DUALCOOP_LR,
        "TaI-DPT": plan.TAI_DPT_LR,
        "DenseCLIP": plan.DENSECLIP_LR,
    }
    trains = {seed: draw("train", seed) for seed in SEEDS}
    for method, fit in fits.items():
        rows = [
            {"lr": lr, "score": fit(train, val, SEARCH_SEED, lr)[-1]["score"]}
            for lr in grids[method]
        ]
        lr = max(rows, key=lambda row: row["score"])["lr"]
        found["search"][method] = rows
        found[method] = [
            {"seed": seed, "lr": lr, **row}
            for seed in SEEDS
            for row in fit(trains[seed], test, seed, lr, full=True)
        ]
        say(f"{method}: {found[method][-1]}")
    notes["scenes"] = found


def multi_label_zero_shot(test: SceneSet) -> dict:
    """Mean average precision of cosines: whole picture, nearest patch."""
    weights = text_classifier(test.pictures.clip, test.classes)  # [C, D]
    whole = test.pictures.image_embeds @ weights.T
    patches = test.pictures.patch_embeds.flatten(1, 2) @ weights.T
    return {
        "whole picture": figure(whole, test),
        "nearest patch": figure(patches.amax(1), test),
    }


def figure(scores: torch.Tensor, test: SceneSet) -> float:
    return round(mean_average_precision(scores, test.labels), 4)


def timed(fit, *args, **settings):
    """What a fit returns, and its seconds."""
    start = time.perf_counter()
    result = fit(*args, **settings)
    return result, round(time.perf_counter() - start, 2)


def dual_coop(train, test, seed, lr, full=False) -> list[dict]:
    """One row for each share of known labels; the last is for the search."""
    rows = []
    for known in plan.KNOWN if full else plan.KNOWN[1:2]:
        labels = hide_labels(train.labels, known, seed)
        predictor, seconds = timed(
            dualcoop.fit,
            train.pictures.clip,
            train.pictures,
            labels,
            train.classes,
            seed,
            lr=lr,
            **plan.DUALCOOP,
        )
        rows.append(
            {
                "known": known,
                "score": figure(predictor(test.pictures), test),
                "seconds": seconds,
                "parameters": predictor.parameters_trained,
            }
        )
    return rows


def tai(train, test, seed, lr, full=False) -> list[dict]:
    """Learns from captions of ordinary scenes: no picture, no domain."""
    clip, classes = train.pictures.clip, train.classes
    captions = some_captions(clip, classes, seed)
    labels = tai_dpt.noun_labels(captions, classes, other_words(classes))
    predictor, seconds = timed(
        tai_dpt.fit, clip, captions, labels, classes, seed, lr=lr, **plan.TAI_DPT
    )
    start = tai_dpt.fit(clip, captions, labels, classes, seed, steps=0)
    return [
        {
            "start": figure(start(test.pictures), test),
            "score": figure(predictor(test.pictures), test),
            "seconds": seconds,
            "parameters": predictor.parameters_trained,
        }
    ]


def some_captions(clip, classes, seed) -> list[str]:
    """Captions of training scenes, nothing drawn."""
    world = StickerWorld(clip.image_size)
    return [
        world.scene(s, categories=classes).caption
        for s in seeds_of("scene sets", "train", plan.CAPTIONS, seed)
    ]


def dense_zero_shot(test: SceneSet) -> float:
    """MaskCLIP's read-out: each patch takes its nearest prompt ensemble."""
    weights = text_classifier(test.pictures.clip, test.classes)
    scores = test.pictures.patch_embeds @ weights.T  # [N, h, w, C]
    return miou(scores.movedim(-1, 1), test)


def miou(scores: torch.Tensor, test: SceneSet) -> float:
    """[N, C, h, w], enlarged, against the pixels of stickers."""
    truth = test.label_maps()
    scores = F.interpolate(scores, truth.shape[-2:], mode="bilinear")
    predicted = scores.argmax(1)
    return round(mean_iou(predicted, truth, len(test.classes)), 4)


def dense(train, test, seed, lr, full=False) -> list[dict]:
    predictor, seconds = timed(
        denseclip.fit,
        train.pictures.clip,
        train.pictures,
        train.label_maps(),
        train.classes,
        seed,
        lr=lr,
        **plan.DENSECLIP,
    )
    start = denseclip.fit(
        train.pictures.clip,
        train.pictures,
        train.label_maps(),
        train.classes,
        seed,
        steps=0,
    )
    return [
        {
            "start": miou(start(test.pictures), test),
            "score": miou(predictor(test.pictures), test),
            "seconds": seconds,
            "parameters": predictor.parameters_trained,
        }
    ]


PARTS = {"search": choose, "tables": tables, "scenes": scenes}

if __name__ == "__main__":
    sys.exit(main(NAME, PARTS, __doc__))
