"""CLIP folders with random weights, in the format of those on the hub."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import string
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import safetensors.torch
import torch
from fake_clip import plain
from tokenizers import (
    Regex,
    Tokenizer,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTokenizer,
    SiglipConfig,
    SiglipModel,
)

from vlmtutor.__main__ import main

HUB_NAME = "openai/clip-vit-base-patch32"

# The architecture of OpenAI's ViT-B/32, with the token ids of its config.
VIT_B_32 = {
    "projection_dim": 512,
    "text_config": {
        "vocab_size": 49408,
        "hidden_size": 512,
        "intermediate_size": 2048,
        "num_hidden_layers": 12,
        "num_attention_heads": 8,
        "max_position_embeddings": 77,
        "hidden_act": "quick_gelu",
        "bos_token_id": 0,
        "pad_token_id": 1,
        "eos_token_id": 2,
    },
    "vision_config": {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "image_size": 224,
        "patch_size": 32,
        "hidden_act": "quick_gelu",
    },
}
# TinyCLIP's, as their model_configs have them; widths and lengths are whole.
TINYCLIP_8M = {
    "projection_dim": 512,
    "text_config": VIT_B_32["text_config"]
    | {
        "hidden_size": 256,
        "intermediate_size": 1024,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
    },
    "vision_config": VIT_B_32["vision_config"]
    | {
        "hidden_size": 256,
        "intermediate_size": 1024,
        "patch_size": 16,
        "num_hidden_layers": 10,
        "num_attention_heads": 4,
    },
}
TINYCLIP_40M = {
    "projection_dim": 512,
    "text_config": VIT_B_32["text_config"] | {"num_hidden_layers": 6},
    "vision_config": VIT_B_32["vision_config"]
    | {
        "hidden_size": 512,
        "intermediate_size": 2048,
        "num_attention_heads": 8,
    },
}
# SigLIP's base, as much of it as its config.json says: the rest is default.
SIGLIP_BASE = {
    "text_config": {"model_type": "siglip_text_model", "vocab_size": 32000},
    "vision_config": {"model_type": "siglip_vision_model"},
}
TINY_SIGLIP = {
    "text_config": {
        "vocab_size": 1200,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 12,
        "projection_size": 32,
    },
    "vision_config": {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 32,
        "patch_size": 8,
    },
}
TINY = {
    "projection_dim": 16,
    "text_config": VIT_B_32["text_config"]
    | {
        "vocab_size": 2000,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 20,
    },
    "vision_config": VIT_B_32["vision_config"]
    | {
        "hidden_size": 48,
        "intermediate_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "image_size": 32,
        "patch_size": 8,
    },
}


def write_tokenizer(folder: Path, vocab_size: int, length: int) -> None:
    """vocab.json and merges.txt in CLIP's format, filled to ``vocab_size``.

    Letters merge to pairs, triples and so on, with and without the mark of a
    word's end.  The two special tokens come last, as in CLIP's own.
    """
    letters = sorted(ByteLevel.alphabet())
    tokens = letters + [letter + "</w>" for letter in letters]
    merges = []
    room = vocab_size - len(tokens) - 2

    def pairs():
        for n in itertools.count(1):
            for head in itertools.product(string.ascii_lowercase, repeat=n):
                for last in string.ascii_lowercase:
                    yield "".join(head), last
                    yield "".join(head), last + "</w>"

    for first, second in itertools.islice(pairs(), room):
        merges.append(f"{first} {second}")
        tokens.append(first + second)
    start, end = "<|startoftext|>", "<|endoftext|>"
    vocab = {token: i for i, token in enumerate([*tokens, start, end])}
    lines = "\n".join(["#version: 0.2", *merges]) + "\n"
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": length,
        "bos_token": start,
        "eos_token": end,
        "unk_token": end,
        "pad_token": end,
    }
    (folder / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
    (folder / "merges.txt").write_text(lines, encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def write_clip(folder: Path, config: dict = TINY, seed: int = 0) -> Path:
    """A CLIP of that configuration as OpenAI's lies on the hub."""
    folder.mkdir(parents=True)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = CLIPModel(CLIPConfig(**config))
    model.save_pretrained(folder)
    text = config["text_config"]
    length = text["max_position_embeddings"]
    write_tokenizer(folder, text["vocab_size"], length)
    size = config["vision_config"]["image_size"]
    processor = {
        "feature_extractor_type": "CLIPFeatureExtractor",
        "do_resize": True,
        "size": size,
        "resample": 3,
        "do_center_crop": True,
        "crop_size": size,
        "do_normalize": True,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def only_tokenizer_json(folder: Path) -> Path:
    """The tokenizer in one file, and nothing else about it: TinyCLIP's way."""
    CLIPTokenizer.from_pretrained(folder).backend_tokenizer.save(
        str(folder / "tokenizer.json")
    )
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        (folder / name).unlink()
    assert {file.name for file in folder.iterdir()} == {
        "config.json",
        "preprocessor_config.json",
        "tokenizer.json",
        "model.safetensors",
    }
    return folder


def write_siglip(folder: Path, config: dict = TINY_SIGLIP, seed: int = 0) -> Path:
    """A SigLIP of that configuration as Google's lies on the hub."""
    folder.mkdir(parents=True)
    settings = SiglipConfig(**config)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = SiglipModel(settings)
    model.logit_scale.data.fill_(4.7)  # about what Google's are
    model.logit_bias.data.fill_(-12.9)
    model.save_pretrained(folder)
    text = {"model_type": "siglip", "architectures": ["SiglipModel"]} | config
    (folder / "config.json").write_text(json.dumps(text))
    _write_pieces(folder, settings.text_config.vocab_size)
    size = settings.vision_config.image_size
    processor = {
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "resample": 3,
        "image_processor_type": "SiglipImageProcessor",
        "processor_class": "SiglipProcessor",
        "rescale_factor": 1 / 255,
        "size": {"height": size, "width": size},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def _write_pieces(folder: Path, vocab_size: int) -> None:
    """tokenizer.json in SigLIP's format: pieces of words, lower case, no
    punctuation, ``</s>`` at the end and to fill up with.
    """
    letters = [*string.ascii_lowercase, *string.digits]
    pieces = ["<pad>", "</s>", "<unk>", *letters, *(f"▁{c}" for c in letters), "▁"]
    pairs = ["".join(p) for n in (2, 3) for p in itertools.product(letters, repeat=n)]
    pieces += [f"▁{pair}" for pair in pairs]
    scored = [(p, -float(len(letters)) / len(p)) for p in pieces[:vocab_size]]
    tokenizer = Tokenizer(models.Unigram(scored, unk_id=2))
    punctuation = Regex("[" + re.escape(string.punctuation) + "]")
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Lowercase(),
            normalizers.Replace(punctuation, ""),
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.Strip(),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "SiglipTokenizer",
        "model_input_names": ["input_ids"],
        "do_lower_case": True,
        "model_max_length": 64,
    } | dict.fromkeys(("pad_token", "eos_token"), "</s>")
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def memes_with(model: Path, folder: Path) -> int:
    """How ``memes`` ends with that model: one picture, into ``folder``/out."""
    (folder / "in").mkdir()
    plain("red").save(folder / "in" / "red.png")
    (folder / "c.txt").write_text("red\n")
    words = [folder / "in", "--captions", folder / "c.txt", "--out", folder / "out"]
    return main(["memes", *map(str, words), "--model", str(model)])


def edit_weights(folder: Path, change) -> None:
    """Apply ``change`` to the state dict in a folder, in place."""
    file = folder / "model.safetensors"
    weights = safetensors.torch.load_file(file)
    change(weights)
    safetensors.torch.save_file(weights, file, {"format": "pt"})


def write_cache(
    cache: Path, folder: Path, name: str = HUB_NAME, commit: str = "ab" * 20
) -> Path:
    """A hub cache that holds the folder's files as a model's main branch."""
    repo = cache / f"models--{name.replace('/', '--')}"
    snapshot = repo / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    for file in folder.iterdir():
        os.link(file, snapshot / file.name)
    return snapshot


class FakeHub:
    """A hub on this machine with one model; ``asked`` lists the requests.

    ``cuts``: how many bytes each next answer with weights brings before the
    line breaks. ``hangs``: the name of a file that never comes. ``extra``:
    names that it lists besides. ``branch`` is another name of the commit.
    """

    def __init__(
        self, folder: Path, name: str, commit: str, hangs="", extra=(), branch=None
    ):
        self.asked: list[str] = []
        self.cuts: list[int] = []
        self.files = {f.name: f.read_bytes() for f in folder.iterdir()}
        self.released = threading.Event()
        hub, api, resolve = self, f"/api/models/{name}", f"/{name}/resolve/{commit}/"

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def reply(self, body: bytes, code=200, cut=None, **headers) -> None:
                self.send_response(code)
                self.send_header("Content-Length", str(len(body)))
                for key, value in headers.items():
                    self.send_header(key.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(body[:cut])
                self.close_connection = cut is not None

            def do_GET(self) -> None:
                path = self.path.split("?")[0]
                start = self.headers.get("Range", "bytes=0-")[6:-1]
                hub.asked.append(f"{path} from {start}")
                if path == f"{api}/revision/{branch or commit}":
                    self.reply(json.dumps(hub.info(name, commit, extra)).encode())
                elif path.startswith(resolve):
                    self.send_file(path.removeprefix(resolve), int(start))
                else:
                    self.reply(b"{}", 404, X_Error_Code="RepoNotFound")

            def send_file(self, file: str, start: int) -> None:
                if file == hangs:
                    hub.released.wait(60)
                    return
                body = hub.files[file]
                weights = file == "model.safetensors"
                cut = hub.cuts.pop(0) if weights and hub.cuts else None
                if start >= len(body) > 0:
                    self.reply(b"", 416)
                else:
                    self.reply(body[start:], 206 if start else 200, cut)

            def log_message(self, *args) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def info(self, name: str, commit: str, extra) -> dict:
        """What the hub tells about the model, with sizes and digests."""
        rows = [{"rfilename": file, "size": 1} for file in extra]
        for file, data in self.files.items():
            row = {"rfilename": file, "size": len(data)}
            if file.endswith((".safetensors", ".bin")):
                digest = hashlib.sha256(data).hexdigest()
                row["lfs"] = {"sha256": digest, "size": len(data), "pointerSize": 1}
            rows.append(row)
        return {"id": name, "sha": commit, "siblings": rows}

    def __enter__(self) -> FakeHub:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error) -> None:
        self.released.set()
        self.server.shutdown()
        self.server.server_close()
