"""What takes minutes and no notebook teaches.

An experiment is an :class:`vlmtutor.experiments.experiment.Experiment` of a module
of this folder; :data:`EXPERIMENTS` is the list of the command
``python -m vlmtutor experiment``.
"""

import importlib

# name → module, or module:attribute where it is not EXPERIMENT
EXPERIMENTS: dict[str, str] = {
    "prompts": "prompts",
    "visual": "visual",
    "adapters": "adapters",
}


def get_experiment(name: str):
    """An experiment by name; raises KeyError that lists the names."""
    if name not in EXPERIMENTS:
        raise KeyError(f"no experiment {name!r}: {', '.join(EXPERIMENTS)}")
    module, _, attribute = EXPERIMENTS[name].partition(":")
    return getattr(
        importlib.import_module(f"{__name__}.{module}"), attribute or "EXPERIMENT"
    )
