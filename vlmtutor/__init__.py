"""Vision-language models to run, change and measure on a laptop.

``import vlmtutor as vt`` loads nothing heavy: a name is looked up in its
module when it is first used (PEP 562).
"""

import importlib

__version__ = "0.1.0"

# name → module, or module:attribute
_HOMES = {
    "ClaimFailed": "claims:ClaimFailed",
    "Clip": "models.clip:Clip",
    "ExerciseFailed": "claims:ExerciseFailed",
    "MemeStudio": "memes.studio:MemeStudio",
    "ModelNotFound": "models.hub:ModelNotFound",
    "PALETTE": "figures:PALETTE",
    "StickerWorld": "world:StickerWorld",
    "TEMPLATES": "naming:TEMPLATES",
    "check": "selfcheck:check",
    "check_exercise": "claims:check_exercise",
    "check_shape": "claims:check_shape",
    "claim": "claims:claim",
    "load_clip": "models.hub:load_clip",
    "memes": "memes",
    "metrics": "metrics",
    "models": "models",
    "objectives": "objectives",
    "seeds": "world:seeds",
    "show": "figures:show",
    "style": "figures:style",
    "world": "world",
    "zero_shot": "naming:zero_shot",
}
__all__ = sorted(_HOMES)


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module 'vlmtutor' has no attribute {name!r}")
    home, _, attribute = _HOMES[name].partition(":")
    module = importlib.import_module(f"{__name__}.{home}")
    value = getattr(module, attribute) if attribute else module
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *_HOMES})
