"""claim, check_shape, check_exercise."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vlmtutor.claims import (
    ClaimFailed,
    ExerciseFailed,
    check_exercise,
    check_shape,
    claim,
)

TRUE = [True, np.True_, np.array([True]), torch.tensor(True)]


@pytest.mark.parametrize("condition", TRUE)
def test_a_true_claim_prints_its_sentence(condition, capsys):
    claim("two is even", condition)
    assert capsys.readouterr().out == "✓ two is even\n"


def test_numbers_are_rounded(capsys):
    claim(
        "all is shown",
        True,
        ours=0.912345,
        steps=1200,
        loss=12345.6,
        near_zero=torch.tensor(1e-7),
        share=np.float32(2 / 3),
        scores=torch.tensor([0.25, 1.0]),
        done=True,
        who="CLIP",
    )
    assert capsys.readouterr().out == (
        "✓ all is shown (ours 0.912, steps 1200, loss 12346, near zero "
        "1e-07, share 0.667, scores [0.25, 1], done yes, who CLIP)\n"
    )


def test_what_was_computed_elsewhere_gets_its_source_and_no_tick(capsys):
    claim("two is even", True, source="stored 2026-11-25, one run", two=2)
    assert capsys.readouterr().out == (
        "[stored 2026-11-25, one run] two is even (two 2)\n"
    )
    with pytest.raises(ClaimFailed, match="one is more"):
        claim("one is more", False, source="stored")


@pytest.mark.parametrize("condition", [False, np.False_, torch.tensor(False)])
def test_a_false_claim_raises_with_the_numbers(condition, capsys):
    with pytest.raises(ClaimFailed) as failure:
        claim("one is more", condition, one=0.1234567, two=0.1234568)
    assert "not so: one is more" in str(failure.value)
    assert "one 0.123457, two 0.123457" in str(failure.value)
    assert capsys.readouterr().out == ""


def test_comparing_with_nan_is_no_success():
    loss = torch.tensor(float("nan"))
    with pytest.raises(ClaimFailed, match="nan"):
        claim("the loss is small", loss < 1, loss=loss)


@pytest.mark.parametrize(
    "condition",
    [1, 0.3, "yes", None, [], torch.tensor([True, True]), torch.tensor(1.0)],
)
def test_what_is_no_truth_value_is_refused(condition):
    with pytest.raises(TypeError, match="one True or False"):
        claim("anything", condition)


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_any_number_can_be_shown(number):
    with pytest.raises(ClaimFailed, match="x "):
        claim("never", False, x=number, y=torch.tensor(number))


def test_check_shape(capsys):
    check_shape(torch.zeros(2, 4, 8), "B N D", B=2)
    check_shape(np.zeros((3, 3, 2)), "N N 2")
    assert capsys.readouterr().out == "✓ [B=2, N=4, D=8]\n✓ [N=3, N=3, 2]\n"


@pytest.mark.parametrize(
    ("shape", "sizes"), [("B N", {}), ("B N D", {"D": 7}), ("N N D", {}), ("2 4 9", {})]
)
def test_check_shape_names_both_shapes(shape, sizes):
    with pytest.raises(ClaimFailed, match=r"expected \[.*got \[2, 4, 8\]"):
        check_shape(torch.zeros(2, 4, 8), shape, **sizes)


def test_check_shape_refuses_a_size_of_no_axis():
    with pytest.raises(ValueError, match="M"):
        check_shape(torch.zeros(2), "B", M=2)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: check_shape("N M", torch.zeros(2, 3)),
        lambda: check_shape(torch.zeros(2, 3), ["N", "M"]),
        lambda: check_shape(torch.zeros(2, 3), (2, 3)),
    ],
)
def test_check_shape_tells_what_comes_first(wrong):
    with pytest.raises(TypeError, match="first the tensor, .* one text: 'N M'"):
        wrong()


def test_axes_without_spaces_are_told_so():
    with pytest.raises(ClaimFailed, match="spaces part axes: 'N M'"):
        check_shape(torch.zeros(2, 3), "NM")
    with pytest.raises(ClaimFailed, match=r"got \[2, 3\]$"):
        check_shape(torch.zeros(2, 3), "N")


def test_a_condition_is_no_sentence():
    with pytest.raises(TypeError, match="a sentence, then what it says: True"):
        claim(True, "two is even")


def test_a_right_answer_passes(capsys):
    def sums(x):
        """Rows must add up to one."""
        return torch.allclose(x.sum(-1), torch.ones(2))

    cases = [
        ((torch.zeros(2, 2),), torch.full((2, 2), 0.5)),
        ((torch.tensor([[1.0, 2.0], [3.0, 5.0]]),), sums),
    ]
    check_exercise("softmax", lambda x: x.softmax(-1), cases)
    assert capsys.readouterr().out == "✓ softmax: 2 cases\n"


@pytest.mark.parametrize(
    ("answer", "expected", "message"),
    [
        (None, 3, "return"),
        (2, 3, "expected 3, got 2"),
        (True, 1, "expected 1, got True"),
        ("a", "b", "expected 'b', got 'a'"),
        ([1, 2], [1, 2, 3], "expected"),
        ({"a": 1}, {"a": 2}, "expected"),
        ("3", 3, "expected 3, got '3'"),
        (torch.zeros(3), torch.zeros(2, 3), r"should be \[2, 3\], got \[3\]"),
        (np.zeros(2), np.ones(2), "expected"),
        (float("nan"), 0.0, "nan"),
        (4, lambda x: x == 5, "4 is not right"),
    ],
)
def test_a_wrong_answer_is_explained(answer, expected, message):
    with pytest.raises(ExerciseFailed, match=message) as failure:
        check_exercise("f", lambda x: answer, [((1,), expected)])
    assert "f, case 1 of 1: with (1)" in str(failure.value)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (0.1 + 0.2, 0.3),
        (torch.tensor(3.0), 3),
        ((1, 2.0), [1, 2]),
        (np.array(["a"]), np.array(["a"])),
        (torch.tensor([1.5], dtype=torch.bfloat16), torch.tensor([1.5])),
        ({"a": torch.zeros(2)}, {"a": [0.0, 0.0]}),
        (None, None),
        (float("nan"), float("nan")),
    ],
)
def test_equal_answers_pass(answer, expected):
    check_exercise("f", lambda: answer, [((), expected)])


def test_stubs_stay_stubs():
    def stub(x):
        raise NotImplementedError("write this one")

    with pytest.raises(NotImplementedError, match="write this one"):
        check_exercise("stub", stub, [((1,), 1)])


def test_an_answer_that_changes_its_arguments_spoils_nothing():
    shared = torch.ones(2)

    def double(x):
        x *= 2
        return x

    twos = torch.full((2,), 2.0)
    check_exercise("double", double, [((shared,), twos)] * 2)
    assert shared.tolist() == [1, 1]


def test_an_exercise_needs_cases():
    with pytest.raises(ValueError, match="at least one"):
        check_exercise("empty", abs, [])


def test_the_first_place_that_differs_is_named():
    wanted = torch.arange(20.0).view(4, 5)
    wrong = wanted.clone()
    wrong[2, 3], wrong[3, 0] = 7.5, -1
    with pytest.raises(ExerciseFailed, match=r"expected 13 at \[2, 3\], got 7.5"):
        check_exercise("grid", lambda: wrong, [((), wanted)])
    mask = wanted > 6
    with pytest.raises(ExerciseFailed, match=r"expected no at \[0, 0\], got yes"):
        check_exercise("mask", lambda: ~mask, [((), mask)])


def test_answers_written_down_do_not_pass(capsys):
    shown = [(({1: 0.6, 4: 0.1}, 0.5), 1)]
    with pytest.raises(ExerciseFailed, match="does not show: .* expected 4, got 1"):
        check_exercise("worth", lambda curve, zero_shot: 1, shown)
    check_exercise("worth", lambda c, z: min(k for k in c if c[k] > z), shown)
    assert capsys.readouterr().out == "✓ worth: 1 case and a hidden one\n"
