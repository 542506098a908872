"""The comparison's pictures show what they are given, and say nothing of nothing."""

import itertools
import math

import matplotlib
import pytest

from vlmtutor.distill.comparison import drawn, order
from vlmtutor.verdict import REPRODUCED

FIELDS = ("name", "table", "value", "ms", "seconds", "seeds")
POINTS = [
    dict(zip(FIELDS, values, strict=True))
    for values in (
        ("ReCo", "free", 0.2, 3.0, 1.0, 8),
        ("ZSSeg", "inductive", 0.6, 30.0, 20.0, 8),
        ("LSeg", "inductive", 0.1, 6.0, 19.0, 1),
    )
]


@pytest.fixture(autouse=True)
def off_screen():
    import matplotlib.pyplot as plt

    with matplotlib.rc_context({"backend": "agg"}):
        yield
    plt.close("all")


def texts(figure):
    found = [t.get_text() for ax in figure.axes for t in ax.texts]
    return found + [t.get_text() for ax in figure.axes for t in ax.get_yticklabels()]


def test_every_point_has_a_number_and_a_name():
    figure = drawn.cost_quality(POINTS, "U")
    shown = texts(figure)
    assert shown.count("1") == 2 and shown.count("3") == 2
    assert "1  ZSSeg\n2  ReCo\n3  LSeg*\n*  fewer than 8 seeds" in shown
    assert "*" not in "".join(texts(drawn.cost_quality(POINTS[:2], "U")))
    assert drawn.front_of(POINTS, "ms") == ["ReCo", "ZSSeg"]


def test_numbers_of_crowded_marks_do_not_lie_on_one_another():
    marks = [(0.5 * k, k % 3) for k in range(9)]  # all within five points
    offsets = drawn.label_offsets(marks)
    labels = [(x + dx, y + dy) for (x, y), (dx, dy) in zip(marks, offsets, strict=True)]
    for one, other in itertools.combinations(labels, 2):
        assert math.dist(one, other) > 10
    assert all(math.dist(one, mark) > 10 for one in labels for mark in marks)
    assert drawn.label_offsets([(5, 5)])[0] == pytest.approx((0, 11))  # right above


def test_places_name_methods_on_both_sides():
    a = {name: {0: k} for k, name in enumerate("pqrs")}
    b = a | {"p": {0: 9}}
    found = order.agreement(a, b, (order.SEEDS,))
    figure = drawn.places(a, b, "PhraseCLIP", "StickerCLIP", found)
    assert sum("p" == t.strip() for t in texts(figure)) == 2
    assert "+0.00" in figure.axes[0].get_title()


def test_bars_of_room_and_effects():
    figure = drawn.room_bars({"ZSSeg": {"true names": 12.0, "true masks": -3.0}}, "U")
    assert {"ZSSeg", "+12", "-3"} <= set(texts(figure))
    naives = {"crops teach": None, "sentences": {"value": 0.1, "low": 0, "high": 0.2}}
    effect = {"value": 0.2, "verdict": REPRODUCED, "also": []}
    pairs = {"crops teach": [effect, effect | {"also": ["own labels"]}]}
    figure = drawn.effects(naives | {"luck": None}, pairs, "points")
    marks = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 1]
    assert [m.get_fillstyle() for m in marks if m.get_xdata()[0] == 20] == [
        "full",
        "none",
    ]
    assert {"crops teach", "sentences"} <= set(texts(figure))
    assert "luck" not in texts(figure)
    alone = drawn.effects({"crops teach": None}, {"crops teach": [effect]}, "points")
    assert "crops teach" in texts(alone) and alone.axes[0].get_ylim() == (0.5, -0.5)


def test_the_grid_has_all_methods():
    methods = drawn.of_task("segmentation")
    assert len(methods) == 14 and len(drawn.of_task("detection")) == 19
    assert set(methods) <= set(texts(drawn.grid(methods)))


def test_nothing_is_drawn_of_nothing():
    for draw in (
        lambda: drawn.cost_quality([], "U"),
        lambda: drawn.room_bars({}, "U"),
        lambda: drawn.effects({"luck": None}, {}, "U"),
    ):
        with pytest.raises(ValueError, match="no .* to draw"):
            draw()


def test_cards_open_without_a_kernel_and_tell_the_paper():
    text = drawn.cards(POINTS, "U < 1")
    assert text.count("<details>") == text.count("<summary") == 3
    assert text.index("ZSSeg") < text.index("ReCo") < text.index("LSeg")
    assert "arXiv 2112.14757" in text and "U &lt; 1 60.0 · 30.0 ms · 20 s" in text
    assert drawn.cards([], "U") == ""
