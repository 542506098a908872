"""A folder in the hub's format: what must be in it, and how it is opened.

Folders come from anywhere, so the files are read here and the library gets
what was read, no path: by itself it would follow what a folder asks for, to
pickles, adapters, other files or kernels.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from .clip import Clip

KINDS = ("clip", "siglip")
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
LARGEST = 1_000_000  # no width, length or vocabulary is as large
DEEPEST = 100  # nor any model of so many layers
SAME = 1e-6  # how far apart two embeddings are that ought to be one
COUNTS = "position_ids"  # 0, 1, 2 …, which older files hold and nobody reads
QUANTISED = "its weights are quantised ({}): use those in float32 or float16"
TOP = ("projection_dim", "logit_scale_init_value", "initializer_factor")


class Unusable(ValueError):
    """A folder that is no CLIP: ``args`` are lines that say why."""


def faults(folder: Path) -> list[str]:
    """What keeps a folder from being a CLIP; empty when all is there.

    Looks at names and small files only; opening it looks at the rest.
    """

    def has(*names: str) -> bool:
        return all((folder / name).is_file() for name in names)

    found, kind = [], None
    try:
        config = _read_object(folder / "config.json")
        kind = config.get("model_type")
        if kind not in KINDS:
            found.append(f"config.json describes a {kind!r}, not a 'clip'")
        if config.get("quantization_config"):
            found.append(QUANTISED.format("config.json has a quantization_config"))
    except Unusable as reason:
        found += reason.args
    try:
        weight_files(folder)
    except Unusable as reason:
        found += reason.args
    if kind == "siglip" and not has("tokenizer.json"):
        found.append("no tokenizer.json")
    elif not has("tokenizer.json") and not has("vocab.json", "merges.txt"):
        found.append("no tokenizer.json, nor vocab.json with merges.txt")
    if not has("preprocessor_config.json") and not has("processor_config.json"):
        found.append("no preprocessor_config.json")
    return found


def _read_object(file: Path) -> dict:
    """The JSON object in a file; Unusable if there is none."""
    if not file.is_file():
        raise Unusable(f"no {file.name}")
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise Unusable(f"{file.name} is no JSON object")
    return value


def weight_files(folder: Path) -> list[Path]:
    """The safetensors of a folder, all there; Unusable for anything else."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if not (folder / INDEX).is_file():
        raise Unusable(pickle_note(file.name for file in folder.iterdir()))
    shards = _read_object(folder / INDEX).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise Unusable(f"{INDEX} has no weight_map")
    names = sorted(set(map(str, shards.values())))
    for name in names:
        if not re.fullmatch(r"\w[\w.-]*\.safetensors", name):
            raise Unusable(f"{INDEX} names {name!r}: only safetensors beside it")
        if not (folder / name).is_file():
            raise Unusable(f"no {name}, which {INDEX} names")
    return [folder / name for name in names]


def pickle_note(names: Iterator[str]) -> str:
    """What there is in place of safetensors."""
    pickled = sorted(name for name in names if name.endswith(PICKLED))
    if not pickled:
        return f"no {WEIGHTS}"
    return (
        f"no {WEIGHTS}, only pickled weights ({', '.join(pickled)}), "
        "which are refused: opening a pickle can run any code"
    )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from reporting on each opened model."""
    from huggingface_hub.utils import are_progress_bars_disabled
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


def open_folder(folder: Path, name: str) -> Clip:
    """The CLIP in a folder, in fp32 on the CPU; Unusable, and then why."""
    if found := faults(folder):
        raise Unusable(*found)
    from .device import usual_torch

    try:
        with usual_torch(), quiet():
            clip = _build(folder, name)
            _try(clip)
    except Unusable:
        raise
    except Exception as error:  # torch, safetensors, tokenizers: each its own
        raise Unusable(f"{type(error).__name__}: {error}") from error
    return clip


def _build(folder: Path, name: str) -> Clip:
    import torch
    import transformers as hf
    from safetensors.torch import load_file

    from .clip import Clip
    from .image_settings import ImageSettings

    config = _read_object(folder / "config.json")
    kind = config["model_type"]
    models = {
        "clip": (hf.CLIPConfig, hf.CLIPModel, hf.AutoTokenizer),
        # Its own tokenizer class would want one more package.
        "siglip": (hf.SiglipConfig, hf.SiglipModel, hf.PreTrainedTokenizerFast),
    }
    settings, model, tokenizer = models[kind]
    settings = settings(**_plain(config))
    weights: dict[str, Tensor] = {}
    for file in weight_files(folder):
        # Copied: what is read in place would change, or crash, with the file.
        weights |= {key: value.clone() for key, value in load_file(file).items()}
    for key, value in weights.items():
        # Each maker scales them in a way of its own; unscaled they are others.
        whole = value.is_floating_point() and value.element_size() > 1
        if not whole and not key.endswith(COUNTS):
            raise Unusable(QUANTISED.format(f"{key} is {value.dtype}"))
    with torch.device("meta"):  # takes no memory, whatever the file says
        wanted = model(settings).state_dict()
    for key in sorted(weights.keys() & wanted.keys()):
        shapes = list(weights[key].shape), list(wanted[key].shape)
        if shapes[0] != shapes[1]:
            text = "{} is {} in the weights, {} by config.json"
            raise Unusable(text.format(key, *shapes))
    model, report = model.from_pretrained(
        None,
        config=settings,
        state_dict=weights,
        dtype=torch.float32,
        attn_implementation="sdpa",
        output_loading_info=True,
    )
    # transformers fills what is missing with random numbers.
    if missing := sorted(report["missing_keys"]):
        raise Unusable(f"{len(missing)} weights are missing ({missing[0]} …)")
    extra = sorted(k for k in report["unexpected_keys"] if not k.endswith(COUNTS))
    if extra:
        text = f"{len(extra)} weights have no place in what config.json describes"
        raise Unusable(f"{text} ({extra[0]} …)")
    tokenizer = tokenizer.from_pretrained(
        folder, config=settings, local_files_only=True, trust_remote_code=False
    )
    if tokenizer.pad_token is None:
        pad = model.config.text_config.pad_token_id
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(pad)
    pictures = folder / "preprocessor_config.json"
    if not pictures.is_file():  # newer folders keep all processors in one file
        pictures = folder / "processor_config.json"
    pictures = _read_object(pictures)
    pictures = pictures.get("image_processor", pictures)
    return Clip(model, tokenizer, ImageSettings.from_config(pictures, kind), name)


def _plain(config: dict) -> dict:
    """Of a configuration what describes the two towers; Unusable if absurd.

    Left out is what makes the library do more than build them, such as
    quantisation, other kernels for attention, or weights by another name.
    """
    towers = {}
    for tower in ("text_config", "vision_config"):
        fields = config.get(tower) or config.get(f"{tower}_dict") or {}
        if not isinstance(fields, dict):
            raise Unusable(f"config.json: {tower} is no JSON object")
        towers[tower] = {
            key: value
            for key, value in fields.items()
            if isinstance(value, (int, float, str))
            and not key.startswith("_")
            and "implementation" not in key
            and key not in ("transformers_weights", "dtype", "torch_dtype")
        }
        for key, value in towers[tower].items():
            limit = DEEPEST if "layers" in key else LARGEST
            if isinstance(value, (int, float)) and not abs(value) <= limit:
                raise Unusable(f"config.json: {key} is {value}")
    return {key: config[key] for key in TOP if key in config} | towers


def _try(clip: Clip) -> None:
    """Unusable if the numbers in the files cannot be worked with."""
    from PIL import Image

    tensors = [*clip.model.named_parameters(), *clip.model.named_buffers()]
    broken = [  # a finite sum costs little and settles it
        name for name, t in tensors if not (t.sum().isfinite() or t.isfinite().all())
    ]
    if broken:
        raise Unusable(
            f"{len(broken)} of {len(tensors)} tensors hold NaN or infinity "
            f"({broken[0]} …): its training diverged, or the file is damaged"
        )
    if not 0 < clip.logit_scale < math.inf:
        raise Unusable(f"its logit scale is {clip.logit_scale}")
    pixels, side = clip.preprocess([Image.new("RGB", (3, 2))]), clip.image_size
    if pixels.shape[1:] != (3, side, side) or not pixels.isfinite().all():
        size = " x ".join(map(str, pixels.shape[2:]))
        raise Unusable(
            f"its processor makes pictures of {size} px from {pixels.min():.3g} "
            f"to {pixels.max():.3g}, where the model takes {side} x {side}"
        )
    _try_texts(clip)


def _try_texts(clip: Clip) -> None:
    """Unusable if the tokenizer is not the model's, or texts come to nothing.

    The second text begins as the first does: where a CLIP finds no end of a
    text, it reads the beginning alone.
    """
    from .clip import FOREIGN

    length = clip.model.config.text_config.max_position_embeddings
    texts = ["a", "a photo", "a photo " * length]
    alike = f"{FOREIGN}: 'a' and 'a photo' are the same to it"
    known = clip.tokenizer.get_vocab()
    own = known.keys() - clip.tokenizer.get_added_vocab().keys()
    try:
        ids = clip.unchecked_tokens(texts)["input_ids"]
    except Exception as error:  # as in open_folder
        raise Unusable(f"{FOREIGN}: {error}") from error
    own_ids = [known[token] for token in own]
    if fault := clip.unknown_token([*ids.flatten().tolist(), *own_ids]):
        raise Unusable(fault)
    if ids[0].equal(ids[1]):
        raise Unusable(alike)
    try:
        first, second, _ = clip.encode_texts(texts, batch_size=2)
    except ValueError as error:  # what they come to is no direction
        raise Unusable(*error.args) from error
    if (first - second).abs().max() < SAME:
        raise Unusable(alike)
