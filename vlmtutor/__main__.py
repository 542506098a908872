"""``python -m vlmtutor COMMAND``: the same as the notebooks, without them."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys

from .console import printable, tolerate_encodings

# Only the module of the chosen command is imported, so that ``check`` can
# tell what is wrong even where torch does not load.
COMMANDS = {
    "check": ("selfcheck", "does this computer have what the course needs?"),
    "memes": ("memes.cli", "caption a folder of pictures"),
    "download": ("models.cli", "list CLIPs to fetch, or fetch one"),
    "notebooks": ("notebooks", "run the notebooks: store or check outputs"),
    "pretrain": ("pretrain.cli", "train StickerCLIP again"),
    "experiment": ("experiments.cli", "what takes minutes: run, go on, show"),
    "comparison": ("experiments.comparison", "one tidy file of stored scores"),
    "evaluate": ("experiments.evaluate", "what a model can do, in figures"),
}


class _Parser(argparse.ArgumentParser):
    """One whose complaints hold no control codes, as names of files may."""

    def error(self, message: str):
        super().error(printable(message))


def _usage() -> str:
    lines = [f"  {name:10} {about}" for name, (_, about) in COMMANDS.items()]
    return (
        "usage: python -m vlmtutor COMMAND [OPTIONS]\n\n"
        + "\n".join(lines)
        + "\n\npython -m vlmtutor COMMAND --help tells its options."
    )


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code (0: all is well)."""
    tolerate_encodings()
    words = sys.argv[1:] if argv is None else argv
    if not words or words[0] in ("-h", "--help"):
        print(_usage())
        return 0 if words else 2
    name, *rest = words
    if name not in COMMANDS:
        print(f"no command {name!r}\n\n{_usage()}", file=sys.stderr)
        return 2
    home, about = COMMANDS[name]
    module = importlib.import_module(f"vlmtutor.{home}")
    parser = _Parser(prog=f"python -m vlmtutor {name}", description=about)
    module.add_arguments(parser)
    try:
        code = module.run(parser.parse_args(rest)) or 0
        if sys.stdout is not None:
            sys.stdout.flush()  # here, where it can be told that nobody reads
        return code
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # who read along, "head" say, has seen enough
        _mute()
        return 141  # as the shell has it: 128 and the number of SIGPIPE


def _mute() -> None:
    """Have nothing more written to stdout, not even by Python as it ends."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
