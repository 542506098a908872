"""What learners type by mistake in notebooks 02 to 06: the message says what to do."""

import pytest
import torch
from torch import nn

from vlmtutor.claims import ExerciseFailed, check_exercise, check_shape
from vlmtutor.lessons import (
    contrastive,
    frameworks,
    generative,
    grounding,
    matching,
    pretraining,
    ranking,
)


class TwoTower(nn.Module):
    """A learner's own, by the package's name."""


GRID = torch.zeros(2, 3)
IDS = torch.zeros(3, 4, dtype=torch.long)
PIXELS = torch.zeros(2, 3, 8, 8)
CAPTION = "a big lion on a red disc, at sea"


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda: frameworks.make(TwoTower, None), "models.frameworks, not this TwoT"),
        (lambda: frameworks.make("two towers", None), "TwoTower, TwoLeg, OneTower"),
        (lambda: frameworks.draw_pairs(2, stickers=3), "1 or 2 stickers"),
        (lambda: frameworks.draw_pairs(2, stickers=[]), "1 or 2 stickers"),
        (lambda: frameworks.draw_pairs(2, "training"), "train, val, test"),
        (lambda: ranking.rerank(None, GRID, PIXELS, IDS, k=0), "k at least 1"),
        (lambda: ranking.rerank(None, GRID.T, PIXELS, IDS), r"\[2, 3\] .* \[3, 2\]"),
        (lambda: contrastive.train("clip", None, 1), "CLIP, SigLIP, SimCLR"),
        (lambda: pretraining.WithSecond("caption", 9), "one of views, captions"),
        (lambda: pretraining.best(torch.ones(9), 60), "from 0 to 1, not 60"),
        (lambda: pretraining.shuffled([], 40), "40 % is 0.4"),
        (lambda: matching.train_matching(None, None, 1, "random"), "False or None"),
        (lambda: generative.slots_right([CAPTION], []), "1 captions written, 0 true"),
        (lambda: generative.other_color("a lion"), "no caption with a disc: 'a lion'"),
    ],
)
def test_a_wrong_value_is_named(mistake, message):
    with pytest.raises(ValueError, match=message):
        mistake()


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda: grounding.train_grounding(None, None, 1, "captions"), "True or False"),
        (lambda: contrastive.view(PIXELS.byte(), None), "not pairs.images"),
        (lambda: generative.slots_right(CAPTION, CAPTION), r"two lists .* \[caption\]"),
        (lambda: check_shape([1, 2], "N"), "a list has no shape"),
        (lambda: check_exercise("f", None, [((), 1)]), "without brackets, not None"),
    ],
)
def test_a_wrong_kind_is_named(mistake, message):
    with pytest.raises(TypeError, match=message):
        mistake()


@pytest.mark.parametrize(
    ("answer", "wanted", "message"),
    [
        ([[True] * 5] * 4, torch.ones(4, 5), r"a tensor of shape \[4, 5\], got a list"),
        (torch.ones(4, 5), torch.ones(4, 5) > 0, r"True and False, got numbers"),
        (torch.ones(4, 5) > 0, torch.ones(4, 5), r"numbers \(float32\), got Tr"),
    ],
)
def test_an_answer_of_another_kind_is_told_so(answer, wanted, message):
    with pytest.raises(ExerciseFailed, match=message):
        check_exercise("f", lambda: answer, [((), wanted)])


def test_maps_of_another_shape_are_told_so():
    pairs = frameworks.draw_pairs(3)
    with pytest.raises(ValueError, match=r"\[N=3, R=2, T\], not \[2, 16\]"):
        grounding.score_grounding(torch.zeros(2, 16), pairs)


def test_one_number_of_stickers_will_do():
    assert all(len(s.objects) == 2 for s in frameworks.draw_pairs(3, stickers=2).scenes)


def test_rows_of_a_part_may_be_a_list():
    pairs = frameworks.draw_pairs(4)
    assert pretraining.Part(pairs, [3, 1]).batch([1, 0]).index.tolist() == [1, 3]


def test_a_shortlist_is_no_longer_than_the_list():
    model = matching.new_model(matching.make_data(8, 4))
    seen = matching.Encoded(
        torch.zeros(2, 17, 64), torch.zeros(3, 4, 64), IDS + 5, torch.rand(2, 3)
    )
    with torch.no_grad():
        assert matching.rerank(model, seen, 400).shape == (3, 2)
