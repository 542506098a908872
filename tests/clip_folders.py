"""CLIP folders with random weights, in the format of those on the hub."""

from __future__ import annotations

import itertools
import json
import os
import string
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import safetensors.torch
import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPConfig, CLIPModel

HUB_NAME = "openai/clip-vit-base-patch32"

# The architecture of OpenAI's ViT-B/32, with the token ids of its config.
VIT_B_32 = {
    "projection_dim": 512,
    "text_config": {
        "vocab_size": 49408, "hidden_size": 512, "intermediate_size": 2048,
        "num_hidden_layers": 12, "num_attention_heads": 8,
        "max_position_embeddings": 77, "hidden_act": "quick_gelu",
        "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2,
    },
    "vision_config": {
        "hidden_size": 768, "intermediate_size": 3072,
        "num_hidden_layers": 12, "num_attention_heads": 12,
        "image_size": 224, "patch_size": 32, "hidden_act": "quick_gelu",
    },
}  # fmt: skip
TINY = {
    "projection_dim": 16,
    "text_config": VIT_B_32["text_config"] | {
        "vocab_size": 2000, "hidden_size": 32, "intermediate_size": 64,
        "num_hidden_layers": 2, "num_attention_heads": 4,
        "max_position_embeddings": 20,
    },
    "vision_config": VIT_B_32["vision_config"] | {
        "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 3,
        "num_attention_heads": 4, "image_size": 32, "patch_size": 8,
    },
}  # fmt: skip


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
    """A hub on this machine with one model; ``asked`` lists the requests."""

    def __init__(self, folder: Path, name: str, commit: str):
        self.asked: list[str] = []
        files = {f.name: f.read_bytes() for f in folder.iterdir()}
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def reply(self, body: bytes, code: int = 200, **headers) -> None:
                self.send_response(code)
                self.send_header("Content-Length", str(len(body)))
                for key, value in headers.items():
                    self.send_header(key.replace("_", "-"), value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def do_GET(self) -> None:
                path = self.path.split("?")[0]
                asked.append(f"{self.command} {path}")
                api, resolve = f"/api/models/{name}/", f"/{name}/resolve/"
                if path == f"{api}revision/{commit}":
                    rows = [{"rfilename": f} for f in files]
                    info = {"id": name, "sha": commit, "siblings": rows}
                    self.reply(json.dumps(info).encode())
                elif path == f"{api}tree/{commit}":
                    rows = [
                        {
                            "type": "file",
                            "path": f,
                            "size": len(data),
                            "oid": f"{i:040x}",
                        }
                        for i, (f, data) in enumerate(files.items())
                    ]
                    self.reply(json.dumps(rows).encode())
                elif path.startswith(f"{resolve}{commit}/"):
                    file = path.rsplit("/", 1)[1]
                    tag = f'"{list(files).index(file):040x}"'
                    self.reply(files[file], ETag=tag, X_Repo_Commit=commit)
                else:
                    self.reply(b"{}", 404, X_Error_Code="RepoNotFound")

            do_HEAD = do_GET

            def log_message(self, *args) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> FakeHub:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error) -> None:
        self.server.shutdown()
        self.server.server_close()
