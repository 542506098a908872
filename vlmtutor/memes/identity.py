"""Tell one model from another by what is in it."""

from __future__ import annotations

import hashlib
import json
import weakref
import zlib

import numpy as np
import torch

KNOWN: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()

# Of a configuration what changes no embedding.
_IDLE = ("_name_or_path", "architectures", "dtype", "transformers_version")
_SAMPLE = 16  # numbers of each tensor that are looked at every time


def model_identity(clip) -> str:
    """A digest of all that embeddings depend on, and of the model's name.

    That is the weights, the configuration, the tokenizer and the image
    settings, also of a model that ``clip`` holds as an attribute. An object
    that shows no network of PyTorch's is told by its ``name`` alone: give
    two of them two names.

    A CRC of each tensor notices every change of one weight for certain.
    Reading 150 million weights takes a fraction of a second; it is done
    again only after they change. PyTorch counts the changes of each tensor,
    but for those made in its inference mode, where all is read every time,
    and those made through ``.data`` or NumPy. Of these a few numbers of each
    tensor tell, enough for a step of training; a change of single weights by
    that way goes unnoticed until the model is opened again.
    """
    name = str(getattr(clip, "name", type(clip).__name__))
    digest = hashlib.sha256(name.encode("utf-8", "backslashreplace"))
    networks = []
    held = vars(clip).values() if hasattr(clip, "__dict__") else ()
    for part in [clip, *held]:
        network = part
        if not isinstance(part, torch.nn.Module):
            network = getattr(part, "model", None)
        if isinstance(network, torch.nn.Module) and network not in networks:
            networks.append(network)
            digest.update(f"{_weights(network)} {_config(network)}".encode())
        if settings := getattr(part, "image_settings", None):
            digest.update(repr(settings).encode())
        if tokenizer := getattr(part, "tokenizer", None):
            digest.update(_tokenizer(tokenizer).encode())
    return digest.hexdigest()


def _config(network: torch.nn.Module) -> str:
    """What a network of ``transformers`` is built by, as JSON; "" for others."""
    config = getattr(network, "config", None)
    if not hasattr(config, "to_dict"):
        return ""
    fields = config.to_dict()
    for part in [fields, *fields.values()]:  # the model's, and each tower's
        for key in _IDLE if isinstance(part, dict) else ():
            part.pop(key, None)
    return json.dumps(fields, sort_keys=True, default=str)


def _tokenizer(tokenizer) -> str:
    """How a tokenizer of ``transformers`` cuts and fills; "" for others."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return ""
    rules = backend.to_str()
    # What comes before is how long the last texts were allowed to be.
    rules = rules[max(rules.find('"added_tokens"'), 0) :]
    sides = tokenizer.padding_side, tokenizer.truncation_side
    return f"{rules} {tokenizer.special_tokens_map} {sides}"


def _weights(network: torch.nn.Module) -> str:
    """A digest of all weights, made anew only where they seem to have changed."""
    tensors = [*network.named_parameters(), *network.named_buffers()]
    state = None
    if not any(t.is_inference() for _, t in tensors):
        state = [(t.data_ptr(), t._version, _sample(t)) for _, t in tensors]
    known = KNOWN.get(network)
    if state is None or known is None or known[0] != state:
        known = (state, _digest(tensors))
        KNOWN[network] = known
    return known[1]


def _sample(tensor: torch.Tensor) -> bytes:
    """A few numbers from all over a tensor."""
    flat = tensor.detach().reshape(-1)
    return _bytes(flat[:: max(1, len(flat) // _SAMPLE)]).tobytes()


def _digest(tensors: list[tuple[str, torch.Tensor]]) -> str:
    digest = hashlib.sha256()
    for name, tensor in tensors:
        crc = zlib.crc32(_bytes(tensor))
        line = f"{name} {tuple(tensor.shape)} {tensor.dtype} {crc}\n"
        digest.update(line.encode())
    return digest.hexdigest()


def _bytes(tensor: torch.Tensor) -> np.ndarray:
    """The bytes of a tensor's numbers: [N] of uint8."""
    flat = tensor.detach().cpu().contiguous().flatten()
    return flat.view(torch.uint8).numpy()
