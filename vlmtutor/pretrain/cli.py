"""``python -m vlmtutor pretrain``: train a shipped model, or go on training."""

from __future__ import annotations

import argparse
from dataclasses import fields, replace
from pathlib import Path

from ..console import fail

DEVICES = ("cpu", "cuda", "mps", "auto")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--recipe",
        choices=("stickerclip", "pairclip", "phraseclip"),
        default="stickerclip",
        help="pairclip is told pictures and captions and nothing else",
    )
    parser.add_argument("--folder", help="of the run (runs/RECIPE)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--device", choices=DEVICES, default="cpu", help="auto takes what is there"
    )
    parser.add_argument(
        "--processes",
        type=int,
        default=0,
        metavar="N",
        help="that draw scenes beside the training; the same scenes for any N",
    )
    parser.add_argument(
        "--every", type=float, default=180, metavar="SECONDS", help="checkpoint (180)"
    )
    parser.add_argument("--until", type=int, help="stop at this step")
    parser.add_argument("--export", help="write the model to this folder")
    parser.add_argument(
        "--warm-start",
        metavar="FOLDER",
        help="begin with the weights of a finished run, or of a model's folder",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KNOB=VALUE",
        help="change a knob of the recipe, say steps=2000",
    )


def parse_config(settings: list[str], recipe: str = "stickerclip"):
    """The recipe with some knobs changed; ValueError says what is wrong."""
    from .config import RECIPES

    config = RECIPES[recipe]
    kinds = {f.name: type(getattr(config, f.name)) for f in fields(config)}
    for setting in settings:
        name, _, value = setting.partition("=")
        if name not in kinds:
            raise ValueError(f"no knob {name!r}: use one of {', '.join(kinds)}")
        kind = kinds[name]
        words = {"true": True, "false": False}
        try:
            parsed = words[value.lower()] if kind is bool else kind(value)
        except (KeyError, ValueError):
            expected = "True or False" if kind is bool else f"of type {kind.__name__}"
            raise ValueError(f"{name} is {expected}, not {value!r}") from None
        config = replace(config, **{name: parsed})
    return config


def choose_device(wanted: str) -> str:
    """The device to train on; ValueError where it is not there."""
    import torch

    here = {"cpu": True, "cuda": torch.cuda.is_available()}
    here["mps"] = torch.backends.mps.is_available()
    if wanted == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if here[name])
    if not here[wanted]:
        raise ValueError(f"there is no {wanted} here: --device auto takes what is")
    return wanted


def run(args: argparse.Namespace) -> int:
    import torch

    from ..models.hub import ModelNotFound
    from .run import Pretraining

    try:
        config = parse_config(args.set, args.recipe)
        device = choose_device(args.device)
    except ValueError as error:
        fail(error)
        return 2
    torch.set_num_threads(args.threads)
    folder = Path(args.folder or f"runs/{args.recipe}")
    try:
        training = Pretraining(folder, config, device, args.processes)
        if args.warm_start:
            training.warm_start(Path(args.warm_start))
    except (ImportError, FileNotFoundError, ValueError, ModelNotFound) as error:
        fail(error)
        return 1
    training.run(args.until, args.every)
    if args.export and not training.spread.rank:
        print(f"wrote {training.export(Path(args.export))}")
    return 0
