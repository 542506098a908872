"""Where a model computes, and torch's global switches.

The course runs on the CPU.  An accelerator is faster where there is one; one
that fails costs a line on the screen and not the run.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator

import torch

DEVICES = ("cpu", "cuda", "mps", "auto")


def find_device(name: str) -> torch.device:
    """The device of that name; "auto" is the accelerator, if there is one.

    Raises ValueError for a name that is none of ``DEVICES`` (or "cuda:1").
    """
    if name == "auto":
        if torch.cuda.is_available():
            name = "cuda"
        else:
            name = "mps" if torch.backends.mps.is_available() else "cpu"
    if name not in DEVICES and not re.fullmatch(r"cuda:\d+", str(name)):
        raise ValueError(f"device is one of {', '.join(DEVICES)}, not {name!r}")
    return torch.device(name)


def move(model: torch.nn.Module, device: torch.device) -> None:
    """Put a model on a device, and try it; on the CPU if that fails."""
    try:
        model.to(device)
        (torch.ones(2, 2, device=device) @ torch.ones(2, 2, device=device)).sum().item()
    except Exception as error:  # each backend has its own kinds
        back_to_cpu(model, device, error)


def back_to_cpu(model: torch.nn.Module, device, error: Exception) -> None:
    """Say in one line that a device failed, and move the model to the CPU."""
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    line = f"the device {device} fails ({reason:.100}): going on on the CPU"
    print(line, file=sys.stderr)
    model.to("cpu")


@contextlib.contextmanager
def usual_torch(device: torch.device | str = "cpu") -> Iterator[None]:
    """Inside the ``with``: torch's global switches as they are by default.

    A learner may have set another default dtype or device, or work in
    inference mode, whose tensors no gradient ever passes: what models make
    inside themselves would be of that kind.
    """
    dtype = torch.get_default_dtype()
    with torch.inference_mode(False), torch.device(device):
        if dtype == torch.float32:
            yield
            return
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)
