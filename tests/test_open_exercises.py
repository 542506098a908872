"""Open exercises find what the notebooks say that they find."""

import importlib.util
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).resolve().parents[1] / "notebooks" / "solutions"


def solutions(name):
    spec = importlib.util.spec_from_file_location(f"of_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_05_hard_negatives_are_lies_without_a_list_of_true_pairs():
    from vlmtutor.lessons import matching

    data = matching.make_data(1024, n_test=4)
    random, hard = solutions("05_alignment").lies(data.has)
    assert random == pytest.approx(0.04, abs=0.02)
    assert hard > 0.6
    # one sticker each, all different: nobody can be drawn wrongly
    apart = solutions("05_alignment").lies(torch.eye(16, dtype=torch.bool), size=16)
    assert apart == (0, 0)
