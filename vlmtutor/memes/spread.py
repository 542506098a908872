"""Decode and encode pictures with Ray Data, on the cores of many machines.

Ray hands batches of paths to processes and starts those again that die. All
machines must see the pictures under the same paths. What comes back goes into
the embedder's cache, so that everything after it is as without Ray: what was
lost on the way is encoded here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from .cache import EmbeddingCache
from .embed import Embedder


def fill(
    embedder: Embedder,
    paths: Sequence[Path],
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Fill the cache with the embeddings of pictures: how many were missing.

    Files are read here once, to see which the cache lacks. Joins the cluster
    that ``RAY_ADDRESS`` names or that ``ray.init`` has joined; without one,
    starts one of its own and ends it. Raises ImportError without Ray.
    """
    try:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent
        import ray
        import ray.data
    except ImportError:
        text = "engine 'ray' needs Ray Data: pip install \"ray[data]\""
        raise ImportError(text) from None
    missing = [str(path) for path in embedder.missing(paths)]
    if not missing:
        return 0
    is_ours = not ray.is_initialized()
    if is_ours:
        ray.init(include_dashboard=False, log_to_driver=False)
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        cores = max(1, int(ray.cluster_resources().get("CPU", 1)))
        rows = ray.data.from_items([{"path": path} for path in missing]).map_batches(
            _Encoder,
            fn_constructor_args=(ray.put(embedder.clip), embedder.precision),
            batch_size=embedder.batch_size,
            concurrency=(1, cores),
            num_cpus=1,
        )
        done = 0
        for batch in rows.iter_batches(batch_size=embedder.batch_size):
            whole = [k for k, digest in enumerate(batch["digest"]) if digest]
            embedder.add(
                [bytes.fromhex(batch["digest"][k]) for k in whole],
                torch.from_numpy(np.stack(batch["row"])[whole].astype(np.float32)),
            )
            done += len(batch["digest"])
            if progress:
                progress(done, len(missing))
    finally:
        if is_ours:
            ray.shutdown()
    return len(missing)


class _Encoder:
    """What runs in a process of Ray: paths to embeddings and digests."""

    def __init__(self, clip, precision: str):
        import ray

        torch.set_num_threads(1)
        clip = ray.get(clip) if isinstance(clip, ray.ObjectRef) else clip
        self.embedder = Embedder(clip, EmbeddingCache(limit=0), precision)

    def __call__(self, batch: dict) -> dict:
        found = list(self.embedder.contents(batch["path"].tolist()))
        none = "", torch.zeros(self.embedder.size)  # no picture
        digests, rows = zip(
            *(
                (digest.hex(), row) if isinstance(row, torch.Tensor) else none
                for digest, row in found
            ),
            strict=True,
        )
        return {"digest": list(digests), "row": torch.stack(rows).numpy()}
