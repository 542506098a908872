"""Where a CLIP comes from: shipped, in a folder, cached, or from the hub.

Nothing here asks the network unless it is told to download, and no weights
are read but safetensors: a pickle can run code when it is opened.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import huggingface_hub as hf
from huggingface_hub import constants
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from huggingface_hub.utils import are_progress_bars_disabled, validate_repo_id

if TYPE_CHECKING:
    from .clip import Clip, ImageSettings

STICKERCLIP = Path(__file__).parent / "stickerclip"
DEFAULT_HUB_NAME = "openai/clip-vit-base-patch32"
# The hub's conversion of OpenAI's weights to safetensors.  Its main branch
# (3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268) holds the same weights, but only
# pickled.
PINNED = {DEFAULT_HUB_NAME: "c237dc49a33fc61debc9276459120b7eac67e7ef"}
DOWNLOAD_MB = {DEFAULT_HUB_NAME: 610}
WANTED = ("*.json", "merges.txt", "model.safetensors", "model-*.safetensors")
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
HUB_SECONDS = 4  # how long the hub may take to say that it is there


class ModelNotFound(RuntimeError):
    """No usable CLIP: says what was looked for, and the ways on."""


def _not_found(name, looked: list[str]) -> ModelNotFound:
    lines = [f"no usable CLIP under the name {str(name)!r}", "Looked for:"]
    lines += [f"  - {line}" for line in looked]
    size = f"{DOWNLOAD_MB[DEFAULT_HUB_NAME]} MB"
    lines += [
        "Ways on:",
        "  - vt.load_clip() opens the shipped StickerCLIP, without a network",
        f"  - python -m vlmtutor download gets {DEFAULT_HUB_NAME} ({size})",
        "  - vt.load_clip(name, download=True) asks the hub for any name",
        "  - vt.load_clip('path/to/folder') opens a folder from elsewhere",
    ]
    return ModelNotFound("\n".join(lines))


def _pickle_note(names: list[str]) -> str:
    pickled = sorted(n for n in names if n.endswith(PICKLED))
    if not pickled:
        return "no model.safetensors"
    return (
        f"no model.safetensors, only pickled weights ({', '.join(pickled)}), "
        "which are refused: opening a pickle can run any code"
    )


def _faults(folder: Path) -> list[str]:
    """What keeps a folder from being a CLIP; empty when all is there."""

    def has(*names: str) -> bool:
        return all((folder / name).is_file() for name in names)

    faults = []
    if not has("config.json"):
        faults.append("no config.json")
    else:
        try:
            text = (folder / "config.json").read_text(encoding="utf-8")
            kind = json.loads(text).get("model_type")
        except (ValueError, AttributeError):
            faults.append("config.json is no JSON object")
        else:
            if kind != "clip":
                faults.append(f"config.json describes a {kind!r}, not a 'clip'")
    if not has("model.safetensors") and not has("model.safetensors.index.json"):
        faults.append(_pickle_note([file.name for file in folder.iterdir()]))
    if not has("tokenizer.json") and not has("vocab.json", "merges.txt"):
        faults.append("no tokenizer.json, nor vocab.json with merges.txt")
    if not has("preprocessor_config.json") and not has("processor_config.json"):
        faults.append("no preprocessor_config.json")
    return faults


def _snapshots(name: str) -> Iterator[Path]:
    """Folders of a hub model in the local cache, the pinned one first."""
    for revision in (PINNED.get(name), constants.DEFAULT_REVISION):
        if revision:
            file = hf.try_to_load_from_cache(name, "config.json", revision=revision)
            if isinstance(file, (str, os.PathLike)):
                yield Path(file).parent


def _cached(name: str) -> tuple[Path | None, str]:
    """The cached folder of a hub model, or None, and a line on the search."""
    line = f"the cache {constants.HF_HUB_CACHE}: it does not hold {name}"
    for folder in _snapshots(name):
        faults = _faults(folder)
        if not faults:
            return folder, ""
        line = f"the cache, {folder}: {'; '.join(faults)}"
    return None, line


def is_cached(name: str = DEFAULT_HUB_NAME) -> bool:
    """Whether ``load_clip(name)`` can open a hub model without a network."""
    try:
        return _cached(name)[0] is not None
    except HFValidationError:
        return False


def download_size_mb(name: str = DEFAULT_HUB_NAME) -> int | None:
    """Megabytes that a download fetches; None where that is not known."""
    return DOWNLOAD_MB.get(name)


def _hub_files(name: str, revision: str) -> list[str]:
    """The file names of a model on the hub: one question, a few seconds.

    Asked from a thread, as looking up a host has no time limit of its own.
    Raises what the hub's client raises, and TimeoutError.
    """
    answer: dict = {}

    def ask() -> None:
        try:
            info = hf.HfApi().model_info(name, revision=revision, timeout=HUB_SECONDS)
            answer["files"] = [file.rfilename for file in info.siblings or []]
        except Exception as error:  # handed on to the asking thread
            answer["error"] = error

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(HUB_SECONDS)
    if "error" in answer:
        raise answer["error"]
    if "files" not in answer:
        raise TimeoutError(f"no answer within {HUB_SECONDS} seconds")
    return answer["files"]


def _download(name: str) -> tuple[Path | None, str]:
    """Fetch a hub model into the cache: its folder, or None and why."""
    revision = PINNED.get(name, constants.DEFAULT_REVISION)
    hub = f"the hub {constants.ENDPOINT}"
    try:
        files = _hub_files(name, revision)
        if not any(file.endswith(".safetensors") for file in files):
            return None, f"{hub}: {_pickle_note(files)}"
        path = hf.snapshot_download(
            name,
            revision=revision,
            allow_patterns=list(WANTED),
            etag_timeout=HUB_SECONDS,
        )
    except OfflineModeIsEnabled:
        return None, f"{hub}: not asked, as HF_HUB_OFFLINE is set"
    except GatedRepoError:
        return None, f"{hub}: {name} is only for those who log in there"
    except RepositoryNotFoundError:
        return None, f"{hub}: it has no public model {name}"
    except Exception as error:  # the client's HTTP library is its own affair
        reason = str(error).splitlines()[0] if str(error) else ""
        return None, f"{hub}: {type(error).__name__} {reason}".rstrip()
    faults = _faults(Path(path))
    return (None, f"{path}: {'; '.join(faults)}") if faults else (path, "")


def _find_hub_model(name: str, download: bool) -> Path:
    looked = [f"a folder {Path(name).expanduser().absolute()}: there is none"]
    try:
        validate_repo_id(name)
    except HFValidationError:
        looked.append("a model on the hub: this cannot be the name of one")
        raise _not_found(name, looked) from None
    folder, line = _cached(name)
    if folder is None:
        looked.append(line)
        if download:
            folder, line = _download(name)
        else:
            line = f"the hub {constants.ENDPOINT}: not asked"
        looked.append(line)
    if folder is None:
        raise _not_found(name, looked)
    return Path(folder)


def download(name: str = DEFAULT_HUB_NAME) -> Path:
    """The cached folder of a hub model, fetched first where it is missing.

    Only safetensors, tokenizer and settings are fetched, with a progress bar;
    OpenAI's ViT-B/32 at a pinned revision.  Raises ModelNotFound within
    seconds when the hub cannot be reached.
    """
    return _find_hub_model(name, download=True)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from reporting on each opened model."""
    from transformers.utils import logging

    bars, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    hub_bars = not are_progress_bars_disabled()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars and hub_bars:
            logging.enable_progress_bar()


def _image_settings(folder: Path) -> ImageSettings:
    from .clip import ImageSettings

    file = folder / "preprocessor_config.json"
    if not file.is_file():  # newer folders keep all processors in one file
        file = folder / "processor_config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    return ImageSettings.from_config(config.get("image_processor", config))


def _open(folder: Path, name: str) -> Clip:
    faults = _faults(folder)
    if faults:
        raise _not_found(name, [f"{folder}: {fault}" for fault in faults])
    import torch
    from transformers import AutoTokenizer, CLIPModel

    from .clip import Clip

    try:
        with quiet():
            model, report = CLIPModel.from_pretrained(
                folder,
                dtype=torch.float32,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
            )
            tokenizer = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
        settings = _image_settings(folder)
    except Exception as error:  # torch, safetensors, tokenizers: each its own
        line = f"{folder}: {type(error).__name__}: {error}"
        raise _not_found(name, [line]) from error
    # transformers fills what is missing with random numbers.
    if missing := sorted(report["missing_keys"]):
        line = f"{folder}: {len(missing)} weights are missing ({missing[0]} …)"
        raise _not_found(name, [line])
    return Clip(model, tokenizer, settings, name)


def load_clip(name: str | Path | None = None, download: bool = False) -> Clip:
    """Open a CLIP in fp32: StickerCLIP, or a folder, or one from the hub.

    ``name`` is a folder in the format of ``transformers`` or a name on the
    hub, such as "openai/clip-vit-base-patch32".  A hub model is taken from
    the local cache; only with ``download`` is the network asked, with a short
    time limit.  Raises ModelNotFound, which says how to go on.
    """
    if name is None or str(name).lower() == "stickerclip":
        if not STICKERCLIP.is_dir():
            raise _not_found("StickerCLIP", [f"{STICKERCLIP}: no such folder"])
        return _open(STICKERCLIP, "StickerCLIP")
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _open(folder, folder.resolve().name)
    return _open(_find_hub_model(str(name), download), str(name))
