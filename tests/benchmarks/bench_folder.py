"""A big folder: is memory flat, and does a killed run go on?

    python tests/benchmarks/bench_folder.py

Captions 1,000 pictures and then 10,000, each run in a process of its own, and
compares their peak memory.  The long run is killed twice without warning,
once while it encodes and once while it writes; the last run must find what
the others did and account for every picture.  Needs a POSIX system and some
gigabytes of disk.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from vlmtutor.memes.outbox import HIDDEN
from vlmtutor.world import StickerWorld

SIDE = 512  # pixels
SCENES = 50  # that are drawn; the other files hold them again
FLAT = 1.25  # peak of the long run against that of the short one
CAPTIONS = Path(__file__).parents[2] / "images" / "captions.txt"


def make_pictures(folder: Path, count: int) -> None:
    """JPEG files no two of which are equal.

    A few scenes serve for all.  A number in the comment of each file makes
    its content, and so its place in the cache, its own.
    """
    world = StickerWorld(size=SIDE)
    scenes = []
    for seed in range(min(SCENES, count)):
        file = io.BytesIO()
        world.scene(seed).image.save(file, "JPEG", quality=90)
        scenes.append(file.getvalue())
    folder.mkdir()
    for i in range(count):
        start, rest = scenes[i % len(scenes)][:2], scenes[i % len(scenes)][2:]
        comment = b"\xff\xfe" + (8).to_bytes(2, "big") + b"%06d" % i
        (folder / f"{i:06d}.jpg").write_bytes(start + comment + rest)


def start(pictures: Path, out: Path, threads: int) -> subprocess.Popen:
    """The command that a person would give."""
    command = [
        sys.executable,
        "-m",
        "vlmtutor",
        "memes",
        str(pictures),
        "--captions",
        str(CAPTIONS),
        "--out",
        str(out),
    ]
    log = out.with_suffix(".log").open("ab")
    env = os.environ | {"OMP_NUM_THREADS": str(threads)}
    return subprocess.Popen(command, env=env, stdout=log, stderr=log)


def wait(process: subprocess.Popen) -> float:
    """Wait for its end; its peak memory in MB."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    unit = 1 if sys.platform == "darwin" else 1024  # bytes or kilobytes
    return usage.ru_maxrss * unit / 1e6


def finish(process: subprocess.Popen) -> float:
    """Wait for its success; its peak memory in MB."""
    peak = wait(process)
    if process.returncode != 0:
        raise RuntimeError(f"the run failed: exit {process.returncode}")
    return peak


def kill_when(process: subprocess.Popen, done: Callable[[], int], goal: int) -> float:
    """SIGKILL as soon as ``goal`` pieces are done; the peak memory in MB."""
    while done() < goal:
        if process.poll() is not None:
            raise RuntimeError("the run ended before it could be killed")
        time.sleep(0.1)
    process.kill()
    return wait(process)


def times_of(files: list[Path]) -> dict[Path, int]:
    """When each was written."""
    return {path: path.stat().st_mtime_ns for path in files}


def embeddings(out: Path) -> list[Path]:
    return list((out / HIDDEN / "embeddings").glob("*/*.npy"))


def memes(out: Path) -> list[Path]:
    return list(out.glob("*.jpg"))


def count_of(files: Callable[[Path], list[Path]], out: Path) -> int:
    return len(files(out))


def check(out: Path, count: int) -> None:
    """The report names every picture, and every meme is there."""
    report = json.loads((out / "report.json").read_text("utf-8"))
    if len(report["memes"]) != count or report["skipped"]:
        raise RuntimeError("the report does not account for every picture")
    if len(memes(out)) != count:
        raise RuntimeError(f"{len(memes(out))} memes of {count}")


def measure(folder: Path, count: int, threads: int) -> float:
    """Caption ``count`` pictures in one go; the peak memory in MB."""
    pictures, out = folder / f"p{count}", folder / f"m{count}"
    make_pictures(pictures, count)
    started = time.perf_counter()
    peak = finish(start(pictures, out, threads))
    seconds = time.perf_counter() - started
    check(out, count)
    print(f"{count:>7,} pictures: {seconds:7.1f} s, peak {peak:6.0f} MB")
    return peak


def measure_interrupted(folder: Path, count: int, threads: int) -> float:
    """The same, killed twice on the way; the highest peak in MB."""
    pictures, out = folder / f"p{count}", folder / f"m{count}"
    make_pictures(pictures, count)
    kept: dict[Path, int] = {}
    peaks = []
    for what, files in (("encoding", embeddings), ("writing", memes)):
        process = start(pictures, out, threads)
        done = partial(count_of, files, out)
        peaks.append(kill_when(process, done, count // 2))
        kept |= times_of(files(out))  # none is torn: they are moved in
        print(f"{count:>7,} pictures: killed at {what} {len(files(out)):,}")
    started = time.perf_counter()
    peaks.append(finish(start(pictures, out, threads)))
    seconds = time.perf_counter() - started
    check(out, count)
    again = sum(times_of([path])[path] != at for path, at in kept.items())
    print(
        f"{count:>7,} pictures: {seconds:7.1f} s for the rest, "
        f"peak {max(peaks):6.0f} MB; {again} of {len(kept):,} done twice"
    )
    if again:
        raise RuntimeError("work was done twice")
    started = time.perf_counter()
    finish(start(pictures, out, threads))
    seconds = time.perf_counter() - started
    print(f"{count:>7,} pictures: {seconds:7.1f} s when all is done")
    return max(peaks)


def main() -> int:
    """Print what was measured: 0 if memory is flat and nothing was lost."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--few", type=int, default=1_000, metavar="N")
    parser.add_argument("--many", type=int, default=10_000, metavar="N")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, metavar="N")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        few = measure(Path(name), args.few, args.threads)
        many = measure_interrupted(Path(name), args.many, args.threads)
    ratio = many / few
    print(f"peak memory grows by a factor of {ratio:.2f}; at most {FLAT:g}")
    if ratio > FLAT:
        print("[FAIL] memory is not flat")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
