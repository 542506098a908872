"""Vision-language models to run, change and measure on a laptop.

``import vlmtutor as vt`` loads nothing heavy: a name is looked up in its
module when it is first used (PEP 562).
"""

import importlib
import sys
import types

__version__ = "0.1.0"

# name → module, or module:attribute
_HOMES = {
    "ClaimFailed": "claims:ClaimFailed",
    "Clip": "models.clip:Clip",
    "ExerciseFailed": "claims:ExerciseFailed",
    "MemeStudio": "memes.studio:MemeStudio",
    "ModelNotFound": "models.hub:ModelNotFound",
    "PALETTE": "show:PALETTE",
    "StickerWorld": "world:StickerWorld",
    "TEMPLATES": "zero_shot:TEMPLATES",
    "check": "check:check",
    "check_exercise": "claims:check_exercise",
    "check_shape": "claims:check_shape",
    "claim": "claims:claim",
    "load_clip": "models.hub:load_clip",
    "memes": "memes",
    "metrics": "metrics",
    "models": "models",
    "objectives": "objectives",
    "seeds": "world:seeds",
    "show": "show:show",
    "style": "show:style",
    "world": "world",
    "zero_shot": "zero_shot:zero_shot",
}
__all__ = sorted(_HOMES)


class _Package(types.ModuleType):
    """This package, where functions win over modules of the same name.

    After ``import vlmtutor.show`` Python binds the module to the package's
    attribute ``show``; here that attribute stays the function.
    """

    def __setattr__(self, name, value):
        if isinstance(value, types.ModuleType) and name in _HOMES:
            attribute = _HOMES[name].partition(":")[2]
            if attribute:
                value = getattr(value, attribute)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


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
