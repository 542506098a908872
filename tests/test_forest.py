"""Checks as a forest plot: every number in its place, and in words."""

import matplotlib
import pytest

from vlmtutor.forest import forest, in_words
from vlmtutor.verdict import NO_VERDICT, REPRODUCED

matplotlib.use("Agg")

CHECKS = [
    {
        "name": "it helps",
        "score": "U",
        "value": 0.05,
        "low": 0.02,
        "high": 0.07,
        "by_seed": [0.04, 0.06],
        "verdict": REPRODUCED,
    },
    {
        "name": "it does no harm",
        "score": None,
        "value": -0.01,
        "low": None,
        "high": None,
        "by_seed": [-0.01],
        "verdict": NO_VERDICT,
        "at_least": True,
        "effect": 0.02,
    },
]


def test_lines_stand_where_the_numbers_are():
    (ax,) = forest(CHECKS, "two").axes
    drawn = [
        (
            [round(float(x), 6) for x in line.get_xdata()],
            {*map(float, line.get_ydata())},
        )
        for line in ax.lines
    ]
    assert ([2.0, 7.0], {1}) in drawn  # the first stands above
    assert ([4.0, 6.0], {1}) in drawn and ([5.0], {1}) in drawn
    assert [-2.0, -2.0] in [x for x, _ in drawn]  # what may be lost
    assert [[-1.0]] * 2 == [x for x, y in drawn if y == {0} and len(x) == 1]
    words = [text.get_text() for text in ax.texts]
    assert words == [
        "it helps (U): reproduced",
        "it does no harm (value): no verdict",
    ]


def test_the_same_in_words():
    assert in_words(CHECKS) == (
        "it helps: +5.0 [+2.0, +7.0] points, reproduced; "
        "it does no harm: -1.0 points, no verdict."
    )


def test_nothing_cannot_be_drawn():
    with pytest.raises(ValueError, match="no check"):
        forest([])
