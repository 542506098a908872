"""``python -m vlmtutor download [NAME]``: list CLIPs, or fetch one."""

from __future__ import annotations

import argparse

from ..console import fail, printable
from .hub import ModelNotFound, download, is_cached, known


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What ``download`` takes: a name, or nothing for a list."""
    parser.add_argument(
        "name",
        nargs="?",
        help="a CLIP on the hub to fetch; without one, those to choose from",
    )


def _list() -> None:
    """One line a CLIP: is it here, its id, size, licence and use."""
    print("CLIPs that load_clip opens (* is here, the others are on the hub):\n")
    for k in known():
        mark, pin = "*" if k.is_here else " ", (k.revision or "")[:7]
        print(f"{mark} {k.id:44} {k.megabytes:4} MB  {k.licence:12} {pin:7}")
        print(f"      {k.label}: {k.purpose}")
    print("\npython -m vlmtutor download NAME fetches one, and safetensors only.")


def run(args: argparse.Namespace) -> int:
    """List what there is, or fetch one; the exit code."""
    if args.name is None:
        _list()
        return 0
    sizes = {k.id: f" ({k.megabytes} MB, {k.licence})" for k in known()}
    if not is_cached(args.name):
        print(f"fetching {printable(args.name)}{sizes.get(args.name, '')}")
    try:
        folder = download(args.name)
    except ModelNotFound as error:
        return fail(error)
    print(printable(f"{args.name} is in {folder}"))
    return 0
