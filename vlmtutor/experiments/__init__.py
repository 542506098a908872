"""What takes minutes and no notebook teaches.

An experiment is an :class:`vlmtutor.experiments.experiment.Experiment` of a module
of this folder; :data:`EXPERIMENTS` is the list of the command
``python -m vlmtutor experiment``.
"""

import importlib

# name → module, or module:attribute where it is not EXPERIMENT
EXPERIMENTS: dict[str, str] = {
    "01_why_vlms": "lessons.why_vlms",
    "02_frameworks": "lessons.frameworks",
    "03_contrastive": "lessons.contrastive",
    "04_generative": "lessons.generative",
    "05_alignment": "lessons.alignment",
    "06_pretraining": "lessons.pretraining",
    "08_prompt_tuning": "prompts",
    "09_visual_and_unified_prompts": "visual",
    "10_adapters": "adapters",
    "10b_labels_and_pixels": "scenes",
    "11_distil_a_student": "student",
    "domains": "domains",
    "forgetting": "forgetting",
    "warm_start": "lessons.warm_start",
    "scale": "lessons.scale",
    "recipe": "recipe",
    "segmentation": "dense",
    "segmentation_names": "vocabulary",
    "detection": "detection",
    "19_what_comes_next": "what_next",
}


def get_experiment(name: str):
    """An experiment by its name or how that begins, say "08".

    Raises KeyError that lists the names where it is none's, or not one's only.
    """
    fits = [known for known in EXPERIMENTS if known.startswith(name)]
    if name not in EXPERIMENTS and len(fits) != 1:
        raise KeyError(f"no experiment {name!r}: {', '.join(EXPERIMENTS)}")
    name = name if name in EXPERIMENTS else fits[0]
    module, _, attribute = EXPERIMENTS[name].partition(":")
    return getattr(
        importlib.import_module(f"{__name__}.{module}"), attribute or "EXPERIMENT"
    )
