"""Matrix products in bfloat16, for those who ask for it.

bfloat16 has float32's range and a third of its digits, so training needs no
loss scaling (Kalamkar et al. 2019, arXiv 1905.12322).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode


def has_bf16() -> bool:
    """Whether this processor multiplies bfloat16 faster than float32."""
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    names = ("amx_bf16", "avx512_bf16", "bf16")
    return any(capabilities.get(name) for name in names)


@contextlib.contextmanager
def full_precision(device: str = "cpu") -> Iterator[None]:
    """Inside the ``with``: no autocast, say for a loss of cosines."""
    with torch.autocast(device, enabled=False):
        yield


class FloatAttention(TorchFunctionMode):
    """Attention in float32 inside autocast.

    On CPUs its backward pass in bfloat16 is several times slower.
    """

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is not F.scaled_dot_product_attention:
            return function(*args, **kwargs)
        with full_precision():
            args = [_float(a) for a in args]
            return function(*args, **{k: _float(v) for k, v in kwargs.items()})


def _float(value):
    """Floating-point tensors in float32; anything else as it is."""
    if isinstance(value, torch.Tensor) and value.is_floating_point():
        return value.float()
    return value


@contextlib.contextmanager
def bf16_products(wanted: bool = True, device: str = "cpu") -> Iterator[None]:
    """Inside the ``with``: matrix products in bfloat16; on CPUs not attention.

    Weights stay in float32; results differ in the third digit.  It does so on
    every processor, so that the same numbers are asked for everywhere:
    :func:`has_bf16` tells where it is fast.  Without ``wanted`` nothing
    changes.
    """
    if not wanted:
        yield
        return
    attention = FloatAttention() if device == "cpu" else contextlib.nullcontext()
    with torch.autocast(device, torch.bfloat16), attention:
        yield
