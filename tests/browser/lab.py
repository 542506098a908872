"""A real JupyterLab on a copy of the course, for a browser to open."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# As `make lab` starts it.
(UPLOADS,) = re.findall(r'(?m)^UPLOADS := "(.*)"$', (ROOT / "Makefile").read_text())
SECONDS = 240  # until JupyterLab answers

# No question about news, and no cell taken off the page while out of sight.
SETTINGS = {
    "apputils-extension/notification.jupyterlab-settings": (
        '{"fetchNews": "false", "checkForUpdates": false}'
    ),
    "notebook-extension/tracker.jupyterlab-settings": ('{"windowingMode": "none"}'),
}


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab: ``folder`` is what it shows."""

    folder: Path
    address: str
    token: str

    def url(self, notebook: str) -> str:
        """Where a browser opens a notebook, in a workspace of its own."""
        workspace = secrets.token_hex(4)
        return (
            f"{self.address}/lab/workspaces/{workspace}/tree/{notebook}"
            f"?token={self.token}"
        )


def cut_after(path: Path, words: str) -> None:
    """Drop the cells of a notebook behind the first code cell with ``words``.

    A widget's key presses reach the kernel only when it is idle, so what
    stands below the widget would make a test wait for it.
    """
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for n, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] == "code" and words in "".join(cell["source"]):
            notebook["cells"] = notebook["cells"][: n + 1]
            for kept in notebook["cells"]:
                if kept["cell_type"] == "code":
                    kept["outputs"], kept["execution_count"] = [], None
            path.write_text(json.dumps(notebook), encoding="utf-8")
            return
    raise ValueError(f"no code cell of {path.name} has {words!r}")


def copy_course(folder: Path) -> None:
    """Notebooks and pictures, so that the repository stays as it is."""
    ignore = shutil.ignore_patterns(".ipynb_checkpoints", "solutions")
    for name in ("notebooks", "images"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)


@contextmanager
def running_lab(folder: Path, home: Path) -> Iterator[Lab]:
    """Start JupyterLab on ``folder`` and end it again.

    Its settings, workspaces and logs go to ``home``: nothing of the user's
    is read or changed. Raises RuntimeError with the log if it does not come
    up.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    lab = Lab(folder, f"http://127.0.0.1:{port}", secrets.token_hex(16))
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--allow-root",
        f"--ServerApp.root_dir={folder}",
        f"--ServerApp.port={port}",
        "--ServerApp.ip=127.0.0.1",
        "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={lab.token}",
        UPLOADS,
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    places = ("CONFIG", "DATA", "RUNTIME")
    env = os.environ | {
        **{f"JUPYTER_{p}_DIR": str(home / p.lower()) for p in places},
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "IPYTHONDIR": str(home / "ipython"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUTF8": "1",
    }
    for name, text in SETTINGS.items():
        file = home / "settings" / "@jupyterlab" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    log = home / "lab.log"
    with log.open("wb") as file:
        server = subprocess.Popen(
            command, cwd=folder, env=env, stdout=file, stderr=file
        )
    try:
        _wait(server, lab, log)
        yield lab
    finally:
        server.terminate()  # JupyterLab ends its kernels, too
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait(server: subprocess.Popen, lab: Lab, log: Path) -> None:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and server.poll() is None:
        try:
            url = f"{lab.address}/api/status?token={lab.token}"
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.3)
    text = log.read_text(encoding="utf-8", errors="replace")
    raise RuntimeError(f"JupyterLab did not start:\n{text[-2000:]}")
