"""Tell one model from another by what is in it."""

from __future__ import annotations

import hashlib
import weakref
import zlib

import torch

KNOWN: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def model_identity(clip) -> str:
    """A digest of a CLIP: its name, its image settings and all its weights.

    Two trainings of one architecture differ in it, and so does a model
    before and after a training step: a CRC of each tensor notices every
    change of one weight for certain. Reading 150 million weights takes a
    fraction of a second; it is done again only after they change (PyTorch
    counts the changes of each tensor, but for those made in its inference
    mode, which are read every time).
    """
    name = str(getattr(clip, "name", type(clip).__name__))
    name = name.encode("utf-8", "backslashreplace").decode()
    model = getattr(clip, "model", None)
    if not isinstance(model, torch.nn.Module):
        return hashlib.sha256(name.encode()).hexdigest()
    tensors = [*model.named_parameters(), *model.named_buffers()]
    state = None
    if not any(t.is_inference() for _, t in tensors):
        state = tuple((t.data_ptr(), t._version) for _, t in tensors)
    known = KNOWN.get(model)
    if state is None or known is None or known[0] != state:
        known = (state, _digest(tensors))
        KNOWN[model] = known
    settings = getattr(clip, "image_settings", None)
    text = f"{name} {settings!r} {known[1]}"
    return hashlib.sha256(text.encode()).hexdigest()


def _digest(tensors: list[tuple[str, torch.Tensor]]) -> str:
    digest = hashlib.sha256()
    for name, tensor in tensors:
        flat = tensor.detach().cpu().contiguous().flatten()
        crc = zlib.crc32(flat.view(torch.uint8).numpy())
        line = f"{name} {tuple(tensor.shape)} {tensor.dtype} {crc}\n"
        digest.update(line.encode())
    return digest.hexdigest()
