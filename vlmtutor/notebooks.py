"""Run the course's notebooks: store their outputs, or check them.

``python -m vlmtutor notebooks`` runs each notebook in a fresh kernel and
stores what it prints and draws; with ``--check`` it runs them under nbval,
which compares.  Both use the same environment, so that they agree.  ``--check
--as avx2`` runs them as an older processor would.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

from . import stored
from .console import fail

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "notebooks"
# that one cell may take: the slowest notebook, 11, takes 181 s in all on one thread;
# times 4 for slow machines, and some room
SECONDS = 960
KEPT = ("tags", "reason")  # metadata of a cell; the rest is an editor's
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


# Processors that this one can play: instructions that are left out, for
# PyTorch's own kernels, for oneDNN (convolutions, bfloat16) and for MKL.
PROCESSORS = {
    "this": {},
    "avx2": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    },
    "sse": {
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    },
}


def environment(processor: str = "this", threads: int = 2) -> dict[str, str]:
    """What kernels see: no network for models, two threads, plain figures."""
    with contextlib.suppress(ValueError):  # a MPLBACKEND that is none
        import matplotlib

        # Where it may not write to its folder it names another one in
        # os.environ, and complains: once and here, not in every notebook.
        matplotlib.get_cachedir()
    env = {k: v for k, v in os.environ.items() if k != "MPLBACKEND"}
    return (
        env
        | PROCESSORS[processor]
        | {
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": str(threads),
            "OMP_WAIT_POLICY": "PASSIVE",  # waiting threads leave the core to others
            "TOKENIZERS_PARALLELISM": "false",
            "PYTHONUTF8": "1",
        }
    )


def find(names: list[str], folder: Path = FOLDER) -> list[Path]:
    """Notebooks in reading order: all, or those whose name begins so.

    A name may also be a path.  FileNotFoundError names what is not there.
    """
    every = sorted(folder.glob("*.ipynb"))
    if not names:
        return every
    found = []
    for name in names:
        own = [Path(name)] if Path(name).is_file() else []
        matches = own or [p for p in every if p.name.startswith(name)]
        if not matches:
            raise FileNotFoundError(f"no notebook {name!r} in {folder}")
        found += matches
    return found


def execute(
    notebook, folder: Path, allow_errors: bool = False, env: dict | None = None
) -> None:
    """Run a notebook node in place, in a fresh kernel of this Python.

    Raises CellExecutionError at the first error in a cell that is not tagged
    ``raises-exception``, unless errors are allowed.  ``env`` is what the kernel
    sees, :func:`environment` if nothing else is said.
    """
    from ipykernel.kernelspec import RESOURCES, get_kernel_dict
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    class ThisPython(KernelSpecManager):
        # a kernel "python3" of the user's own may be another Python
        def get_kernel_spec(self, kernel_name):
            return KernelSpec(resource_dir=RESOURCES, **get_kernel_dict())

    client = NotebookClient(
        notebook,
        timeout=SECONDS,
        allow_errors=allow_errors,
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    )
    client.km = AsyncKernelManager(
        kernel_name="python3", kernel_spec_manager=ThisPython()
    )
    client.execute(env=env or environment())


def normalize(notebook) -> None:
    """Keep what readers and tests need, so that changes stay small."""
    notebook.metadata.clear()
    notebook.metadata.update(
        kernelspec={
            "display_name": "Python 3 (ipykernel)",
            "language": "python",
            "name": "python3",
        },
        language_info={"name": "python"},
    )
    for cell in notebook.cells:
        kept = {k: v for k, v in cell.metadata.items() if k in KEPT}
        cell.metadata.clear()
        cell.metadata.update(kept)
        for output in cell.get("outputs", []):
            # the widget is gone with its kernel: keep its text
            output.get("data", {}).pop(WIDGET_VIEW, None)
            if output.output_type == "error":
                # a traceback names files of the machine that ran it
                output.traceback = [f"{output.ename}: {output.evalue}"]


def refresh(path: Path, threads: int = 2) -> bool:
    """Run one notebook and store its outputs; whether its file changed.

    On an error nothing is written.
    """
    import nbformat

    before = path.read_text(encoding="utf-8")
    notebook = nbformat.reads(before, as_version=4)
    notebook.nbformat_minor = max(notebook.nbformat_minor, 5)
    notebook.cells = [c for c in notebook.cells if c.source.strip()]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    execute(notebook, path.parent, env=environment(threads=threads))
    normalize(notebook)
    nbformat.validate(notebook)
    after = nbformat.writes(notebook) + "\n"
    if after == before:
        return False
    with stored.replacing(path) as part:
        part.write_text(after, encoding="utf-8", newline="\n")
    return True


def compare(
    paths: list[Path],
    lax: bool = False,
    report: Path | None = None,
    processor: str = "this",
    threads: int = 2,
    workers: int = 1,
) -> int:
    """Run notebooks under nbval, ``workers`` side by side; pytest's exit code.

    Strict: every output must be what is stored, trained figures within the
    tolerance of their tag.  ``lax``: only errors count, as in solved
    exercises.  ``report`` is where JUnit's XML goes, one case a cell; the
    property "kind" of a failure tells what sort it is.
    """
    env = environment(processor, threads)
    plugins = [str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]
    env["PYTHONPATH"] = os.pathsep.join(filter(None, plugins))
    # the first import on a new machine builds a font cache, and says so
    warm = [sys.executable, "-c", "import matplotlib.pyplot"]
    subprocess.run(warm, env=env, check=True, stderr=subprocess.DEVNULL)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--nbval-lax" if lax else "--nbval",
        "--nbval-current-env",
        *("-p", "nbval_near"),
        *(["-n", str(workers), "--dist", "loadfile"] if workers > 1 else []),
        *([f"--junitxml={report}"] if report else []),
        f"--nbval-cell-timeout={SECONDS}",
        "--nbval-sanitize-with",
        str(ROOT / "tests" / "nbval_sanitize.cfg"),
        *map(str, paths),
    ]
    return subprocess.run(command, env=env, cwd=ROOT).returncode


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="first letters of a file name, say 03, or a path; all by default",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="compare with the stored outputs, write nothing",
    )
    parser.add_argument(
        "--as",
        dest="processor",
        choices=PROCESSORS,
        default="this",
        help="with --check: leave out what older processors lack",
    )
    parser.add_argument("--threads", type=int, default=2, help="of a kernel (2)")
    parser.add_argument(
        "--workers", type=int, default=1, help="with --check: notebooks side by side"
    )
    parser.add_argument(
        "--report", type=Path, help="with --check: a file for JUnit's XML"
    )


def run(args: argparse.Namespace) -> int:
    from nbclient.exceptions import CellExecutionError, CellTimeoutError

    try:
        paths = [path.resolve() for path in find(args.names)]
    except FileNotFoundError as error:
        fail(error)
        return 2
    if args.check:
        how = (args.report, args.processor, args.threads, args.workers)
        return compare(paths, False, *how) if paths else 0
    bad = 0
    for path in paths:
        start = time.monotonic()
        try:
            news = "stored" if refresh(path, args.threads) else "unchanged"
        except (CellExecutionError, CellTimeoutError) as error:
            bad += 1
            news = f"NOT stored:\n{error}"
        print(f"{path.name} ({time.monotonic() - start:.0f} s): {news}")
    return 1 if bad else 0
