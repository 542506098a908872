"""Transfer: a frozen CLIP, a few labelled pictures, and many ways to adapt.

Every method is a module with ``fit(clip, pictures, labels, classes, seed)``,
which returns a predictor: ``predictor(pictures)`` are logits [N, C],
``predictor.probabilities(pictures)`` what follows from them,
``predictor.with_classes(names)`` the same for other class names, where the
method allows it, and ``predictor.parameters_trained`` a count.
"""

import importlib

# name → module:function, in the order in which the course meets them.
_FITS = {
    "zero-shot": "base:fit_zero_shot",
    "hand prompt": "base:fit_hand_prompt",
    "CoOp": "coop:fit",
    "CoCoOp": "cocoop:fit",
    "KgCoOp": "kgcoop:fit",
    "ProGrad": "prograd:fit",
    "TPT": "tpt:fit",
    "VP": "vp:fit",
    "VPT-shallow": "vpt:fit",
    "VPT-deep": "vpt:fit_deep",
    "UPT": "upt:fit",
    "MaPLe": "maple:fit",
    "linear probe": "linear_probe:fit",
    "CLIP-Adapter": "clip_adapter:fit",
    "Tip-Adapter": "tip_adapter:fit",
    "Tip-Adapter-F": "tip_adapter:fit_tuned",
    "TaskRes": "taskres:fit",
    "WiSE-FT": "wise_ft:fit",
    "CALIP": "calip:fit",
    "DualCoOp": "dualcoop:fit",
    "TaI-DPT": "tai_dpt:fit",
    "DenseCLIP": "denseclip:fit",
}
METHODS = tuple(_FITS)

# The methods that learn other things than one label a picture.
MULTI_LABEL = ("DualCoOp", "TaI-DPT")
DENSE = ("DenseCLIP",)


def get_fit(method: str):
    """The ``fit`` of a method; raises KeyError that lists the names."""
    if method not in _FITS:
        raise KeyError(f"unknown method {method!r}: {', '.join(METHODS)}")
    module, name = _FITS[method].split(":")
    module = importlib.import_module(f"{__name__}.{module}")
    return getattr(module, name)
