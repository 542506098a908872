"""Distillation: a frozen CLIP's knowledge, taken to pixels.

A method is a module of :mod:`vlmtutor.distill.segmentation` with ``ROWS``
(what it is, and what it is handed), ``fit`` (which returns a segmenter) and
``checks`` (what its paper says, to be measured); see
:mod:`vlmtutor.distill.methods`.
"""

import importlib

# name → module, in the order in which the course meets them.
_MODULES = {
    "MaskCLIP+": "maskclip",
    "SSIW": "ssiw",
    "CLIP-ES": "clip_es",
    "CLIMS": "clims",
    "ReCo": "reco",
    "LSeg": "lseg",
    "CLIPSeg": "clipseg",
    "Fusioner": "fusioner",
    "ZegCLIP": "zegclip",
    "ZSSeg": "zsseg",
    "ZegFormer": "zegformer",
    "OVSeg": "ovseg",
    "OpenSeg": "openseg",
    "FreeSeg": "freeseg",
}
METHODS = tuple(_MODULES)


def get_method(name: str):
    """The module of a method; raises KeyError that lists the names."""
    if name not in _MODULES:
        raise KeyError(f"unknown method {name!r}: {', '.join(METHODS)}")
    return importlib.import_module(f"{__name__}.segmentation.{_MODULES[name]}")
