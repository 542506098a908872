"""Tell one model from another by what is in it."""

from __future__ import annotations

import hashlib
import weakref

import torch

_known: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def model_identity(clip) -> str:
    """A digest of a CLIP: its name, its image settings and all its weights.

    Two trainings of one architecture differ in it, and so does a model
    before and after a training step. Reading the weights takes under a
    second for 150 million of them; it is done again only after they change
    (PyTorch counts the changes of each tensor).
    """
    name = str(getattr(clip, "name", type(clip).__name__))
    model = getattr(clip, "model", None)
    if not isinstance(model, torch.nn.Module):
        return hashlib.sha256(name.encode()).hexdigest()
    tensors = [*model.named_parameters(), *model.named_buffers()]
    state = tuple((t.data_ptr(), t._version) for _, t in tensors)
    known = _known.get(model)
    if known is None or known[0] != state:
        known = (state, _digest(tensors))
        _known[model] = known
    settings = getattr(clip, "image_settings", None)
    text = f"{name} {settings!r} {known[1]}"
    return hashlib.sha256(text.encode()).hexdigest()


def _digest(tensors: list[tuple[str, torch.Tensor]]) -> str:
    digest = hashlib.sha256()
    for name, tensor in tensors:
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        flat = tensor.detach().cpu().contiguous().flatten()
        digest.update(flat.view(torch.uint8).numpy())
    return digest.hexdigest()
