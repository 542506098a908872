"""Ray encodes what one process encodes, and loses nothing when one dies."""

import os
import signal
from pathlib import Path

import pytest
import torch
from fake_clip import ColourClip, plain

from vlmtutor.memes import Embedder, EmbeddingCache, spread

pytest.importorskip("ray.data", reason='needs Ray: pip install "ray[data]"')
import ray  # noqa: E402

TESTS = Path(__file__).parent


class Mortal(ColourClip):
    """Its first process is killed in the middle of its work."""

    def __init__(self, mark: Path):
        super().__init__()
        self.mark = str(mark)

    def encode_images(self, images):
        try:
            os.close(os.open(self.mark, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return super().encode_images(images)
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def cluster():
    path = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": path}},
    )
    yield
    ray.shutdown()


def test_two_workers_give_what_one_process_gives(cluster, tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for n in range(24):
        color = ("red", "green", "blue")[n % 3]
        plain(color, (40 + n, 40)).save(pictures / f"{n:02}.png")
    (pictures / "broken.png").write_bytes(b"no picture")
    paths = sorted(pictures.iterdir())
    wanted = list(Embedder(ColourClip(), EmbeddingCache()).images(paths))

    mark = tmp_path / "killed"
    clip, told = Mortal(mark), []
    embedder = Embedder(clip, EmbeddingCache(tmp_path / "cache"), batch_size=4)
    filled = spread.fill(embedder, paths, lambda *counts: told.append(counts))
    assert filled == 25 and told[-1] == (25, 25)
    assert mark.exists()  # one died
    found = list(embedder.images(paths))
    assert clip.images == []  # nothing was left to do here
    for one, other in zip(found, wanted, strict=True):
        if isinstance(other, torch.Tensor):
            torch.testing.assert_close(one, other)
        else:
            assert str(one) == str(other)
    assert ray.is_initialized()  # a cluster of somebody else goes on
