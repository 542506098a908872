"""``python -m vlmtutor memes FOLDER --captions FILE --out DIR``."""

from __future__ import annotations

import argparse
import sys

from ..console import fail, printable
from .hubs import CORRECTION, CORRECTIONS
from .render import STYLES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("folder", help="folder with the pictures")
    parser.add_argument(
        "--captions",
        required=True,
        metavar="FILE",
        help='text file, UTF-8, one caption a line; "# " starts a comment',
    )
    parser.add_argument(
        "--out",
        required=True,
        metavar="DIR",
        help="folder for the memes; made if it is not there",
    )
    parser.add_argument(
        "--style",
        choices=STYLES,
        default="classic",
        help="where the words stand (default: classic, top and bottom)",
    )
    parser.add_argument(
        "--assign",
        choices=("best", "one_to_one"),
        default="best",
        help="the best caption for each picture, or none used twice",
    )
    parser.add_argument(
        "--correction",
        choices=[str(name) for name in CORRECTIONS],
        default=CORRECTION,
        help="of captions that lie near every picture (default: dual_softmax)",
    )
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="a model folder or hub name (default: the one in the package)",
    )
    parser.add_argument(
        "--device",
        choices=("cpu", "cuda", "mps", "auto"),
        default="cpu",
        help="where the model computes; one that fails gives way to the cpu",
    )
    parser.add_argument(
        "--upper", action="store_true", help="set the captions in capitals"
    )
    parser.add_argument(
        "--font",
        metavar="FILE",
        help="font file, for scripts that the built-in fonts lack",
    )
    parser.add_argument(
        "--precision",
        choices=("fp32", "bf16", "auto"),
        default="fp32",
        help="bf16 is faster on processors that have it",
    )
    parser.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help='ray: on the cores of many machines (needs pip install "ray[data]")',
    )
    parser.add_argument("--fresh", action="store_true", help="do everything again")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    """Do it and say what happened: 0, or 1 if there is no meme."""
    from ..models import ModelNotFound, load_clip
    from .folder import caption_folder

    try:
        clip = load_clip(args.model, device=args.device)
        report = caption_folder(
            args.folder,
            args.captions,
            args.out,
            clip,
            style=args.style,
            assign=args.assign,
            correction=None if args.correction == "None" else args.correction,
            upper=args.upper,
            font=args.font,
            precision=args.precision,
            resume=not args.fresh,
            engine=args.engine,
            progress=not args.quiet,
        )
    except KeyboardInterrupt:
        print("Stopped. The same command goes on from here.", file=sys.stderr)
        return 130
    except (OSError, ValueError, ImportError, ModelNotFound) as error:
        return fail(error)
    for skip in report.skipped:
        print(f"skipped {printable(skip.name)}: {printable(skip.reason)}")
    for remark in report.remarks():
        print(f"note: {printable(remark)}")
    print(report.summary())
    if report.galleries:
        print(f"All at a glance: {printable(str(report.galleries[0]))}")
    return 0 if report.memes else 1
