"""``python -m vlmtutor download [NAME]``: fetch a model before a class."""

from __future__ import annotations

import argparse

from ..console import fail
from .hub import DEFAULT_HUB_NAME, ModelNotFound, download, download_size_mb, is_cached


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name",
        nargs="?",
        default=DEFAULT_HUB_NAME,
        help=f"a CLIP on the hub (default: {DEFAULT_HUB_NAME})",
    )


def run(args: argparse.Namespace) -> int:
    if not is_cached(args.name):
        megabytes = download_size_mb(args.name)
        size = f" ({megabytes} MB)" if megabytes else ""
        print(f"fetching {args.name}{size}")
    try:
        folder = download(args.name)
    except ModelNotFound as error:
        return fail(error)
    print(f"{args.name} is in {folder}")
    return 0
