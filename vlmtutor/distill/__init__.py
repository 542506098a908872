"""Distillation: a frozen CLIP's knowledge, taken to pixels and boxes.

:mod:`vlmtutor.distill.methods` says what a method is, and which there are.
"""


def __getattr__(name: str):
    if name in ("METHODS", "get_method"):  # importing loads no torch
        from . import methods

        return getattr(methods, name)
    raise AttributeError(f"{__name__} has no {name!r}")
