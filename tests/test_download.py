"""Models from the hub: fetched once, gone on with, given up in time."""

import hashlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import time

import pytest
from clip_folders import HUB_NAME, FakeHub, write_clip
from huggingface_hub import constants

import vlmtutor.models.hub as hub
from vlmtutor.models import ModelNotFound, catalog, fetch, load_clip

PINNED = catalog.PINNED[HUB_NAME]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clip") / "tiny")


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def test_no_hub_in_reach_is_one_error(cache, no_network):
    start = time.perf_counter()
    with pytest.raises(ModelNotFound, match="the hub http.*Error"):
        load_clip(HUB_NAME, download=True)
    assert time.perf_counter() - start < 5
    assert no_network  # it did ask


def test_a_hub_that_hangs_is_given_up(cache, no_network, monkeypatch):
    release = threading.Event()
    asked = []

    def hang(*args, **kwargs):
        asked.append(args)
        release.wait(60)
        raise OSError("no host")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    monkeypatch.setattr(socket, "create_connection", hang)
    start = time.perf_counter()
    try:
        with pytest.raises(ModelNotFound, match="no answer within 4 seconds"):
            hub.download()
    finally:
        release.set()
    assert time.perf_counter() - start < 5 and asked


def test_offline_mode_is_obeyed(cache, no_network, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelNotFound, match="HF_HUB_OFFLINE"):
        load_clip(HUB_NAME, download=True)
    assert no_network == []


def run_download(url, cache, name=HUB_NAME):
    """The command in a fresh process that sees only the fake hub."""
    environment = os.environ | {
        "HF_ENDPOINT": url,
        "HF_HUB_CACHE": str(cache),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
        "NO_PROXY": "127.0.0.1",
        "PYTHONIOENCODING": "utf-8",
    }
    return subprocess.run(
        [sys.executable, "-m", "vlmtutor", "download", name],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def reach(cache, monkeypatch):
    """Enter a fake hub in this process: ``reach(fake)``."""

    def enter(fake):
        monkeypatch.setattr(constants, "ENDPOINT", fake.url)
        # The addresses of files are made when the client is first loaded.
        monkeypatch.setattr(
            constants,
            "HUGGINGFACE_CO_URL_TEMPLATE",
            fake.url + "/{repo_id}/resolve/{revision}/{filename}",
        )
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        return fake

    return enter


def same_files(cached, folder, *left_out):
    names = {file.name for file in folder.iterdir()} - set(left_out)
    assert {file.name for file in cached.iterdir()} == names
    for name in names:
        assert (cached / name).read_bytes() == (folder / name).read_bytes()


def test_the_command_takes_the_pinned_safetensors_only(copy, cache):
    (copy / "pytorch_model.bin").write_bytes(b"never fetched")
    (copy / "tf_model.h5").write_bytes(b"never fetched")
    extra = ("../evil.json", "onnx/config.json", "a\\b.json", ".hidden.json")
    with FakeHub(copy, HUB_NAME, PINNED, extra=extra) as fake:
        run = run_download(fake.url, cache)
    assert run.returncode == 0, run.stderr
    assert "fetching openai/clip-vit-base-patch32 (605 MB, MIT)" in run.stdout
    assert PINNED in run.stdout
    assert "100%" in run.stderr  # a progress bar
    assert any("model.safetensors" in line for line in fake.asked)
    fetched = [line for line in fake.asked if "resolve" in line]
    assert len(fetched) == len(list(copy.iterdir())) - 2
    assert load_clip(HUB_NAME).image_size == 32
    same_files(hub.download(), copy, "pytorch_model.bin", "tf_model.h5")


def test_a_model_with_pickles_only_is_not_fetched(copy, cache):
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with FakeHub(copy, HUB_NAME, PINNED) as fake:
        run = run_download(fake.url, cache)
    assert run.returncode == 1 and "refused" in run.stderr
    assert not any("resolve" in line for line in fake.asked)


def test_an_unpinned_model_is_found_again_by_its_name(copy, reach):
    with reach(FakeHub(copy, "some/clip", "ab" * 20, branch="main")):
        same_files(hub.download("some/clip"), copy)
    assert hub.is_cached("some/clip") and not hub.is_cached()


def test_a_line_that_breaks_is_taken_up_again(copy, reach):
    size = (copy / "model.safetensors").stat().st_size
    told = []
    with reach(FakeHub(copy, HUB_NAME, PINNED)) as fake:
        fake.cuts = [size // 3, 1000, 1]
        cached = hub.download(HUB_NAME, lambda done, total: told.append((done, total)))
    same_files(cached, copy)
    starts = [int(a.split()[-1]) for a in fake.asked if "model.safetensors" in a]
    assert starts == [0, size // 3, size // 3 + 1000, size // 3 + 1001]
    total = sum(file.stat().st_size for file in copy.iterdir())
    assert told[-1] == (total, total) and told == sorted(told)


def test_another_process_goes_on_where_the_first_stopped(copy, reach):
    size = (copy / "model.safetensors").stat().st_size
    with reach(FakeHub(copy, HUB_NAME, PINNED)) as fake:
        fake.cuts = [size // 2, 0]
        with pytest.raises(ModelNotFound, match="Error"):
            hub.download()
        assert not hub.is_cached()
        first = [line for line in fake.asked if "resolve" in line]
        same_files(hub.download(), copy)
    again = [line for line in fake.asked if "resolve" in line][len(first) :]
    assert again[0].endswith(f"model.safetensors from {size // 2}")
    assert not {line.split()[0] for line in first[:-2]} & {
        line.split()[0] for line in again
    }


def test_what_was_whole_when_it_stopped_is_not_fetched_again(copy, reach, cache):
    part = cache / f"models--{HUB_NAME.replace('/', '--')}" / "blobs"
    part.mkdir(parents=True)
    shutil.copy(
        copy / "model.safetensors", part / f"{PINNED}.model.safetensors.incomplete"
    )
    with reach(FakeHub(copy, HUB_NAME, PINNED)):
        same_files(hub.download(), copy)


@pytest.mark.parametrize("junk", [b"no weights", b"x" * 3_000_000])
def test_what_came_damaged_is_said_and_fetched_anew(copy, reach, cache, junk):
    part = cache / f"models--{HUB_NAME.replace('/', '--')}" / "blobs"
    part.mkdir(parents=True)
    (part / f"{PINNED}.model.safetensors.incomplete").write_bytes(junk)
    with reach(FakeHub(copy, HUB_NAME, PINNED)):
        with pytest.raises(ModelNotFound, match="model.safetensors came damaged"):
            hub.download()
        assert not hub.is_cached()
        same_files(hub.download(), copy)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "vocab.json"])
def test_a_hub_that_stalls_is_given_up(copy, reach, monkeypatch, name):
    monkeypatch.setattr(fetch, "STALL_SECONDS", 1)
    start = time.perf_counter()
    with reach(FakeHub(copy, HUB_NAME, PINNED, hangs=name)):
        with pytest.raises(ModelNotFound) as error:
            hub.download()
    assert time.perf_counter() - start < 10
    said = str(error.value)
    assert f"no answer within 1 seconds while waiting for {name}" in said
    assert "MB are here" in said and "Ways on" in said


def test_half_a_minute_is_the_limit():
    assert fetch.STALL_SECONDS == 30


def test_a_host_that_is_not_found_in_the_middle_is_given_up(
    copy, reach, monkeypatch, cache
):
    monkeypatch.setattr(fetch, "STALL_SECONDS", 1)
    release = threading.Event()
    with reach(FakeHub(copy, HUB_NAME, PINNED)):
        monkeypatch.setattr(fetch, "_stream", lambda *a: release.wait(60))
        with pytest.raises(ModelNotFound, match="no answer within 1 seconds"):
            hub.download()
    release.set()


def test_two_that_fetch_at_once_do_not_mix(copy, reach):
    found, errors = [], []

    def work():
        try:
            found.append(hub.download(HUB_NAME, lambda done, total: None))
        except Exception as error:
            errors.append(error)

    with reach(FakeHub(copy, HUB_NAME, PINNED)):
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not errors and len(found) == 4
    same_files(found[0], copy)
    digest = hashlib.sha256((copy / "model.safetensors").read_bytes())
    cached = hashlib.sha256((found[0] / "model.safetensors").read_bytes())
    assert cached.digest() == digest.digest()
