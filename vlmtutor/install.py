"""Install requirements.txt, with torch's small build where that will do.

``make`` runs this file by its path, in a new environment: it needs nothing but
Python and pip.  On Linux, PyPI's torch brings gigabytes of libraries for
NVIDIA's cards.  Where there is no such card the small build is tried first:
from the indexes that pip knows, then, unless somebody has told pip to use
another index, from torch's own; only torch ever comes from there.  With LOCKED
in the environment all other packages must have the hashes of the lock file.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parents[1] / "requirements.txt"
LOCK = REQUIREMENTS.with_name(".requirements.lock")
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
# What tells pip where to look; who has set one has reasons.
CHOICES = ("index-url", "extra-index-url", "no-index", "find-links")
SMALL, LARGE = "about 200 MB", "several gigabytes, for NVIDIA's cards"


def has_nvidia_card() -> bool:
    """Whether this computer shows a card of NVIDIA's, or its driver."""
    driver = Path("/proc/driver/nvidia/version")
    return driver.exists() or shutil.which("nvidia-smi") is not None


def pip_is_told_where(run: Callable = subprocess.run) -> bool:
    """Whether pip's settings or environment name an index of their own."""
    done = run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True
    )
    names = re.findall(r"^[\w:-]*\.?([\w-]+)=", done.stdout or "", flags=re.M)
    return bool(set(names) & set(CHOICES))


def answers(url: str) -> bool:
    """Whether a server is there, within ten seconds."""
    try:
        with urllib.request.urlopen(url, timeout=10):
            return True
    except (OSError, ValueError):
        return False


def torch_pin(requirements: Path = REQUIREMENTS) -> str:
    """The version of torch that requirements.txt asks for."""
    text = requirements.read_text(encoding="utf-8")
    found = re.search(r"^torch==([\w.]+)", text, flags=re.M)
    if not found:
        raise ValueError(f"{requirements.name} pins no torch")
    return found[1]


def has_torch() -> bool:
    """Whether this Python has a torch, of whatever build."""
    try:
        return bool(metadata.version("torch"))
    except metadata.PackageNotFoundError:
        return False


def pip_install(*words: str, quiet: bool = True) -> bool:
    """Whether pip did it; ``quiet`` keeps its complaints to itself."""
    command = [sys.executable, "-m", "pip", "install", "-q"]
    command += ["--disable-pip-version-check", *words]
    hidden = subprocess.DEVNULL if quiet else None
    return subprocess.run(command, stderr=hidden).returncode == 0


def install_small_torch(
    version: str,
    install: Callable = pip_install,
    told: Callable = pip_is_told_where,
    reachable: Callable = answers,
) -> bool:
    """Try to get the build without GPU libraries; whether it is there now."""
    small = f"torch=={version}+cpu"
    print(f"No NVIDIA card: torch's small build, {SMALL}.", flush=True)
    if install("--no-deps", small):
        return True
    if told() or not reachable(TORCH_INDEX):
        return False
    return install("--no-deps", "--index-url", TORCH_INDEX, small)


def main() -> int:
    """Install everything; pip's exit code."""
    version = torch_pin()
    print("Installing requirements.txt; the first time takes minutes.", flush=True)
    if os.environ.get("LOCKED"):
        print("First all but torch, checked against hashes.", flush=True)
        if not pip_install(
            "--no-deps", "--require-hashes", "-r", str(LOCK), quiet=False
        ):
            return 1
    linux = sys.platform == "linux"
    if linux and not has_torch() and not has_nvidia_card():
        if not install_small_torch(version):
            print(
                f"pip finds no small build; the usual one may be {LARGE}. To stop, "
                f"press Ctrl+C; to name an index: PIP_EXTRA_INDEX_URL={TORCH_INDEX}",
                flush=True,
            )
    done = pip_install("-r", str(REQUIREMENTS), quiet=False)
    return 0 if done else 1


if __name__ == "__main__":
    os.chdir(REQUIREMENTS.parent)
    sys.exit(main())
