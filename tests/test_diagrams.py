"""Drawings say what the models are."""

import matplotlib.pyplot as plt
import pytest

from vlmtutor import diagrams
from vlmtutor.models.blocks import count_parameters
from vlmtutor.models.config import FrameworkConfig
from vlmtutor.models.frameworks import OneTower, TwoLeg, TwoTower


def model(kind, **sizes):
    sizes = {"image_layers": 2, "text_layers": 1, "fusion_layers": 1} | sizes
    return kind(FrameworkConfig(20, width=16, heads=2, **sizes))


@pytest.mark.parametrize("kind", [TwoTower, TwoLeg, OneTower])
def test_every_arrow_goes_up_between_boxes(kind):
    boxes, arrows = diagrams.parts(model(kind))
    places = {box.name: box for box in boxes}
    assert len(places) == len(boxes)
    for start, end in arrows:
        assert places[start].y < places[end].y
    reached = {end for _, end in arrows} | {"picture", "caption"}
    assert reached == set(places)
    spots = [(box.x, box.y) for box in boxes]
    assert len(set(spots)) == len(spots)


def test_pictures_and_words_meet_where_they_do():
    def into(kind, name):
        return {a for a, b in diagrams.parts(model(kind))[1] if b == name}

    assert into(TwoTower, "similarity") == {"image encoder", "text encoder"}
    assert into(TwoLeg, "fusion") == {"image encoder", "text encoder"}
    assert into(TwoLeg, "match") == {"fusion"}
    assert into(OneTower, "tower") == {"patches", "words"}


def test_numbers_are_those_of_the_model():
    two = model(TwoTower, image_layers=3)
    texts = {box.name: box.text for box in diagrams.parts(two)[0]}
    millions = count_parameters(two.image) / 1e6
    assert texts["image encoder"] == f"image encoder\n3 blocks, {millions:.2f} M"
    cnn = model(TwoTower, image_encoder="cnn")
    texts = {box.name: box.text for box in diagrams.parts(cnn)[0]}
    assert "\n2 residual layers, " in texts["image encoder"]
    assert "\n1 block, " in texts["text encoder"]


@pytest.mark.parametrize("kind", [TwoTower, TwoLeg, OneTower])
def test_a_drawing_fits_its_axes(kind):
    figure, ax = plt.subplots()
    diagrams.draw(model(kind), ax, "a title")
    boxes, arrows = diagrams.parts(model(kind))
    assert len(ax.patches) == len(boxes)
    assert len(ax.texts) == len(boxes) + len(arrows)
    (x0, x1), (y0, y1) = ax.get_xlim(), ax.get_ylim()
    for box in boxes:
        assert x0 < box.x - box.width / 2 and box.x + box.width / 2 < x1
        assert y0 < box.y - 0.3 and box.y + 0.3 < y1
    plt.close(figure)


def test_any_boxes_can_be_drawn():
    figure, ax = plt.subplots()
    boxes = [
        diagrams.Box("a", "first", 0, 0),
        diagrams.Box("b", "beside", 3, 0),
        diagrams.Box("c", "above", 0, 2, "text", 4.0),
    ]
    diagrams.draw_boxes(ax, boxes, [("a", "b", "on"), ("c", "a")], "three")
    beside, down = (t for t in ax.texts if t.get_text() == "")
    assert beside.xyann[1] == beside.xy[1] == 0
    assert 0 < beside.xyann[0] < beside.xy[0] < 3  # from edge to edge
    assert 0 < down.xy[1] < down.xyann[1] < 2
    assert {t.get_text() for t in ax.texts} == {"", "on", "first", "beside", "above"}
    with pytest.raises(KeyError):
        diagrams.draw_boxes(ax, boxes, [("a", "nowhere")])
    plt.close(figure)


def test_the_two_figures_of_the_study():
    one = diagrams.paradigms()
    words = {t.get_text() for t in one.axes[0].texts}
    assert {"many labels", "pre-training", "few labels", "predictions"} <= words
    kinds = {"two towers": TwoTower, "two legs": TwoLeg, "one tower": OneTower}
    two = diagrams.frameworks({name: model(kind) for name, kind in kinds.items()})
    titles = [ax.get_title().split(",")[0] for ax in two.axes]
    assert titles == list(kinds)
    plt.close(one), plt.close(two)


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (diagrams.contrastive, {"N pictures", "text encoder", "mean: the loss"}),
        (diagrams.zero_shot, {"picture", "image encoder", "probabilities"}),
    ],
)
def test_figures_of_the_notebooks(draw, words):
    figure = draw()
    assert words <= {t.get_text() for t in figure.axes[0].texts}
    plt.close(figure)
