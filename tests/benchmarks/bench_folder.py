"""A big folder: is memory flat, and does a killed run go on?

    python tests/benchmarks/bench_folder.py
    python tests/benchmarks/bench_folder.py --tiny --many 100000

Captions 1,000 pictures and then 10,000, each run in a process of its own, and
compares their peak memory.  With ``--tiny`` the pictures have 40 pixels a side
and the encoder is a fake, for what a model costs beside is not the question.
The long run is killed twice without warning, once while it encodes and once
while it writes; the last run must find what the others did and account for
every picture.  Needs a POSIX system and some gigabytes of disk.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import torch

from vlmtutor.memes import EmbeddingCache, caption_folder
from vlmtutor.memes.outbox import HIDDEN
from vlmtutor.world import StickerWorld

SIDE, TINY = 512, 40  # pixels
SCENES = 50  # that are drawn; the other files hold them again
FLAT = 200  # MB that the long run may take more than the short one
CAPTIONS = Path(__file__).parents[2] / "images" / "captions.txt"


class FakeClip:
    """Embeddings [192] that depend on what is encoded, and cost nothing."""

    name, logit_scale, embed_dim = "fake", 20.0, 192

    def encode_images(self, images) -> torch.Tensor:
        small = [np.asarray(image.convert("L").resize((8, 8))) for image in images]
        return self._project(torch.from_numpy(np.stack(small)).flatten(1).float())

    def encode_texts(self, texts) -> torch.Tensor:
        codes = [list(text.encode()[:64].ljust(64)) for text in texts]
        return self._project(torch.tensor(codes).float())

    def _project(self, rows: torch.Tensor) -> torch.Tensor:
        table = torch.randn(64, 192, generator=torch.Generator().manual_seed(0))
        return torch.nn.functional.normalize((rows - 128) @ table, dim=1)


def make_pictures(folder: Path, count: int, side: int) -> None:
    """JPEG files no two of which are equal.

    A few scenes serve for all.  A number in the comment of each file makes
    its content, and so its place in the cache, its own.
    """
    world = StickerWorld(size=side)
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


def start(pictures: Path, out: Path, args) -> subprocess.Popen:
    """The command that a person would give; or the same with the fake."""
    if args.tiny:
        command = [sys.executable, __file__, "--run", str(pictures), str(out)]
    else:
        command = [sys.executable, "-m", "vlmtutor", "memes", str(pictures)]
        command += ["--captions", str(CAPTIONS), "--out", str(out)]
    log = out.with_suffix(".log").open("ab")
    env = os.environ | {"OMP_NUM_THREADS": str(args.threads)}
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
    pause = 0.1
    while done() < goal:
        if process.poll() is not None:
            raise RuntimeError("the run ended before it could be killed")
        time.sleep(pause)
        pause = min(5.0, 1.1 * pause)  # to count many files takes time, too
    process.kill()
    return wait(process)


def times_of(files: list[Path]) -> dict[Path, int]:
    """When each was written."""
    return {path: path.stat().st_mtime_ns for path in files}


def embeddings(out: Path) -> int:
    """How many are kept."""
    path = EmbeddingCache(out / HIDDEN).path
    if not path.exists():
        return 0
    with closing(sqlite3.connect(path)) as file:
        try:
            return file.execute("SELECT count(*) FROM embeddings").fetchone()[0]
        except sqlite3.OperationalError:  # not there yet, or being written
            return 0


def memes(out: Path) -> list[Path]:
    return list(out.glob("*.jpg"))


def check(out: Path, count: int) -> None:
    """The report names every picture, and every meme is there."""
    report = json.loads((out / "report.json").read_text("utf-8"))
    if len(report["memes"]) != count or report["skipped"]:
        raise RuntimeError("the report does not account for every picture")
    if len(memes(out)) != count:
        raise RuntimeError(f"{len(memes(out))} memes of {count}")


def measure(folder: Path, count: int, args) -> float:
    """Caption ``count`` pictures in one go; the peak memory in MB."""
    pictures, out = folder / f"p{count}", folder / f"m{count}"
    make_pictures(pictures, count, TINY if args.tiny else SIDE)
    started = time.perf_counter()
    peak = finish(start(pictures, out, args))
    seconds = time.perf_counter() - started
    check(out, count)
    print(f"{count:>7,} pictures: {seconds:7.1f} s, peak {peak:6.0f} MB", flush=True)
    return peak


def measure_interrupted(folder: Path, count: int, args) -> float:
    """The same, killed twice on the way; the highest peak in MB."""
    pictures, out = folder / f"p{count}", folder / f"m{count}"
    make_pictures(pictures, count, TINY if args.tiny else SIDE)
    process = start(pictures, out, args)
    peaks = [kill_when(process, lambda: embeddings(out), count // 2)]
    known = embeddings(out)
    print(f"{count:>7,} pictures: killed at encoding {known:,}", flush=True)
    process = start(pictures, out, args)
    peaks.append(kill_when(process, lambda: len(memes(out)), count // 2))
    kept = times_of(memes(out))  # none is torn: they are moved in
    print(f"{count:>7,} pictures: killed at writing {len(kept):,}", flush=True)
    started = time.perf_counter()
    peaks.append(finish(start(pictures, out, args)))
    seconds = time.perf_counter() - started
    check(out, count)
    again = sum(times_of([path])[path] != at for path, at in kept.items())
    print(
        f"{count:>7,} pictures: {seconds:7.1f} s for the rest, "
        f"peak {max(peaks):6.0f} MB; {again} of {len(kept):,} memes done twice"
    )
    if again:
        raise RuntimeError("work was done twice")
    started = time.perf_counter()
    finish(start(pictures, out, args))
    seconds = time.perf_counter() - started
    hidden = len(list((out / HIDDEN).iterdir()))
    print(f"{count:>7,} pictures: {seconds:7.1f} s when all is done")
    print(f"{hidden} files in {HIDDEN}")
    return max(peaks)


def main() -> int:
    """Print what was measured: 0 if memory is flat and nothing was lost."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--few", type=int, default=1_000, metavar="N")
    parser.add_argument("--many", type=int, default=10_000, metavar="N")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, metavar="N")
    parser.add_argument("--tiny", action="store_true", help="with a fake encoder")
    parser.add_argument("--run", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        caption_folder(args.run[0], CAPTIONS, args.run[1], FakeClip(), progress=False)
        return 0
    with tempfile.TemporaryDirectory() as name:
        few = measure(Path(name), args.few, args)
        many = measure_interrupted(Path(name), args.many, args)
    print(f"peak memory grows by {many - few:.0f} MB; at most {FLAT}")
    if many - few > FLAT:
        print("[FAIL] memory is not flat")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
