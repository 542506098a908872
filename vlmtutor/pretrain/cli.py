"""``python -m vlmtutor pretrain``: train StickerCLIP, or go on training."""

from __future__ import annotations

import argparse
from dataclasses import fields, replace
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--folder", default="runs/stickerclip")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--until", type=int, help="stop at this step")
    parser.add_argument("--export", help="write the model to this folder")
    parser.add_argument("--warm-start", help="a finished run's folder")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KNOB=VALUE",
        help="change a knob of the recipe, say steps=2000",
    )


def parse_config(settings: list[str]):
    """The recipe with some knobs changed; ValueError names a wrong one."""
    from .config import PretrainConfig

    config = PretrainConfig()
    kinds = {f.name: type(getattr(config, f.name)) for f in fields(config)}
    for setting in settings:
        name, _, value = setting.partition("=")
        if name not in kinds:
            raise ValueError(f"no knob {name!r}: use one of {', '.join(kinds)}")
        kind = kinds[name]
        parsed = value == "True" if kind is bool else kind(value)
        config = replace(config, **{name: parsed})
    return config


def run(args: argparse.Namespace) -> int:
    import torch

    from .run import Pretraining

    torch.set_num_threads(args.threads)
    training = Pretraining(Path(args.folder), parse_config(args.set))
    if args.warm_start:
        training.warm_start(Path(args.warm_start))
    training.run(args.until)
    if args.export:
        print(f"wrote {training.export(Path(args.export))}")
    return 0
