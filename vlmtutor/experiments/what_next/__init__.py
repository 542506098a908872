"""Notebook 19: the four futures of the study, each with its controls.

Three of them train small models from scratch; unlabelled pictures and
sentences for a classifier ask a shipped model, PhraseCLIP.
"""

from ..experiment import Experiment
from ..transfer import PHRASECLIP
from .few import few_pairs
from .teachers import together
from .texts import rewritten
from .unlabelled import without_labels

PARTS = {
    "few pairs": few_pairs,
    "texts of a language model": rewritten,
    "pictures without labels": without_labels,
    "several teachers": together,
}
CODE = {
    "few pairs": ("lessons.what_next.efficient",),
    "texts of a language model": ("lessons.what_next.texts",),
    "pictures without labels": ("transfer.upl", "transfer.tasks"),
    "several teachers": ("distill.student.teachers",),
}
EXPERIMENT = Experiment(
    name="19_what_comes_next",
    about="few pairs, texts of a language model, no labels, several teachers",
    parts=PARTS,
    backbones=(PHRASECLIP,),  # where one is asked at all
    code=lambda name: [f"vlmtutor.{module}" for module in CODE[name]],
)
